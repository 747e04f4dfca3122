/**
 * The write-ahead files of a LevelDB folder, looked at before LevelDB reads them. It begins a new one without syncing the one before
 * (MakeRoomForWrite in db/db_impl.cc of 1.20), and a file system writes pages back in what order it likes. So after a power cut a later batch may
 * be there and an earlier one not, and recovery passes over the hole without a word: rows would be missing that the position counts in. But each
 * batch carries the number of its first row, and those leave no number out.
 *
 *   log      => block of 32,768 bytes*
 *   block    => record* zeros (where less than a header has room)
 *   record   => the masked CRC-32C of what follows:u32 length:u16 type:u8 (1 whole, 2 first, 3 middle, 4 last) bytes
 *   batch    => sequence:u64 rows:u32 ...
 *   manifest => a log of edits: tag:varint value, of which 2 is the first write-ahead file that counts, and 4 the last sequence then
 *
 * After doc/log_format.md, db/log_reader.cc, db/write_batch.cc and db/version_edit.cc of LevelDB. A file that ends too early is no damage by
 * itself: the last batches are lost then, and the changelog has them.
 */
import { open, readdir, readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { plainCodecs } from '../../ports/record-batch/index.ts'
import { masked, Reader } from './format.ts'

const BLOCK_BYTES = 32_768
const HEADER_BYTES = 7
/** Sequence and count of a batch. */
const BATCH_HEAD_BYTES = 12
/** Whole blocks, so that no record header is cut. */
const CHUNK_BYTES = 32 * BLOCK_BYTES

const [WHOLE, FIRST, MIDDLE, LAST] = [1, 2, 3, 4]

/**
 * What an earlier batch would have to fill, in a folder that no process has open; undefined when the batches that are there are all that there
 * were up to some moment.
 */
export async function holeInLogs(path: string): Promise<string | undefined> {
  const names = await readdir(path)
  const manifest = names.includes('CURRENT') ? (await readFile(join(path, 'CURRENT'), 'latin1')).trimEnd() : undefined
  if (manifest === undefined || !names.includes(manifest)) return undefined
  const { firstLog, lastSequence } = await standOf(join(path, manifest))
  const logs = names
    .filter((name) => /^\d+\.log$/.test(name) && Number.parseInt(name, 10) >= firstLog)
    .sort((a, b) => Number.parseInt(a, 10) - Number.parseInt(b, 10))
  let next: number | undefined
  // The file that the manifest names is there from the beginning, and a later one is begun when it is full.
  let empty = logs.length > 0 && Number.parseInt(logs[0] as string, 10) !== firstLog ? `the write-ahead file ${firstLog}` : undefined
  for (const name of logs) {
    const { heads, unreadAt } = await readLog(join(path, name), BATCH_HEAD_BYTES)
    if (unreadAt !== undefined) return `${name} cannot be read at byte ${unreadAt}, and can behind it`
    if (heads.length === 0) empty ??= name
    else if (empty !== undefined) return `${empty} has no batch, and ${name} has later ones`
    for (const head of heads) {
      const first = Number(head.readBigUInt64LE(0))
      if (next === undefined ? first > lastSequence + 1 : first !== next)
        return `${name} goes on with row ${first} behind row ${(next ?? lastSequence + 1) - 1}: batches between them are lost`
      next = first + head.readUInt32LE(8)
    }
  }
  return undefined
}

/** What the edits of a manifest come to. */
async function standOf(manifest: string): Promise<{ firstLog: number; lastSequence: number }> {
  let [firstLog, lastSequence] = [0, 0]
  for (const edit of (await readLog(manifest, Number.POSITIVE_INFINITY)).heads) {
    const reader = new Reader(edit)
    while (reader.at < edit.length) {
      const tag = reader.varint()
      if (tag === 2) firstLog = reader.varint()
      else if (tag === 4) lastSequence = reader.varint()
      else
        for (const part of PARTS[tag] ?? '?')
          if (part === 'n') reader.varint()
          else if (part === 'b') reader.at += reader.varint()
          // Of a later LevelDB: what comes behind it cannot be told apart.
          else reader.at = edit.length
    }
  }
  return { firstLog, lastSequence }
}

/** By tag, what follows it: numbers, and bytes with their length before them. */
const PARTS: Readonly<Record<number, string>> = { 1: 'b', 3: 'n', 5: 'nb', 6: 'nn', 7: 'nnnbb', 9: 'n' }

/** The beginnings of all records that LevelDB would find, and where something lies between them that is no record. */
async function readLog(path: string, headBytes: number): Promise<{ heads: readonly Buffer[]; unreadAt: number | undefined }> {
  const heads: Buffer[] = []
  let begun: Buffer[] | undefined
  /** Something that is no record, and may be the end. */
  let suspect: number | undefined
  let unreadAt: number | undefined
  const file = await open(path)
  try {
    const { size } = await file.stat()
    const chunk = Buffer.allocUnsafe(Math.min(size, CHUNK_BYTES))
    for (let start = 0; start < size; start += CHUNK_BYTES) {
      const { bytesRead } = await file.read(chunk, 0, chunk.length, start)
      for (let block = 0; block < bytesRead; block += BLOCK_BYTES) {
        const end = Math.min(block + BLOCK_BYTES, bytesRead)
        for (let at = block; at + HEADER_BYTES <= end; ) {
          const type = chunk[at + 6] as number
          const to = at + HEADER_BYTES + chunk.readUInt16LE(at + 4)
          const fits = to <= end && type >= WHOLE && type <= LAST
          if (!fits || masked(plainCodecs.crc32c(chunk.subarray(at + 6, to))) !== chunk.readUInt32LE(at)) {
            suspect ??= start + at
            begun = undefined
            break
          }
          if (begun === undefined ? type === MIDDLE || type === LAST : type === WHOLE || type === FIRST) suspect ??= start + at
          if (type === WHOLE || type === FIRST) begun = []
          begun?.push(Buffer.from(chunk.subarray(at + HEADER_BYTES, Math.min(to, at + HEADER_BYTES + headBytes))))
          if (type === WHOLE || type === LAST) {
            if (begun !== undefined) heads.push(begun.length === 1 ? (begun[0] as Buffer) : Buffer.concat(begun))
            begun = undefined
            unreadAt ??= suspect
          }
          at = to
        }
      }
    }
  } finally {
    await file.close()
  }
  return { heads, unreadAt }
}
