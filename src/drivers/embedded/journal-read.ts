/**
 * Reads the journal at opening: the snapshot to begin with and every record after it, as far as they form one unbroken sequence.
 * A tail that a crash tore is left out in silence, because nothing in it was acknowledged or it was lost with the power. Damage before a
 * place that the disk had confirmed is another thing: going on would forget what was promised, so it is refused.
 */
import { TidemarkError } from '../../base/errors.ts'
import type { Fs } from '../../ports/fs.ts'
import type { Codecs } from '../../ports/record-batch/index.ts'
import { diskError } from './errors.ts'
import { FILE_MAGIC, type Frame, readFrame } from './journal-format.ts'
import type { JournalRecord, LogState } from './state.ts'

export interface JournalFileName {
  readonly number: number
  /** `open`: begun by an opening, and complete in itself. `more`: begun when the one before it had grown large. */
  readonly kind: 'open' | 'more'
}

export interface JournalRead {
  /** Undefined for a directory that was never used. */
  readonly state: LogState | undefined
  readonly records: readonly { readonly record: JournalRecord; readonly sequence: number }[]
  /** The sequence number of the snapshot, or of nothing. */
  readonly sequence: number
  /** All names in the folder, to be removed once a new file has taken over. */
  readonly names: readonly string[]
  /** The largest number in use. */
  readonly number: number
  /** Bytes behind the last record read. */
  readonly tornBytes: number
}

export function journalFileName({ number, kind }: JournalFileName): string {
  return `${String(number).padStart(8, '0')}.${kind}`
}

/**
 * @throws TidemarkError LOG_CORRUPT when bytes are damaged that a power cut cannot have taken, LOG_IO
 */
export async function readJournal(folder: string, fs: Fs, codecs: Codecs): Promise<JournalRead> {
  const names = await fs.list(folder)
  const files = names.map(parse).filter((file) => file !== undefined)
  const number = files.at(-1)?.number ?? 0
  const nothing = { state: undefined, records: [], sequence: 0, names, number, tornBytes: 0 }
  if (files.length === 0) return nothing
  // The last opening made everything before it superfluous, and may have died before it removed that.
  const from = Math.max(
    0,
    files.findLastIndex(({ kind }) => kind === 'open'),
  )
  const contents: Content[] = []
  for (const file of files.slice(from)) {
    const path = `${folder}/${journalFileName(file)}`
    contents.push({ number: file.number, path, bytes: await readWhole(path, fs) })
  }
  return { ...nothing, ...chain(contents, codecs) }
}

interface Content {
  readonly number: number
  readonly path: string
  readonly bytes: Buffer
}

function chain(contents: readonly Content[], codecs: Codecs): Pick<JournalRead, 'state' | 'records' | 'sequence' | 'tornBytes'> {
  const first = contents[0] as Content
  const snapshot = snapshotOf(first, codecs)
  if (snapshot === undefined) throw damagedJournal(first, 0, 'its snapshot cannot be read')
  const records: { record: JournalRecord; sequence: number }[] = []
  let sequence = snapshot.sequence
  for (const [i, content] of contents.entries()) {
    const begin = snapshotOf(content, codecs)
    if (begin === undefined || begin.sequence !== sequence) {
      const before = contents[i - 1] as Content
      refuseIfConfirmed(contents, i - 1, before.bytes.length, codecs)
      return { state: snapshot.state, records, sequence: snapshot.sequence, tornBytes: bytesFrom(contents, i) }
    }
    let at = begin.end
    for (let next = readFrame(content.bytes, at, codecs); isNext(next, sequence); next = readFrame(content.bytes, at, codecs)) {
      records.push(next)
      sequence = next.sequence
      at = next.end
    }
    if (at === content.bytes.length) continue
    refuseIfConfirmed(contents, i, at, codecs)
    // What the next file begins with tells whether these bytes were lost records or the torn last write before it was begun.
    const tornBytes = content.bytes.length - at + bytesFrom(contents, i + 1)
    return { state: snapshot.state, records, sequence: snapshot.sequence, tornBytes }
  }
  return { state: snapshot.state, records, sequence: snapshot.sequence, tornBytes: 0 }
}

function isNext(frame: Frame | undefined, sequence: number): frame is Extract<Frame, { kind: 'record' }> {
  return frame?.kind === 'record' && frame.sequence === sequence + 1
}

function snapshotOf(content: Content, codecs: Codecs): Extract<Frame, { kind: 'snapshot' }> | undefined {
  if (!content.bytes.subarray(0, FILE_MAGIC.length).equals(FILE_MAGIC)) return undefined
  const frame = readFrame(content.bytes, FILE_MAGIC.length, codecs)
  return frame?.kind === 'snapshot' ? frame : undefined
}

/**
 * The sequence breaks at byte `at` of file `broken`. If a later record says that the disk had confirmed the journal beyond that place,
 * no power cut can have taken it.
 */
function refuseIfConfirmed(contents: readonly Content[], broken: number, at: number, codecs: Codecs): void {
  const place = contents[broken] as Content
  for (const content of contents.slice(broken)) {
    const from = content === place ? at : FILE_MAGIC.length
    for (const record of recordsAnywhere(content.bytes, from, codecs)) {
      if (record.kind !== 'synced') continue
      if (record.file > place.number || (record.file === place.number && record.byte > at)) {
        throw damagedJournal(place, at, 'the records that follow show that the disk had confirmed more')
      }
    }
  }
}

/** Every sound frame from `at` on, wherever it begins: behind damage nothing says where the next one is. */
function* recordsAnywhere(bytes: Buffer, from: number, codecs: Codecs): Generator<JournalRecord> {
  let at = from
  while (at < bytes.length) {
    const frame = readFrame(bytes, at, codecs)
    if (frame?.kind === 'record') yield frame.record
    at = frame === undefined ? at + 1 : frame.end
  }
}

function bytesFrom(contents: readonly Content[], first: number): number {
  return contents.slice(first).reduce((sum, { bytes }) => sum + bytes.length, 0)
}

function damagedJournal(content: Content, byte: number, what: string): TidemarkError {
  return new TidemarkError('LOG_CORRUPT', 'the journal of the log is damaged on disk', {
    detail: `At byte ${byte} of ${content.path}: ${what}.`,
    hint: 'Restore the directory from a copy, or remove it and let its topics be made anew from their sources.',
  })
}

async function readWhole(path: string, fs: Fs): Promise<Buffer> {
  try {
    const file = await fs.open(path)
    try {
      const bytes = Buffer.allocUnsafeSlow(file.size)
      let at = 0
      while (at < bytes.length) {
        const count = await file.read(bytes, at, bytes.length - at, at)
        if (count === 0) break
        at += count
      }
      return bytes.subarray(0, at)
    } finally {
      await file.close()
    }
  } catch (error) {
    throw diskError('read the journal', path, error)
  }
}

function parse(name: string): JournalFileName | undefined {
  const parts = /^(\d{8})\.(open|more)$/.exec(name)
  return parts === null ? undefined : { number: Number(parts[1]), kind: parts[2] as 'open' | 'more' }
}
