/**
 * The judge: compares what is there with what must be, at every look and in the end. Each rule is one function, named as in the list.
 *
 *  O1  rows of every projection are the fold of the facts that its store has taken                    promise P1, P8
 *  O2  outputs are the fold of the facts that are committed: exactly, at every moment (exactly-once);
 *      all of them, at least once and in order of first appearance, in the end (at-least-once)         P1, P10
 *  O3  facts of a key keep their order in every topic, and versions of a state grow                    P1
 *  O4  every store is the fold of its changelog up to its checkpoint                                   P2, P9
 *  O5  committed positions never go back, and state and group agree about them                        P1
 *  O6  once faults stop, everything is processed within a bounded time                                P3, P4
 *  O7  what went in is what came out, was dropped for a reason, or waits                               P5
 *  O8  poison is dead-lettered once, byte for byte                                                     P5
 *  O13 no state is dropped without damage                                                              P9
 *  O14 what inboxes tell of their sources is so, and projections have kept what was told
 *  O15 what commits say is held is what their rows hold
 *  and state rebuilt from its log is the state that was live                                           P7
 */

import { binary, fromBinary } from '../../base/bytes.ts'
import type { KeyCodec } from '../../contract/key.ts'
import { inboxTopic, taskName } from '../../plan/naming.ts'
import type { Plan, StagePlan } from '../../plan/plan.ts'
import { partitionName, topicPartition } from '../../ports/log.ts'
import type { Codecs } from '../../runtime/flavours.ts'
import { decodeRow, type RowCodec, storePrefix, unescapeKey } from '../../runtime/rows.ts'
import { KeySlot, Row } from '../../runtime/slots.ts'
import { storeOf } from '../../topology/node.ts'
import { falselyHeld } from './held.ts'
import { difference, type Expected, type Oracle, type OutputModel, textsOf } from './oracle.ts'
import { falselyTold } from './told.ts'
import type { Change, Recorded, Shelf, Sight } from './watch.ts'

export interface JudgeParts {
  readonly plan: Plan
  readonly codecs: Codecs
  readonly oracle: Oracle
  readonly exactlyOnce: boolean
  /** Segments are so small that changelogs are compacted during the run. */
  readonly compacts: boolean
  readonly report: (violation: string) => void
}

interface ViewPlan {
  readonly name: string
  readonly stage: StagePlan
  readonly store: number
  readonly codec: RowCodec
  readonly key: KeyCodec<unknown>
  readonly publish: string | undefined
}

export class Judge {
  readonly #parts: JudgeParts
  readonly #views: readonly ViewPlan[]
  readonly #partitions: ReadonlyMap<string, number>
  #committed = new Map<string, number>()

