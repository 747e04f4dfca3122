/** What a step does about its failures: the verdict of `failure.ts`, carried out. */
import { unreachable } from '../base/assert.ts'
import { codeOf, type TidemarkError } from '../base/errors.ts'
import { deadTopic } from '../plan/naming.ts'
import type { Node } from '../topology/node.ts'
import { sendDeadLetter } from './dead-letter.ts'
import { asFailure, TaskStopped, verdictOn } from './failure.ts'
import { Parking } from './parking.ts'
import type { Rec } from './record.ts'
import { NodeScope } from './scope.ts'
import type { StageParts } from './stage-parts.ts'
import type { Tally } from './tally.ts'

export class Failures {
  readonly #parts: StageParts
  readonly #node: Node
  readonly #tally: Tally
  readonly #unknownEvents: 'dead-letter' | 'ignore'
  readonly #topic: string
  readonly #parking: Parking | undefined

  constructor(parts: StageParts, node: Node, tally: Tally) {
    this.#parts = parts
    this.#node = node
    this.#tally = tally
    this.#unknownEvents = parts.unknownEvents(parts.stage)
    // An inbox is a step of the stage that reads it, also where it cannot be written.
    const stage = parts.plan.stages.find(({ steps }) => steps.includes(node.id)) ?? parts.stage
    this.#topic = deadTopic(parts.plan.app, node.id, stage.generation)
    const parked = parts.state.stores.find(({ plan }) => plan.step === node.id && plan.kind === 'parked')
    this.#parking = parked === undefined ? undefined : new Parking(parts.state, new NodeScope(parts.state, parked, false))
  }

  /** Whether the step may park keys. */
  get parks(): boolean {
    return this.#parking !== undefined
  }

  /** Whether a record's key is parked: then it has been held behind what parked it, or, where it is too large for that, put aside. */
  holds(rec: Rec): boolean {
    try {
      if (this.#parking?.holds(rec) !== true) return false
      this.#tally.count('held')
    } catch (error) {
      if (codeOf(error) !== 'BATCH_LIMIT') throw error
      this.#bury(rec, asFailure(error, this.#node.id), 1)
    }
    return true
  }

  /**
   * Decides about a failed invocation, which has been undone. Returns true when it is to be run again, after a while (`waits.ts`).
   * @throws TaskStopped when the task ends here
   */
  answer(rec: Rec, error: unknown, attempt: number): boolean {
    const { onError, id } = this.#node
    const verdict = verdictOn(error, attempt, { ...onError, unknownEvents: this.#unknownEvents })
    const failure = asFailure(error, id)
    // Whatever becomes of it: a type that nobody here knows is news by itself.
    if (failure.code === 'EVENT_UNKNOWN') {
      this.#tally.count('unmapped', this.#parts.variety.of(id, 'unmapped', failure.type ?? 'other'))
    }
    switch (verdict) {
      case 'again':
        this.#tally.count('retried')
        return true
      case 'drop':
        return false
      case 'dead-letter':
        this.#bury(rec, failure, attempt)
        return false
      case 'park':
        this.#park(rec, failure, attempt)
        return false
      case 'halt':
      case 'reopen':
        throw new TaskStopped(verdict, id, failure)
      default:
        return unreachable(verdict)
    }
  }

  #park(rec: Rec, failure: TidemarkError, attempt: number): void {
    try {
      // Without a key that can be trusted there is nothing to park: at a source, at a topic's end, for a record that has none.
      if (this.#parking?.takes(rec) === true) {
        this.#parking.park(rec, failure)
        this.#tally.count('parked')
        return
      }
    } catch (error) {
      // Too large to be held.
      if (codeOf(error) !== 'BATCH_LIMIT') throw error
    }
    this.#bury(rec, failure, attempt)
  }

  #bury(rec: Rec, error: TidemarkError, attempts: number): void {
    this.#tally.count('dead', error.code)
    sendDeadLetter(this.#parts.outbox, {
      rec,
      step: this.#node.id,
      topic: this.#topic,
      error,
      attempts,
      plan: this.#parts.planHash,
      now: this.#parts.now(),
    })
  }
}
