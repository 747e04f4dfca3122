/**
 * Redrive: a dead letter is put back where it failed. The record enters the step that refused it, with its own bytes, headers, id and times,
 * and goes on from there as if that step had let it pass at the first try.
 *
 * Promised: what comes of a letter and the note that it was redriven are one transaction, so it is never redriven twice, whoever tries and
 * whatever crashes; a letter that fails again, there or in any step behind, leaves nothing.
 *
 * Rejected: sending the record to its topic again. The steps before the one that failed have seen it, so `dedupe` and `order` would drop it;
 * its other readers would get it twice; a foreign topic is not ours to write; and a rebuild, which reads the record where it was, would count
 * it twice.
 *
 * Not promised: the order among the facts of a key. Its successors have passed.
 */
import { TidemarkError } from '../base/errors.ts'
import { redriverId, writersOf } from '../plan/naming.ts'
import type { StagePlan } from '../plan/plan.ts'
import type { TaskPlan } from '../plan/tasks.ts'
import type { Writer } from '../ports/log.ts'
import type { Columns } from '../ports/record-batch/index.ts'
import { encodeHeaders } from '../ports/record-batch/index.ts'
import type { Graph, Node } from '../topology/node.ts'
import { commitAlone, failing } from './commit-alone.ts'
import { factsKnown, readDecisions, recordRedriven } from './decisions.ts'
import { entryOf } from './entry.ts'
import { TaskStopped } from './failure.ts'
import type { Interpreter } from './interpreter.ts'
import { type Letter, letterName } from './letters.ts'
import { planAtRest } from './offline.ts'
import { Outbox } from './outbox.ts'
import { Ranges, unpin } from './ranges.ts'
import { type Flavour, Rec } from './record.ts'
import { Stages } from './stages.ts'
import type { Task } from './task.ts'
import { DEFAULT_OPTIONS, type World } from './world.ts'

/**
 * `redriven`: it has been put back, or would have been; `already`: an earlier call did; `fails`: it would fail again; `refused`: it cannot be
 * put back here at all. The error says why.
 */
export type Redriven = { readonly kind: 'redriven' | 'already' } | { readonly kind: 'fails' | 'refused'; readonly error: TidemarkError }

export interface RedriveOptions {
  /** Runs the letters and writes nothing. Default false. */
  readonly dryRun?: boolean
  /** Whether nobody else runs the application, so that state may be opened. Without it only steps that keep nothing are entered. */
  readonly alone: boolean
  readonly signal?: AbortSignal
}

export class Redriver {
  readonly #world: World
  readonly #options: RedriveOptions
  readonly #stages: Stages
  readonly #nodes: ReadonlyMap<string, Node>
  readonly #done: Set<string>
  readonly #writer: Writer | undefined
  readonly #tasks = new Map<string, Task>()

  private constructor(world: World, options: RedriveOptions, stages: Stages, done: Set<string>, writer: Writer | undefined) {
    this.#world = world
    this.#options = options
    this.#stages = stages
    this.#nodes = new Map(stages.plan.graph.nodes.map((node) => [node.id, node]))
    this.#done = done
    this.#writer = writer
  }

  /**
   * Opening one fences an earlier one that is still at work.
   * @throws TidemarkError TOPIC_UNKNOWN when the application never ran, PLAN_CHANGED, LOG_*, BROKER_*
   */
  static async open(graph: Graph, world: World, options: RedriveOptions): Promise<Redriver> {
    // A worker that died may have left a transaction open: what it wrote is not read before that is decided.
    if (options.alone) await world.log.fence(writersOf(graph.name), new Set())
    const plan = await planAtRest(graph, world)
    // What fails is told to who redrives, whatever its step says: it is a dead letter already.
    const nodes = graph.nodes.map((node) => ({ ...node, onError: { retry: 0, then: 'halt' as const } }))
    const writer = options.dryRun === true ? undefined : await world.log.writer(redriverId(graph.name))
    // After the writer: what an earlier one left open is decided by then.
    const decisions = await readDecisions(world.log, graph.name)
    const facts = await factsKnown(world.log, decisions, undefined)
    const stages = await Stages.make({ ...plan, graph: { ...graph, nodes } }, facts, world, DEFAULT_OPTIONS)
    return new Redriver(world, options, stages, new Set(decisions.redriven), writer)
  }