  constructor(parts: JudgeParts) {
    this.#parts = parts
    const { plan, codecs } = parts
    this.#partitions = new Map(plan.topics.map(({ name, partitions }) => [name, partitions]))
    this.#views = plan.stages.flatMap((stage) =>
      stage.stores.flatMap((store): ViewPlan[] => {
        const node = plan.graph.nodes.find((each) => each.id === store.step)
        const view = node === undefined || store.kind !== 'rows' ? undefined : storeOf(node)?.view
        if (view === undefined) return []
        return [
          {
            name: store.name,
            stage,
            store: store.id,
            codec: codecs.rows.get(store.step) as RowCodec,
            key: (codecs.flavours.get(store.step) as { key: KeyCodec<unknown> }).key,
            publish: view.publish,
          },
        ]
      }),
    )
  }

  /** The log was opened anew, and a power cut may have taken acknowledged positions. */
  lostPower(): void {
    this.#committed = new Map()
  }

  /** What must hold at every moment. */
  look(sight: Sight): void {
    this.#positions(sight)
    for (const shelf of sight.stores) {
      this.#store(shelf, sight)
      this.#rows(shelf, sight)
      this.#held(shelf)
    }
    const told = falselyTold(this.#parts.plan, sight, this.#parts.exactlyOnce)
    if (told !== undefined) this.#parts.report(`O14: ${told}`)
    if (this.#parts.exactlyOnce) {
      for (const model of this.#parts.oracle.outputs ?? []) this.#outputsExactly(model, sight)
      this.#versions(sight)
    }
  }

  /** O5. At least once, a commit of positions that comes late may take them back: what is behind them is done again then. */
  #positions({ committed }: Sight): void {
    if (committed === 'unstable' || !this.#parts.exactlyOnce) return
    for (const [partition, position] of committed) {
      const before = this.#committed.get(partition) ?? 0
      if (position < before) this.#parts.report(`O5: the committed position of ${partition} went back from ${before} to ${position}`)
      this.#committed.set(partition, position)
    }
  }

  /** O4, and that what the state says of its positions is what the group says. */
  #store(shelf: Shelf, sight: Sight): void {
    const { id, rows, checkpoint, worker } = shelf
    const stage = this.#stageOf(shelf)
    if (stage?.changelog === undefined) return
    const name = `${taskName(id.stage, id.partition)} of worker ${worker}`
    if (checkpoint === undefined) {
      if (rows.size > 0) this.#parts.report(`O4: the store of ${name} has ${rows.size} rows and no checkpoint`)
      return
    }
    // Of a former owner who writes too late the transaction may be open, and what the owner has committed behind it is on disk by then.
    if (sight.hides(stage.changelog, id.partition)) return
    const changes = sight.changes(stage.changelog, id.partition)
    const wrong = storesDiffer(
      rows,
      foldedOnto(new Map(), changes, (offset) => offset < checkpoint.next),
    )
    if (wrong === undefined) return
    // Compaction drops what was overwritten later, so of a store that is behind it leaves only where it will get to.
    const level = foldedOnto(new Map(rows), changes, (offset) => offset >= checkpoint.next)
    if (
      this.#parts.compacts &&
      storesDiffer(
        level,
        foldedOnto(new Map(), changes, () => true),
      ) === undefined
    )
      return
    this.#parts.report(`O4: the store of ${name} is not its changelog up to ${checkpoint.next}: ${wrong}`)
  }

  #stageOf({ id }: Shelf): StagePlan | undefined {
    return this.#parts.plan.stages.find((stage) => stage.name === id.stage && stage.generation === id.generation)
  }

  /** O15. */
  #held(shelf: Shelf): void {
    const { plan, codecs } = this.#parts
    const stage = this.#stageOf(shelf)
    const wrong = stage === undefined ? undefined : falselyHeld(plan.graph, stage, codecs, shelf)
    if (wrong !== undefined) this.#parts.report(`O15: at worker ${shelf.worker}, ${taskName(shelf.id.stage, shelf.id.partition)}: ${wrong}`)
  }

  /** O1. */
  #rows(shelf: Shelf, sight: Sight): void {
    const { id, meta, worker } = shelf
    if (meta === undefined) return
    for (const view of this.#views) {
      const fold = this.#parts.oracle.rows?.[view.name]
      if (fold === undefined || view.stage.name !== id.stage || view.stage.generation !== id.generation) continue
      const [log] = view.stage.logs as [string]
      const topic = this.#topicOf(log)
      const position = meta.positions.get(partitionName(topic, id.partition)) ?? 0
      const facts = sight.records(topic, id.partition).filter(({ offset, key }) => offset < position && key !== undefined)
      const wrong = difference(textsOf(this.rowsOf(view, shelf)), textsOf(fold(facts)))
      if (wrong !== undefined)
        this.#parts.report(`O1: "${view.name}" of ${taskName(id.stage, id.partition)} at worker ${worker}, at ${position}: ${wrong}`)
    }
  }

  rowsOf({ store, codec, key }: ViewPlan, { rows }: Pick<Shelf, 'rows'>): Map<string, unknown> {
    const prefix = storePrefix(store)
    const start = binary(prefix)
    const live = new Map<string, unknown>()
    for (const [name, bytes] of rows) {
      if (!name.startsWith(start)) continue
      const stored = fromBinary(name)
      const place = unescapeKey(stored, prefix.length)
      if (place === undefined || place.sub !== '') continue
      const row = new Row(new KeySlot(place.key, 0, 0), 0, '')
      decodeRow(row, stored, bytes, codec)
      if (row.exists) live.set(key.toText(key.decode(place.key, 0, place.key.length)), row.value)
    }
    return live
  }

  /** The topic of a log: of a source by its topic, of an inbox by its step. */
  #topicOf(log: string): string {
    const { plan } = this.#parts
    const node = plan.graph.nodes.find(({ id }) => id === log)
    if (node === undefined) return log
    return node.kind === 'source' ? node.topic : inboxTopic(plan.app, log, 1)
  }

  #topicTo(to: string): string {
    const { plan } = this.#parts
    return plan.graph.nodes.some(({ id, kind }) => id === to && kind === 'repartition') ? inboxTopic(plan.app, to, 1) : to
  }

  #partitionsOf(topic: string): string[] {
    return Array.from({ length: this.#partitions.get(topic) ?? 0 }, (_, partition) => partitionName(topic, partition))
  }

  /** Records of a topic that a model speaks of, by lane. */
  #lanes(model: OutputModel & { readonly to: string }, sight: Sight): Map<string, string[]> {
    const topic = this.#topicTo(model.to)
    const lanes = new Map<string, string[]>()
    for (let partition = 0; partition < (this.#partitions.get(topic) ?? 0); partition++) {
      for (const record of sight.records(topic, partition)) {
        const expected = model.read(record)
        if (expected !== undefined) push(lanes, expected)
      }
    }
    return lanes
  }

  #expected(model: OutputModel, sight: Sight, until: (topic: string, partition: number) => number): Map<string, string[]> {
    const topic = this.#topicOf(model.from)
    const lanes = new Map<string, string[]>()
    for (let partition = 0; partition < (this.#partitions.get(topic) ?? 0); partition++) {
      const end = until(topic, partition)
      const facts = sight.records(topic, partition).filter(({ offset, key }) => offset < end && key !== undefined)
      for (const each of model.fold(facts)) push(lanes, each)
    }
    return lanes
  }

  /** O2, O3 and O8, where commits are atomic: outputs and positions move together. */
  #outputsExactly(model: OutputModel & { readonly to: string }, sight: Sight): void {
    const { committed } = sight
    if (committed === 'unstable') return
    const actual = this.#lanes(model, sight)
    const expected = this.#expected(model, sight, (topic, partition) => committed.get(partitionName(topic, partition)) ?? 0)
    // Committed records behind a transaction that is open are not to be seen yet.
    const hidden = this.#partitionsOf(this.#topicTo(model.to)).some((name) => (sight.stable.get(name) ?? 0) < (sight.high.get(name) ?? 0))
    for (const lane of new Set([...actual.keys(), ...expected.keys()])) {
      const found = actual.get(lane) ?? []
      const wanted = expected.get(lane) ?? []
      const place = found.findIndex((text, i) => text !== wanted[i])
      if (place < 0 && (found.length === wanted.length || hidden)) continue
      const at = place < 0 ? found.length : place
      this.#parts.report(
        `O2: "${model.to}", ${lane}: record ${at + 1} is ${found[at] ?? 'missing'} and should be ${wanted[at] ?? 'nothing'} ` +
          `(${found.length} there, ${wanted.length} expected)`,
      )
      return
    }
  }

  /** O2 and O8, where they are not: everything is there, nothing else is, and what is repeated is repeated in order. */
  #outputsAtLeast(model: OutputModel & { readonly to: string }, sight: Sight): void {
    const actual = this.#lanes(model, sight)
    const expected = this.#expected(model, sight, () => Number.POSITIVE_INFINITY)
    for (const lane of new Set([...actual.keys(), ...expected.keys()])) {
      const found = actual.get(lane) ?? []
      const wanted = expected.get(lane) ?? []
      const wrong = notAtLeastOnce(found, wanted)
      if (wrong !== undefined) this.#parts.report(`O2: "${model.to}", ${lane}: ${wrong}`)
    }
  }

  /** O3 of state topics. */
  #versions(sight: Sight): void {
    for (const { name, publish } of this.#views) {
      if (publish === undefined) continue
      const versions = new Map<string, number>()
      for (let partition = 0; partition < (this.#partitions.get(publish) ?? 0); partition++) {
        for (const { key = '', headers, offset } of sight.records(publish, partition)) {
          const version = Number(headers.ce_sequence)
          if (version <= (versions.get(key) ?? 0))
            this.#parts.report(
              `O3: "${publish}" has version ${version} of ${key} at ${partition}@${offset}, after ${versions.get(key)} ("${name}")`,
            )
          versions.set(key, version)
        }
      }
    }
  }

  /** What must hold once everything is processed. `views`: rows as the application shows them. */
  end(sight: Sight, views: ReadonlyMap<string, ReadonlyMap<string, unknown>>): void {
    this.look(sight)
    const { oracle, report } = this.#parts
    if (!this.#parts.exactlyOnce) for (const model of oracle.outputs ?? []) this.#outputsAtLeast(model, sight)
    const sources = new Map<string, Recorded[][]>()
    for (const { name, role, partitions } of this.#parts.plan.topics)
      if (role === 'source')
        sources.set(
          name,
          Array.from({ length: partitions }, (_, partition) => [...sight.records(name, partition)]),
        )
    for (const view of this.#views) {
      const shown = textsOf(views.get(view.name) ?? new Map())
      const fold = oracle.rows?.[view.name]
      if (fold !== undefined) {
        const topic = this.#topicOf(view.stage.logs[0] as string)
        const rows = new Map<string, unknown>()
        for (let partition = 0; partition < view.stage.partitions; partition++) {
          const facts = sight.records(topic, partition).filter(({ key }) => key !== undefined)
          for (const [key, row] of fold(facts)) rows.set(key, row)
        }
        const wrong = difference(shown, textsOf(rows))
        if (wrong !== undefined) report(`O1: "${view.name}" in the end: ${wrong}`)
      }
      const settled = oracle.settled?.[view.name]?.(sources)
      const wrong = settled === undefined ? undefined : difference(shown, textsOf(settled))
      if (wrong !== undefined) report(`O1: "${view.name}" in the end, straight from the sources: ${wrong}`)
      this.#published(view, sight, shown)
    }
  }

  /** The last value of each key of a state topic is its row. */
  #published({ name, publish, stage }: ViewPlan, sight: Sight, shown: ReadonlyMap<string, string>): void {
    if (publish === undefined) return
    const last = new Map<string, unknown>()
    for (let partition = 0; partition < stage.partitions; partition++) {
      for (const { key = '', bytes, value } of sight.records(publish, partition)) {
        if (bytes === null) last.delete(key)
        else last.set(key, value)
      }
    }
    const wrong = difference(textsOf(last), shown)
    if (wrong !== undefined) this.#parts.report(`O1: state topic "${publish}" in the end, against "${name}": ${wrong}`)
  }

  /** Whether everything in the logs has been processed: committed positions stand at the ends. */
  caughtUp({ committed, high, start }: Sight, inputs: readonly string[]): boolean {
    if (committed === 'unstable') return false
    return inputs.every((name) => high.has(name) && (committed.get(name) ?? (start.get(name) as number)) >= (high.get(name) as number))
  }

  /** Whether every store has taken what is committed. */
  storesLevel({ committed, stores }: Sight): boolean {
    if (committed === 'unstable') return false
    return stores.every(
      ({ meta }) => meta === undefined || [...meta.positions].every(([name, position]) => (committed.get(name) ?? 0) <= position),
    )
  }

  /** Partitions with their topics, for messages. */
  lag({ committed, high }: Sight, inputs: readonly string[]): string {
    if (committed === 'unstable') return 'positions are unstable'
    return inputs
      .filter((name) => (committed.get(name) ?? 0) < (high.get(name) ?? 0))
      .map((name) => `${topicPartition(name).topic}/${topicPartition(name).partition} at ${committed.get(name) ?? 0} of ${high.get(name)}`)
      .join(', ')
  }
}

