/**
 * The tables of a LevelDB folder, checked by their checksums. LevelDB 1.20 checks none when it reads, unless it is told to in a way that
 * classic-level does not offer: a flipped bit in a filter or in an index hides rows from `get` that a range still finds, and one in the length
 * of a key fails an assertion, which ends the process. So what steers every read is checked before an open, and all of it by `verify`.
 *
 *   table    => block* filter meta-index index footer
 *   block    => content, its compression (0 none, 1 snappy), and the masked CRC-32C of both
 *   footer   => two handles (where the meta-index lies, and the index), padding, magic: 48 bytes
 *   content of both indexes => entries of shared:varint rest:varint valueLength:varint key handle(of a block); restarts, and their count:u32
 *
 * After doc/table_format.md, table/format.cc and util/crc32c.h of LevelDB. Not promised: that the rows are those that were written; they carry
 * their own hash.
 */
import { open, readdir, stat } from 'node:fs/promises'
import { join } from 'node:path'
import { uncompress } from 'snappy'
import { plainCodecs } from '../../ports/record-batch/index.ts'
import { masked, Reader } from './format.ts'

/** A table that is not what was written, and which file that was. A later one may get the same name. */
export interface DamagedTable {
  readonly file: string
  readonly what: string
  readonly identity: string
}

const FOOTER_BYTES = 48
const TRAILER_BYTES = 5
/** Large and odd, so that no text has it: the end of every table, little-endian. */
const MAGIC = 0xdb4775248b80fb57n
/** A table is as large as LevelDB lets it grow; no block comes near this. */
const BLOCK_BYTES_MAX = 256 * 1024 * 1024

interface Handle {
  readonly at: number
  readonly size: number
}

/**
 * Tables in a folder whose checksums do not hold: those of filter and indexes, or with `everything` of all blocks. Files that are gone
 * meanwhile are none. A process that was killed may leave half a table that belongs to nothing: LevelDB removes it at the next open, so only
 * what `stillThere` says after that is damage.
 */
export async function damagedTables(path: string, extent: 'index' | 'everything'): Promise<readonly DamagedTable[]> {
  const damaged: DamagedTable[] = []
  for (const name of (await readdir(path)).filter((each) => /\.(ldb|sst)$/.test(each))) {
    const file = join(path, name)
    const what = await damageIn(file, extent)
    const identity = what === undefined ? undefined : await identityOf(file)
    if (what !== undefined && identity !== undefined) damaged.push({ file, what, identity })
  }
  return damaged
}

/** Of damaged tables, the first that LevelDB has kept. */
export async function stillThere(damaged: readonly DamagedTable[]): Promise<DamagedTable | undefined> {
  for (const table of damaged) if ((await identityOf(table.file)) === table.identity) return table
  return undefined
}

async function identityOf(file: string): Promise<string | undefined> {
  const found = await stat(file).catch(absent)
  return found === undefined ? undefined : `${found.ino} ${found.mtimeMs} ${found.size}`
}

function absent(error: unknown): undefined {
  if ((error as { readonly code?: unknown }).code !== 'ENOENT') throw error
  return undefined
}

async function damageIn(file: string, extent: 'index' | 'everything'): Promise<string | undefined> {
  const opened = await open(file).catch(absent)
  if (opened === undefined) return undefined
  try {
    const { size } = await opened.stat()
    const read = async ({ at, size: length }: Handle): Promise<Buffer> => {
      const { buffer, bytesRead } = await opened.read(Buffer.allocUnsafe(length), 0, length, at)
      return buffer.subarray(0, bytesRead)
    }
    if (size < FOOTER_BYTES) return 'it is too short for a table'
    const footer = await read({ at: size - FOOTER_BYTES, size: FOOTER_BYTES })
    if (footer.readBigUInt64LE(FOOTER_BYTES - 8) !== MAGIC) return 'it does not end as a table does'
    const reader = new Reader(footer)
    const [metaIndex, index] = [handle(reader), handle(reader)]
    const blocks: Handle[] = [metaIndex, index]
    for (let next = blocks.shift(); next !== undefined; next = blocks.shift()) {
      if (!(next.size <= BLOCK_BYTES_MAX && next.at + next.size + TRAILER_BYTES <= size)) return 'a block would lie outside of it'
      const block = await read({ at: next.at, size: next.size + TRAILER_BYTES })
      const sum = block.readUInt32LE(next.size + 1)
      if (masked(plainCodecs.crc32c(block.subarray(0, next.size + 1))) !== sum)
        return `the block at byte ${next.at} is not what was written`
      if (next === metaIndex || (next === index && extent === 'everything')) blocks.push(...(await handlesIn(block)))
    }
    return undefined
  } finally {
    await opened.close()
  }
}

/** The blocks that an index names: those of rows, or that of the filter. */
async function handlesIn(block: Buffer): Promise<readonly Handle[]> {
  const stored = block.subarray(0, -TRAILER_BYTES)
  const content = block.at(-TRAILER_BYTES) === 1 ? ((await uncompress(stored)) as Buffer) : stored
  const end = content.length - 4 - content.readUInt32LE(content.length - 4) * 4
  const reader = new Reader(content)
  const handles: Handle[] = []
  while (reader.at < end) {
    reader.varint()
    const rest = reader.varint()
    const valueLength = reader.varint()
    reader.at += rest
    const next = reader.at + valueLength
    handles.push(handle(reader))
    reader.at = next
  }
  return handles
}

function handle(reader: Reader): Handle {
  return { at: reader.varint(), size: reader.varint() }
}
