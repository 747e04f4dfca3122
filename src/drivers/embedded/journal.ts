/**
 * The running journal: records go in one after the other, and what was written is applied to the state at once, in the same order.
 * Many records that come while the disk works are written together. A failed write is final: nobody knows what of it is on the disk, so
 * every record after it is refused until a new opening has read what is there.
 */
import type { TidemarkError } from '../../base/errors.ts'
import type { File, Fs } from '../../ports/fs.ts'
import type { Codecs } from '../../ports/record-batch/index.ts'
import { closedError, diskError, refusesWrites } from './errors.ts'
import type { Health } from './health.ts'
import { encodeRecord, encodeSnapshot, FILE_MAGIC } from './journal-format.ts'
import { journalFileName } from './journal-read.ts'
import type { JournalRecord, LogState } from './state.ts'

export interface JournalOptions {
  readonly folder: string
  readonly fs: Fs
  readonly codecs: Codecs
  /** Hears of a failed write, and is asked before each. */
  readonly health: Health
  /** Beyond this size another file is begun. */
  readonly fileBytesMax: number
  /** Sync after every write, before anybody hears of it. */
  readonly syncEach: boolean
}

interface Pending {
  readonly record: JournalRecord
  readonly bytes: Buffer
  readonly applied: (() => void) | undefined
  readonly resolve: () => void
  readonly reject: (error: TidemarkError) => void
}

interface JournalFile {
  readonly number: number
  readonly path: string
  readonly file: File
}

export class Journal {
  /** Called when another file was begun: the older ones can go after the next checkpoint. */
  onNewFile: () => void = () => {}
  /** Called after every write. */
  onWritten: (bytes: number) => void = () => {}
  private readonly options: JournalOptions
  private readonly state: LogState
  private current: JournalFile
  private older: JournalFile[] = []
  /** Paths of files of earlier openings that could not be removed yet. */
  private leftovers: string[] = []
  private size: number
  private sequence: number
  private applied: number
  private queue: Pending[] = []
  private working: Promise<void> | undefined
  private closed = false
  private folderChanged = true
  /** The size beyond which another file is tried next. */
  private fullAt: number

  private constructor(options: JournalOptions, state: LogState, current: JournalFile, size: number, sequence: number) {
    this.options = options
    this.state = state
    this.current = current
    this.size = size
    this.sequence = sequence
    this.applied = sequence
    this.fullAt = options.fileBytesMax
  }

  /**
   * Begins the journal of this opening with a snapshot of `state`. When this resolves the snapshot survives a power cut, and every older
   * file is superfluous.
   */
  static async begin(options: JournalOptions, state: LogState, number: number, sequence: number): Promise<Journal> {
    const { folder, fs, codecs } = options
    const path = `${folder}/${journalFileName({ number, kind: 'open' })}`
    const aside = `${path}.new`
    try {
      const content = Buffer.concat([FILE_MAGIC, encodeSnapshot(state, sequence, codecs)])
      const file = await fs.open(aside, { create: true })
      // An earlier opening may have died here, and left more bytes than these.
      if (file.size > 0) await file.truncate(0)
      await file.write([content], 0)
      await file.sync()
      await fs.rename(aside, path)
      await fs.syncFolder(folder)
      return new Journal(options, state, { number, path, file }, content.length, sequence)
    } catch (error) {
      throw diskError('write the journal', path, error)
    }
  }

  /** The file that records go to. */
  get number(): number {
    return this.current.number
  }

  /**
   * Writes a record after all before it. `applied` runs at the moment at which the record takes effect, before anything else can happen.
   * @throws TidemarkError LOG_IO when the outcome is not known, LOG_CLOSED
   */
  submit(record: JournalRecord, applied?: () => void): Promise<void> {
    const { failure } = this.options.health
    if (failure !== undefined) return Promise.reject(refusesWrites(failure))
    if (this.closed) return Promise.reject(closedError())
    const bytes = encodeRecord(record, ++this.sequence, this.options.codecs)
    return new Promise((resolve, reject) => {
      this.queue.push({ record, bytes, applied, resolve, reject })
      this.working ??= this.work()
    })
  }

