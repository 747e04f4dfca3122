/**
 * Whether inboxes tell the truth: once one of their partitions has said that a source has come through up to a position, no fact from before that
 * position comes behind it any more, but for one that waited for its predecessors, and for repetitions where those are allowed. And what a
 * projection has kept of it is what was said last before its position.
 */
import type { Plan } from '../../plan/plan.ts'
import { partitionName, topicPartition } from '../../ports/log.ts'
import { progressIn, type SourceProgress, type Way } from '../../runtime/heard.ts'
import type { Recorded, Shelf, Sight } from './watch.ts'

/** The first claim that does not hold, in words; undefined when all do. */
export function falselyTold(plan: Plan, sight: Sight, exactlyOnce: boolean): string | undefined {
  for (const { name, role, partitions } of plan.topics) {
    if (role !== 'inbox') continue
    for (let partition = 0; partition < partitions; partition++) {
      const wrong = lateIn(sight, name, partition, exactlyOnce) ?? keptOtherwise(sight, name, partition)
      if (wrong !== undefined) return wrong
    }
  }
  return undefined
}

function lateIn(sight: Sight, inbox: string, partition: number, exactlyOnce: boolean): string | undefined {
  const told = new Map<Way, SourceProgress>()
  const seen = new Set<string>()
  for (const { key, bytes, headers, offset } of sight.records(inbox, partition)) {
    if (key === undefined) {
      for (const [way, each] of progressIn(bytes)) told.set(way, each)
      continue
    }
    const [source = '', at = ''] = (headers.tm_origin ?? '').split('@')
    const position = told.get(source)?.position ?? 0
    const repeated = seen.has(`${headers.ce_id}`)
    seen.add(`${headers.ce_id}`)
    if (Number(at) >= position || (repeated && !exactlyOnce) || waited(sight, source, Number(at), position)) continue
    return `${inbox}/${partition} said that ${source} has come through up to ${position}, and ${source}@${at} came after that, at ${offset}`
  }
  return undefined
}

/** Whether a fact had to wait for one that lies behind a position. */
function waited(sight: Sight, source: string, offset: number, position: number): boolean {
  const { topic, partition } = topicPartition(source)
  const records = sight.records(topic, partition)
  const fact = records.find((record) => record.offset === offset)
  if (fact === undefined) return false
  const before = new Set(records.filter((record) => record.key === fact.key && record.offset < position).map(sequenceOf))
  for (let sequence = 1; sequence < sequenceOf(fact); sequence++) if (!before.has(sequence)) return true
  return false
}

function sequenceOf({ headers }: Recorded): number {
  return Number(headers.ce_sequence)
}

function keptOtherwise(sight: Sight, inbox: string, partition: number): string | undefined {
  const name = partitionName(inbox, partition)
  for (const { meta, worker } of sight.stores.filter((shelf: Shelf) => shelf.meta?.heard.has(name))) {
    const position = meta?.positions.get(name) ?? 0
    const said = new Map<Way, SourceProgress>()
    for (const { key, bytes, offset } of sight.records(inbox, partition))
      if (key === undefined && offset < position) for (const [way, each] of progressIn(bytes)) said.set(way, each)
    for (const [way, kept] of meta?.heard.get(name) ?? []) {
      if (kept.position === said.get(way)?.position) continue
      return `worker ${worker} has kept that ${way} has come through ${name} up to ${kept.position}, and told was ${said.get(way)?.position}`
    }
  }
  return undefined
}
