/**
 * Where in a folder a bit can flip: ranges of bytes by what they are. A bit is picked by the bytes of all ranges of a place alike, so large
 * files get more of them, as they do on a disk that fails.
 */
import { readdirSync, readFileSync, statSync } from 'node:fs'
import { join } from 'node:path'
import { levelState } from '../../src/drivers/level/index.ts'
import { retail } from '../../topologies/retail/index.ts'
import { copy, inScratch } from './look.ts'

export interface Region {
  readonly file: string
  readonly from: number
  readonly to: number
}

/**
 * What the folder is in which a bit flips. `closed`: fed to the end and closed, all rows in LevelDB's write-ahead files. `tables`: opened
 * and closed once more, all rows in tables. `killed`: killed in the middle of its feed.
 */
export type Base = 'closed' | 'tables' | 'killed'

export interface Place {
  readonly name: string
  readonly base: Base
  regions(folder: string): readonly Region[] | Promise<readonly Region[]>
  /** All state is lost too, so that it must be restored from what was flipped. */
  readonly withoutState?: true
  /** It is read again from its beginning: by a replay. */
  readonly replayed?: true
}

export const PLACES: readonly Place[] = [
  { name: 'segment of a source', base: 'closed', regions: segmentsOf(/^(orders|warehouse)\./) },
  { name: 'segment of an inbox', base: 'closed', regions: segmentsOf(/-inbox-/), replayed: true },
  { name: 'segment of a changelog', base: 'closed', regions: segmentsOf(/-changelog-/) },
  { name: 'segment of a changelog, and no state', base: 'closed', regions: segmentsOf(/-changelog-/), withoutState: true },
  { name: 'segment of what is published', base: 'closed', regions: segmentsOf(/^inventory\./) },
  { name: "segment of the feed's position, or of decisions", base: 'closed', regions: segmentsOf(/^retail-(feed|decisions)-/) },
  { name: 'any segment, after a kill', base: 'killed', regions: segmentsOf(/./) },
  { name: 'index of a segment', base: 'closed', regions: files('log/topics', /\.index$/) },
  { name: 'journal', base: 'closed', regions: files('log/journal', /./) },
  { name: 'journal, after a kill', base: 'killed', regions: files('log/journal', /./) },
  { name: 'LevelDB table: the value of a row', base: 'tables', regions: (folder) => rowsIn(folder, 'value') },
  { name: 'LevelDB table: the key of a row', base: 'tables', regions: (folder) => rowsIn(folder, 'key') },
  { name: 'LevelDB table: anywhere in a data block', base: 'tables', regions: (folder) => partsOfTables(folder, 'data') },
  { name: 'LevelDB table: filter', base: 'tables', regions: (folder) => partsOfTables(folder, 'filter') },
  { name: 'LevelDB table: index block', base: 'tables', regions: (folder) => partsOfTables(folder, 'index') },
  { name: 'LevelDB table: meta index and footer', base: 'tables', regions: (folder) => partsOfTables(folder, 'rest') },
  { name: 'LevelDB write-ahead file', base: 'closed', regions: files('state', /\.log$/) },
  { name: 'LevelDB write-ahead file, after a kill', base: 'killed', regions: files('state', /\.log$/) },
  { name: 'LevelDB MANIFEST', base: 'tables', regions: files('state', /MANIFEST-\d+$/) },
  { name: 'LevelDB CURRENT', base: 'tables', regions: files('state', /CURRENT$/) },
]

function files(below: string, named: RegExp): Place['regions'] {
  return (folder) =>
    readdirSync(join(folder, below), { recursive: true, encoding: 'utf8' })
      .filter((name) => named.test(name))
      .map((name) => join(below, name))
      .map((file) => ({ file, from: 0, to: statSync(join(folder, file)).size }))
      .filter(({ file, to }) => to > 0 && statSync(join(folder, file)).isFile())
}

function segmentsOf(topic: RegExp): Place['regions'] {
  const segments = files('log/topics', /\.log$/)
  return async (folder) => (await segments(folder)).filter(({ file }) => topic.test(file.slice('log/topics/'.length)))
}

/** The parts of LevelDB's tables, as doc/table_format.md of LevelDB draws them: blocks, a filter, indexes, and 48 bytes that say where. */
function partsOfTables(folder: string, part: 'data' | 'filter' | 'index' | 'rest'): readonly Region[] {
  return (files('state', /\.ldb$/)(folder) as Region[]).flatMap(({ file, to }) => {
    const bytes = readFileSync(join(folder, file))
    const footer = to - 48
    const [metaAt, afterMetaAt] = uvarint(bytes, footer)
    const [, afterMetaSize] = uvarint(bytes, afterMetaAt)
    const [indexAt, afterIndexAt] = uvarint(bytes, afterMetaSize)
    const [indexSize] = uvarint(bytes, afterIndexAt)
    // A block is followed by its type and its checksum.
    const indexEnd = indexAt + indexSize + 5
    // The meta-index has one entry: the name of the filter, and where that is. It begins with three lengths of a byte.
    const [filterAt] = uvarint(bytes, metaAt + 3 + bytes.readUInt8(metaAt + 1))
    if (part === 'data') return [{ file, from: 0, to: filterAt }]
    if (part === 'filter') return [{ file, from: filterAt, to: metaAt }]
    if (part === 'index') return [{ file, from: indexAt, to: indexEnd }]
    return [
      { file, from: metaAt, to: indexAt },
      { file, from: indexEnd, to },
    ]
  })
}

function uvarint(bytes: Buffer, at: number): [value: number, next: number] {
  let value = 0
  for (let shift = 0; ; shift += 7) {
    const byte = bytes.readUInt8(at++)
    value += (byte & 127) * 2 ** shift
    if (byte < 128) return [value, at]
  }
}

/** Rows begin with the number of their store; 0 is what a task keeps of itself. */
const NO_STORE = 0
/** Bytes that lie nowhere else in a file with all but certainty. */
const UNIQUE_BYTES = 8

/**
 * Where rows lie in tables, found by their bytes: tables are compressed, but bytes that came nowhere before are kept as they are. A value ends
 * with its hash, which is such bytes; of the keys, those are taken whose end lies in the table once.
 */
async function rowsIn(folder: string, part: 'value' | 'key'): Promise<readonly Region[]> {
  return await inScratch(async (scratch) => {
    copy(join(folder, 'state'), scratch)
    const state = levelState({ folder: scratch })
    const regions: Region[] = []
    for (const id of await state.list(retail.graph.name)) {
      const below = join('state', id.app, `${id.stage}-g${id.generation}`, `${id.partition}`)
      const tables = readdirSync(join(folder, below)).filter((name) => name.endsWith('.ldb'))
      const bytesOf = new Map(tables.map((name) => [join(below, name), readFileSync(join(folder, below, name))]))
      const db = await state.open(id)
      try {
        for (const [key, value] of await db.range({ from: Buffer.alloc(0), to: undefined, limit: 100_000 })) {
          if (key[0] === NO_STORE) continue
          const searched = part === 'value' ? value.subarray(-UNIQUE_BYTES) : key.subarray(-UNIQUE_BYTES)
          for (const [file, bytes] of bytesOf) {
            const at = searched.length < UNIQUE_BYTES ? -1 : bytes.indexOf(searched)
            if (at >= 0 && bytes.indexOf(searched, at + 1) < 0) regions.push({ file, from: at, to: at + UNIQUE_BYTES })
          }
        }
      } finally {
        await db.close()
      }
    }
    return regions
  })
}
