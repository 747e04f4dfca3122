/**
 * One file of a partition: batches one after the other, as Kafka lays them. A segment writes where it ends and reads what lies before its
 * end; it does not know what is decided, and it checks nothing that it reads.
 *
 * Files are opened when they are needed and closed when many others were needed since, so a log may have more segments than a process may
 * have files.
 */
import type { File, Fs } from '../../ports/fs.ts'
import type { Codecs } from '../../ports/record-batch/index.ts'
import { diskError } from './errors.ts'
import { readHeader } from './header.ts'
import { BATCH_HEADER_BYTES, indexFile, segmentFile } from './layout.ts'
import { SegmentIndex } from './segment-index.ts'

/** Bytes that one read of the disk asks for. */
export const PIECE_BYTES: number = 1024 * 1024

export interface SegmentPiece {
  readonly bytes: Buffer
  readonly base: number
  readonly maxTimestamp: number
}

/** Keeps the files of at most so many idle segments open. */
export class OpenFiles {
  readonly fs: Fs
  private readonly idleMax: number
  private readonly idle = new Set<Segment>()

  constructor(fs: Fs, idleMax: number) {
    this.fs = fs
    this.idleMax = idleMax
  }

  rest(segment: Segment): void {
    this.idle.delete(segment)
    this.idle.add(segment)
    for (const oldest of this.idle) {
      if (this.idle.size <= this.idleMax) break
      this.idle.delete(oldest)
      void oldest.closeFile()
    }
  }

  wake(segment: Segment): void {
    this.idle.delete(segment)
  }
}

export class Segment {
  readonly base: number
  path: string
  /** Bytes of whole batches. */
  size: number
  /** Bytes were written that the disk has not confirmed. */
  dirty = false
  /** No longer part of its partition: a place in it means nothing any more. */
  gone = false
  private readonly folder: string
  private readonly files: OpenFiles
  private readonly codecs: Codecs
  private file: Promise<File> | undefined
  private users = 0
  private whenIdle: (() => void) | undefined
  private index: SegmentIndex | undefined

  constructor(folder: string, base: number, size: number, files: OpenFiles, codecs: Codecs, path?: string) {
    this.folder = folder
    this.base = base
    this.size = size
    this.files = files
    this.codecs = codecs
    this.path = path ?? `${folder}/${segmentFile(base)}`
    // What is empty is known by heart; what is not is learned when somebody asks.
    this.index = size === 0 ? new SegmentIndex() : undefined
  }

  /** Makes the file, empty: bytes of an earlier life that were never decided may lie in it. */
  async create(): Promise<void> {
    await this.use('make a segment', async (file) => {
      if (file.size > 0) await file.truncate(0)
    })
  }

  /** Bytes in the file, which may be more than `size` after a crash. */
  fileSize(): Promise<number> {
    return this.use('open a segment', (file) => Promise.resolve(file.size))
  }

  async append(pieces: readonly SegmentPiece[]): Promise<void> {
    const at = this.size
    await this.use('write a segment', (file) =>
      file.write(
        pieces.map(({ bytes }) => bytes),
        at,
      ),
    )
    // Said when the bytes are there: a sync that ran beside the write does not cover it.
    this.dirty = true
    for (const { bytes, base, maxTimestamp } of pieces) {
      if (this.index?.covered === this.size) this.index.add(base, bytes.length, maxTimestamp)
      this.size += bytes.length
    }
  }

  /** Up to `length` bytes from `position`, in a buffer of their own; fewer only at the end of the segment. */
  read(position: number, length: number): Promise<Buffer> {
    const wanted = Math.max(0, Math.min(length, this.size - position))
    return this.use('read a segment', async (file) => {
      const bytes = Buffer.allocUnsafeSlow(wanted)
      let at = 0
      while (at < wanted) {
        const count = await file.read(bytes, at, wanted - at, position + at)
        if (count === 0) break
        at += count
      }
      return bytes.subarray(0, at)
    })
  }

  async sync(): Promise<void> {
    if (!this.dirty) return
    this.dirty = false
    await this.use('sync a segment', (file) => file.sync())
  }