function push(lanes: Map<string, string[]>, { lane, text }: Expected): void {
  const texts = lanes.get(lane)
  if (texts === undefined) lanes.set(lane, [text])
  else texts.push(text)
}

function foldedOnto(rows: Map<string, Buffer>, changes: readonly Change[], within: (offset: number) => boolean): Map<string, Buffer> {
  for (const { offset, key, value } of changes) {
    if (!within(offset)) continue
    if (value === null) rows.delete(key)
    else rows.set(key, value)
  }
  return rows
}

function storesDiffer(rows: ReadonlyMap<string, Buffer>, folded: ReadonlyMap<string, Buffer>): string | undefined {
  for (const [key, value] of folded) {
    const found = rows.get(key)
    if (found === undefined) return `row ${hex(key)} is missing`
    if (!found.equals(value)) return `row ${hex(key)} is another`
  }
  for (const key of rows.keys()) if (!folded.has(key)) return `row ${hex(key)} should not be there`
  return undefined
}

function hex(key: string): string {
  return Buffer.from(key, 'latin1').toString('hex')
}

/** A sequence may be repeated from an earlier place, as after a crash, but not from a later one, and it must come to its end. */
function notAtLeastOnce(found: readonly string[], wanted: readonly string[]): string | undefined {
  let reached = 0
  for (const [i, text] of found.entries()) {
    if (text === wanted[reached]) reached += 1
    else if (!wanted.slice(0, reached).includes(text)) return `record ${i + 1} is ${text}, before ${wanted[reached] ?? 'the end'}`
  }
  return reached === wanted.length ? undefined : `${wanted[reached]} is missing`
}