  /**
   * Makes what was written so far survive a power cut.
   * @returns the place up to which it does
   */
  async sync(): Promise<{ file: number; byte: number }> {
    const place = { file: this.current.number, byte: this.size }
    const files = [...this.older, this.current]
    const changed = this.folderChanged
    this.folderChanged = false
    for (const { file, path } of files) await file.sync().catch((error: unknown) => Promise.reject(diskError('sync', path, error)))
    if (changed) {
      const { fs, folder } = this.options
      await fs.syncFolder(folder).catch((error: unknown) => Promise.reject(diskError('sync', folder, error)))
    }
    return place
  }

  /**
   * Removes what this opening has made superfluous, as far as the disk lets it. What stays goes before any file of this opening does: a reading
   * begins at the last file that an opening began, and were that gone first, it would begin at what stayed.
   */
  async clear(names: readonly string[]): Promise<void> {
    for (const name of names) {
      const path = `${this.options.folder}/${name}`
      await this.options.fs.remove(path).catch(() => this.leftovers.push(path))
    }
  }

  /** Removes files before `number`. Whatever their records cover must survive a power cut by now, and so must file `number`. */
  async removeBefore(number: number): Promise<void> {
    const old = this.older.filter((file) => file.number < number)
    if (old.length === 0) return
    this.older = this.older.filter((file) => file.number >= number)
    for (const path of this.leftovers) await this.remove(path)
    this.leftovers = []
    for (const { file, path } of old) {
      await file.close()
      await this.remove(path)
    }
    this.folderChanged = true
  }

  private async remove(path: string): Promise<void> {
    await this.options.fs.remove(path).catch((error: unknown) => Promise.reject(diskError('remove', path, error)))
  }

  /** Waits for what was submitted, then takes no more. */
  async close(): Promise<void> {
    this.closed = true
    await this.working
    for (const { file } of [...this.older, this.current]) await file.close().catch(() => {})
  }

  private async work(): Promise<void> {
    // What is submitted in the same turn is written together.
    await Promise.resolve()
    while (this.queue.length > 0) {
      const taken = this.queue
      this.queue = []
      try {
        if (this.size > this.fullAt) await this.nextFile()
        await this.write(taken.map(({ bytes }) => bytes))
      } catch (error) {
        this.fail(diskError('write the journal', this.current.path, error), taken)
        break
      }
      for (const { record, applied, resolve } of taken) {
        this.state.apply(record)
        this.applied++
        applied?.()
        resolve()
      }
    }
    this.working = undefined
  }

  private async write(pieces: readonly Buffer[]): Promise<void> {
    const { file } = this.current
    const bytes = pieces.length === 1 ? (pieces[0] as Buffer) : Buffer.concat(pieces)
    await file.write([bytes], this.size)
    this.size += bytes.length
    if (this.options.syncEach) await file.sync()
    this.onWritten(bytes.length)
  }

  /** Begins another file with a snapshot. When that fails the journal stays where it is: a large journal only makes opening slower. */
  private async nextFile(): Promise<void> {
    const { folder, fs, codecs, fileBytesMax, syncEach } = this.options
    const number = this.current.number + 1
    const path = `${folder}/${journalFileName({ number, kind: 'more' })}`
    try {
      const content = Buffer.concat([FILE_MAGIC, encodeSnapshot(this.state, this.applied, codecs)])
      const file = await fs.open(path, { create: true })
      if (file.size > 0) await file.truncate(0)
      await file.write([content], 0)
      if (syncEach) {
        await file.sync()
        await fs.syncFolder(folder)
      }
      this.older.push(this.current)
      this.current = { number, path, file }
      this.size = content.length
      this.fullAt = content.length + fileBytesMax
      this.folderChanged = true
      this.onNewFile()
    } catch {
      await fs.remove(path).catch(() => {})
      this.fullAt = this.size + fileBytesMax
    }
  }

  private fail(error: TidemarkError, taken: readonly Pending[]): void {
    this.options.health.fail(error)
    const rest = this.queue
    this.queue = []
    for (const { reject } of taken) reject(error)
    for (const { reject } of rest) reject(refusesWrites(error))
  }
}