  /** Cuts the file to `size`, and makes the cut survive a power cut: old bytes that came back would look like new ones. */
  async cut(size: number): Promise<void> {
    this.size = size
    if (this.index !== undefined && this.index.covered > size) this.index = undefined
    await this.use('cut a segment', async (file) => {
      await file.truncate(size)
      await file.sync()
    })
    await this.removeIndex()
  }

  /** The index, read from its file or made by walking over the segment. */
  async indexed(): Promise<SegmentIndex> {
    if (this.index?.covered === this.size) return this.index
    const index = this.index ?? (await this.readIndex()) ?? new SegmentIndex()
    await this.walk(index)
    this.index = index
    return index
  }

  /** For an index that led to a place where no batch begins. */
  async forgetIndex(): Promise<void> {
    this.index = undefined
    await this.removeIndex()
  }

  /** Writes the index beside the segment, so that nobody has to walk over it again. Without it everything works, but slower. */
  async saveIndex(): Promise<void> {
    const { fs } = this.files
    const path = `${this.folder}/${indexFile(this.base)}`
    const content = (await this.indexed()).encode(this.codecs)
    const file = await fs.open(path, { create: true })
    try {
      if (file.size > content.length) await file.truncate(0)
      await file.write([content], 0)
    } finally {
      await file.close()
    }
  }

  removeIndex(): Promise<void> {
    return this.removeFile(`${this.folder}/${indexFile(this.base)}`)
  }

  /** Removes the file and its index, once nobody reads it any more. */
  async remove(): Promise<void> {
    await this.release()
    await this.removeIndex()
    await this.removeFile(this.path)
  }

  /** Gives the file another name. */
  async rename(path: string): Promise<void> {
    // Opened before, because a reader may come between the new name and its being known here.
    await this.use('open a segment', async () => {
      await this.files.fs.rename(this.path, path)
      this.path = path
    })
  }

  /** Waits until nobody uses the file, and closes it. */
  async release(): Promise<void> {
    if (this.users > 0) {
      await new Promise<void>((resolve) => {
        this.whenIdle = resolve
      })
    }
    this.files.wake(this)
    await this.closeFile()
  }

  async closeFile(): Promise<void> {
    const file = this.file
    if (file === undefined || this.users > 0) return
    this.file = undefined
    await (await file).close().catch(() => {})
  }

  private removeFile(path: string): Promise<void> {
    return this.files.fs.remove(path).catch((error: unknown) => Promise.reject(diskError('remove a file', path, error)))
  }

  private async use<Result>(deed: string, work: (file: File) => Promise<Result>): Promise<Result> {
    this.users++
    this.files.wake(this)
    try {
      this.file ??= this.files.fs.open(this.path, { create: this.size === 0 })
      return await work(await this.file)
    } catch (error) {
      throw diskError(deed, this.path, error)
    } finally {
      await this.leave()
    }
  }

  private async leave(): Promise<void> {
    this.users--
    // A file that could not be opened is tried again at the next use.
    const opened = await this.file?.then(
      () => true,
      () => false,
    )
    if (this.users > 0) return
    if (opened === true) this.files.rest(this)
    else this.file = undefined
    this.whenIdle?.()
    this.whenIdle = undefined
  }

  private async readIndex(): Promise<SegmentIndex | undefined> {
    const { fs } = this.files
    try {
      const file = await fs.open(`${this.folder}/${indexFile(this.base)}`)
      try {
        const bytes = Buffer.allocUnsafe(file.size)
        await file.read(bytes, 0, bytes.length, 0)
        const index = SegmentIndex.decode(bytes, this.codecs)
        return index !== undefined && index.covered <= this.size ? index : undefined
      } finally {
        await file.close()
      }
    } catch {
      return undefined
    }
  }

  /** Adds what the index does not know yet. Stops at bytes that are no batch: whoever reads them says what is wrong. */
  private async walk(index: SegmentIndex): Promise<void> {
    while (index.covered < this.size) {
      const from = index.covered
      const piece = await this.read(from, PIECE_BYTES)
      for (let at = 0; index.covered === from + at; ) {
        const header = readHeader(piece, at)
        if (header === undefined || from + at + header.bytes > this.size) break
        index.add(header.baseOffset, header.bytes, header.maxTimestamp)
        at += header.bytes
      }
      if (index.covered === from || piece.length < BATCH_HEADER_BYTES) return
    }
  }
}
