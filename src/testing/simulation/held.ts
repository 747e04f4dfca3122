/**
 * Whether what a commit says of held facts is so: counted anew, the rows that it wrote hold as many, of as many keys. Looked at where a disk is at
 * the end of a commit: within one, at least once, rows of the next are there already.
 */
import { binary, fromBinary } from '../../base/bytes.ts'
import type { StagePlan } from '../../plan/plan.ts'
import type { Codecs } from '../../runtime/flavours.ts'
import { HeldCount } from '../../runtime/held.ts'
import { lastRecord } from '../../runtime/lineage.ts'
import { holdingOf, parkedFormat } from '../../runtime/parking.ts'
import { decodeRow, type RowCodec, storePrefix, TM_KEY, unescapeKey } from '../../runtime/rows.ts'
import { KeySlot, Row } from '../../runtime/slots.ts'
import type { Graph, Holding } from '../../topology/node.ts'
import type { Shelf } from './watch.ts'

/** The first store whose counts are wrong, in words; undefined when all are right. */
export function falselyHeld(graph: Graph, stage: StagePlan, codecs: Codecs, shelf: Shelf): string | undefined {
  const { meta, rows } = shelf
  if (meta === undefined || !atCommitsEnd(shelf)) return undefined
  for (const store of stage.stores) {
    const node = graph.nodes.find(({ id }) => id === store.step)
    const said = meta.stores.get(store.id)?.held
    const parked = store.kind === 'parked'
    const holding = parked ? holdingOf : node?.kind === 'keyed' ? node.holding : undefined
    const codec = parked ? PARKED : codecs.rows.get(store.step)
    if (holding === undefined || codec === undefined) continue
    if (said === undefined) return `"${store.name}" may hold facts, and the commit does not say how many`
    const { facts, keys, parked: parkedKeys } = countedAnew(rows, store.id, codec, holding)
    if (facts !== said.facts || keys !== said.keys || parkedKeys !== said.parked)
      return `"${store.name}" holds ${facts} facts of ${keys} keys, ${parkedKeys} parked; its commit says ${said.facts}, ${said.keys} and ${said.parked}`
  }
  return undefined
}

const PARKED: RowCodec = { kind: 'format', format: parkedFormat, view: false }

function atCommitsEnd({ rows, checkpoint }: Shelf): boolean {
  const bytes = rows.get(binary(TM_KEY))
  const last = checkpoint?.last
  if (bytes === undefined || last === undefined) return false
  const { high, low } = lastRecord(last.offset, TM_KEY, bytes)
  return high === last.high && low === last.low
}

function countedAnew(rows: Shelf['rows'], store: number, codec: RowCodec, holding: (row: unknown) => Holding | undefined): HeldCount {
  const prefix = storePrefix(store)
  const start = binary(prefix)
  const count = new HeldCount()
  for (const [name, bytes] of rows) {
    if (!name.startsWith(start)) continue
    const stored = fromBinary(name)
    const place = unescapeKey(stored, prefix.length)
    if (place === undefined || place.sub !== '') continue
    const row = new Row(new KeySlot(place.key, 0, 0), 0, '')
    decodeRow(row, stored, bytes, codec)
    const held = row.exists ? holding(row.value) : undefined
    if (held !== undefined) count.add(held, 1)
  }
  return count
}