  /** Puts one letter back. @throws TidemarkError for what is no letter's fault, such as a log that refuses the transaction */
  async redrive(letter: Letter): Promise<Redriven> {
    this.#options.signal?.throwIfAborted()
    if (this.#done.has(letterName(letter))) return { kind: 'already' }
    const where = this.#placeOf(letter)
    if (where instanceof TidemarkError) return { kind: 'refused', error: where }
    const failed = where.keeps ? await this.#throughState(letter, where) : await this.#through(letter, where)
    if (failed !== undefined) return { kind: 'fails', error: failed }
    if (this.#writer !== undefined) this.#done.add(letterName(letter))
    return { kind: 'redriven' }
  }

  async close(): Promise<void> {
    for (const task of this.#tasks.values()) await task.close()
    await this.#writer?.close()
  }

  /** Where a letter goes, or why it cannot go there. */
  #placeOf(letter: Letter): Place | TidemarkError {
    const { origin, step, lacks, generation } = letter
    const { plan } = this.#stages
    if (origin === undefined) return refusal('it is no dead letter of tidemark', 'Somebody else wrote it to this topic.')
    if (lacks.length > 0)
      return refusal(
        `its ${lacks.join(' and its ')} could not be kept`,
        `The record is at ${origin.topic}/${origin.partition}@${origin.offset}.`,
      )
    const node = this.#nodes.get(step) as Node
    const stage = plan.stages.find(({ steps }) => steps.includes(step))
    if (stage === undefined || node.kind === 'repartition' || node.kind === 'merge')
      return refusal(`step "${step}" only records`, 'What an inbox refuses, no other try makes right: it had no key, or was too large.')
    if (generation !== stage.generation)
      return refusal(
        `it is of generation ${generation} of stage "${stage.name}", and ${stage.generation} is live`,
        'The live one was made from the log again, and so from this record, too. What failed there has a letter of its own.',
      )
    const [from, ...others] = node.from
    if (others.length > 0) return refusal(`step "${step}" has several inputs`, 'A letter does not tell which one it came through.')
    if (origin.partition >= stage.partitions) return refusal('its partition is gone', `Stage "${stage.name}" has ${stage.partitions}.`)
    const keeps = keepsAnything(plan.graph, stage, step)
    if (keeps && !this.#options.alone)
      return refusal(
        `step "${step}", or one behind it, keeps state that belongs to a running worker`,
        stage.class === 'fold'
          ? `When the fold has been mended, "tidemark replay" makes its projection from the log again, this record included.`
          : 'It can be put back where the application runs on the embedded log and is stopped; or ask the owner of the fact to publish it again.',
      )
    return { stage, node, flavour: this.#stages.codecs.flavours.get(from?.id ?? step) as Flavour, partition: origin.partition, keeps }
  }

  /** Runs a letter through steps that keep nothing. Returns why it failed. */
  async #through(letter: Letter, where: Place): Promise<TidemarkError | undefined> {
    const outbox = new Outbox(this.#world.codecs)
    const interpreter = this.#stages.detached(where.stage, where.partition, outbox)
    await this.#prepare(letter, where)
    const failed = this.#enter(interpreter, letter, where, columnsOf(letter))
    if (failed !== undefined || this.#writer === undefined) return failed
    for (const { partition, batch } of outbox.seal()) await this.#writer.append(partition, batch)
    await this.#note(letter, this.#writer)
    const outcome = await this.#writer.commit([])
    if (outcome.kind !== 'committed') throw outcome.error
    return undefined
  }

  /** The same within the task that has the state. Returns why it failed; the task is dropped then, with whatever had come of the letter. */
  async #throughState(letter: Letter, where: Place): Promise<TidemarkError | undefined> {
    const task = await this.#task(where)
    const { interpreter, state, schemas } = task.parts
    const columns = columnsOf(letter)
    const id = await this.#prepare(letter, where)
    const ranges = new Ranges(state)
    const pinned = ranges.needed ? await ranges.loadBatch(columns, 0) : new Set<never>()
    let failed = this.#enter(interpreter, letter, where, columns)
    if (failed === undefined) failed = await this.#pages(task)
    unpin(pinned)
    if (failed !== undefined || this.#writer === undefined) {
      await task.close()
      this.#tasks.delete(task.name)
      return failed
    }
    // A step may keep the record, and read it after a restart.
    if (id !== undefined && where.flavour.value?.knows(id) === true) schemas.add(id)
    const sealed = failing(() => task.seal(this.#world.clock.now(), () => undefined))
    await this.#note(letter, this.#writer)
    await commitAlone(this.#stages, sealed, this.#writer, this.#world)
    return undefined
  }

  async #pages({ parts: { interpreter, state } }: Task): Promise<TidemarkError | undefined> {
    for (const wishes = interpreter.takePages(); wishes.length > 0; wishes.push(...interpreter.takePages())) {
      const wish = wishes.shift() as (typeof wishes)[number]
      const { rows, next } = await (state as NonNullable<typeof state>).page(wish.slot, wish.executor.store, wish.from)
      const failed = attempt(() => wish.executor.takePage(wish, rows, next))
      if (failed !== undefined) return failed
    }
    return undefined
  }

  #enter(interpreter: Interpreter, letter: Letter, where: Place, columns: Columns): TidemarkError | undefined {
    const { topic, partition, offset } = letter.origin as NonNullable<Letter['origin']>
    const { node, flavour } = where
    const rec = new Rec()
    rec.read(columns, 0, topic, partition, flavour)
    rec.offset = offset
    return attempt(() => {
      if (node.kind !== 'source') {
        interpreter.enter(node.id, rec)
        return
      }
      // What was refused at the door comes in through it.
      if (node.contract !== undefined)
        entryOf(node.contract, this.#stages.partitionsOf(topic), interpreter.tally(node.id), this.#stages.variety)(rec)
      interpreter.run(interpreter.behind(node.id), rec)
    })
  }

  /** Asks for the schema of a letter's value, and gives its id. */
  async #prepare({ value }: Letter, { flavour }: Place): Promise<number | undefined> {
    if (value === null || value.length < 5 || value[0] !== 0) return undefined
    const id = value.readUInt32BE(1)
    if (flavour.value?.knows(id) === false) await flavour.value.prepare([id])
    return id
  }

  async #task({ stage, partition }: Place): Promise<Task> {
    const plan = this.#stages.tasks.find((each) => each.stage === stage && each.partition === partition) as TaskPlan
    const known = this.#tasks.get(plan.name)
    if (known !== undefined) return known
    const task = await this.#stages.open(plan, this.#options.signal ?? new AbortController().signal, () => {})
    task.life.to('running')
    this.#tasks.set(plan.name, task)
    return task
  }

  #note(letter: Letter, writer: Writer): Promise<void> {
    return recordRedriven(writer, this.#world.codecs, this.#stages.plan.app, letterName(letter), this.#world.clock.now())
  }
}

interface Place {
  readonly stage: StagePlan
  readonly node: Node
  /** How the step reads what comes to it. */
  readonly flavour: Flavour
  readonly partition: number
  /** Whether the step, or one that follows it in the stage, keeps anything. */
  readonly keeps: boolean
}

function refusal(why: string, detail: string): TidemarkError {
  return new TidemarkError('REDRIVE_REFUSED', `a dead letter cannot be put back: ${why}`, { detail })
}

/** What a call failed with; what no record is to blame for is thrown. */
function attempt(call: () => void): TidemarkError | undefined {
  try {
    call()
    return undefined
  } catch (error) {
    if (error instanceof TaskStopped) {
      if (error.verdict === 'halt') return error.failure
      throw error.failure
    }
    // The door of a stage refuses by throwing.
    if (error instanceof TidemarkError) return error
    throw error
  }
}

function keepsAnything(graph: Graph, stage: StagePlan, step: string): boolean {
  const reached = new Set([step])
  // Steps come after what they read, so one look at each is enough.
  for (const node of graph.nodes) if (node.from.some(({ id }) => reached.has(id)) && stage.steps.includes(node.id)) reached.add(node.id)
  return stage.stores.some((store) => reached.has(store.step))
}

/** A letter as the only record of a batch. */
function columnsOf({ key, value, headers, at, offset }: Letter): Columns {
  const noted = encodeHeaders(headers)
  const payload = Buffer.concat([key ?? Buffer.alloc(0), value ?? Buffer.alloc(0), noted])
  const valueAt = key?.length ?? 0
  const headersAt = valueAt + (value?.length ?? 0)
  return {
    count: 1,
    payload,
    offsets: Float64Array.of(offset),
    timestamps: Float64Array.of(at),
    keyAt: Int32Array.of(key === null ? -1 : 0),
    keyEnd: Int32Array.of(key === null ? -1 : valueAt),
    valueAt: Int32Array.of(value === null ? -1 : valueAt),
    valueEnd: Int32Array.of(value === null ? -1 : headersAt),
    headersAt: Int32Array.of(headersAt),
    headersEnd: Int32Array.of(payload.length),
    headerCount: Int32Array.of(headers.length),
  }
}
