/**
 * translate: the anti-corruption step. A foreign fact becomes facts of another contract, in that contract's language and under its key;
 * or is ignored, or rejected, each in so many words. So is a deletion, where the foreign facts are a state.
 */
import { TidemarkError } from '../base/errors.ts'
import { isRecord, needFunction, refuse } from '../base/options.ts'
import { type AnyContract, checkedContract, type Translated } from '../contract/contract.ts'
import type { StepOptions, Tip } from '../topology/builder.ts'
import type { Count, Fact, Out } from '../topology/node.ts'
import { mayFunction } from './given.ts'
import { eventValues, refuseDeletions, refuseOtherEvents, shapeOf } from './shapes.ts'

/** Says that a fact does not fit what the target means. It is answered as the step's `onError` says. */
export interface Rejection {
  readonly rejected: string
}
/** Says that a fact, or a part of one, is none of the target's business. It is counted, and that is all. */
export interface Ignored {
  readonly ignored: string
}

/** @example StockReceived: (m) => (m.quantity > 0 ? stock.make.Arrived(...) : reject('a receipt must be positive')) */
export function reject(reason: string): Rejection {
  return { rejected: reason }
}

/**
 * The reason is a counter's label: say what kind of thing is ignored, not which.
 * @example OrderPlaced: (order) => order.lines.map((line) => isStock(line) ? stock.make.Reserved(...) : ignore('not a stock code'))
 */
export function ignore(reason: string): Ignored {
  return { ignored: reason }
}

type Case = (event: unknown, fact: Fact) => unknown
type Cases = { readonly [type: string]: Case | 'ignore' }
export interface TranslateTerms extends StepOptions {
  readonly deleted?: ((fact: Fact) => unknown) | 'ignore'
}

export function translate(
  tip: Tip,
  step: string,
  to: AnyContract,
  cases: Cases,
  options: TranslateTerms,
  reads: readonly string[] | undefined,
): Tip {
  checkedContract(to, `what step "${step}" translates to`)
  if (!isRecord(cases))
    refuse(
      cases,
      `cases of step "${step}"`,
      'an object',
      'Write a case for each event: { OrderPlaced: (order) => ..., OrderCancelled: "ignore" }.',
    )
  for (const [type, each] of Object.entries(cases))
    if (each !== 'ignore')
      needFunction(each, `the case for "${type}" of step "${step}"`, `Write ${type}: (event) => a fact, or ${type}: 'ignore'.`)
  refuseOtherEvents(cases, tip.shape, `step "${step}"`)
  for (const type of Object.keys(tip.shape.language?.events ?? {})) {
    if (cases[type] === undefined) {
      throw new TidemarkError('TOPOLOGY_INVALID', `step "${step}" has no case for "${type}"`, {
        hint: `Translate it, or say ${type}: 'ignore'.`,
      })
    }
  }
  const { deleted } = options
  if (deleted !== 'ignore') mayFunction(deleted, `deleted of step "${step}"`, "Write deleted: (fact) => a fact, or deleted: 'ignore'.")
  const { deletes } = tip.shape
  refuseDeletions(deleted, tip.shape, `step "${step}"`)
  if (deletes && deleted === undefined) {
    throw new TidemarkError('TOPOLOGY_INVALID', `step "${step}" has no case for a deletion`, {
      detail: 'What comes to it is from a topic that is kept by key, where a null value deletes.',
      hint: `Say what that means behind the cases: { deleted: (fact) => ... }, or { deleted: 'ignore' }.`,
    })
  }
  return tip.draft.add(
    step,
    {
      kind: 'step',
      operator: 'translate',
      from: [tip.from],
      emits: shapeOf(to.key, eventValues(to), to),
      rekeys: true,
      reads,
      does: {
        run: (incoming, out, count) => {
          if (deletes && incoming.empty) {
            if (deleted === 'ignore') count('ignored', 'deletion')
            else placeAll((deleted as (fact: Fact) => unknown)(incoming), out, count)
            return
          }
          const event = incoming.value as { readonly type: string }
          const translation = cases[event.type]
          if (translation === undefined)
            throw new TidemarkError('EVENT_UNKNOWN', `step "${step}" has no case for "${event.type}"`, {
              hint: `Translate it, or say ${event.type}: 'ignore'.`,
              type: event.type,
            })
          if (translation === 'ignore') {
            count('ignored', event.type)
            return
          }
          placeAll(translation(event, incoming), out, count)
        },
      },
    },
    options,
    tip.facts,
  )

  function placeAll(result: unknown, out: Out, count: Count): void {
    if (Array.isArray(result)) for (const each of result) place(each, out, count)
    else place(result, out, count)
  }

  function place(result: unknown, out: Out, count: Count): void {
    if (typeof result === 'object' && result !== null) {
      if ('value' in result) {
        const { key, value } = result as Translated<unknown, { readonly type: string }>
        if (!Object.hasOwn(to.events, value.type)) {
          throw new TidemarkError('FACT_FOREIGN', `step "${step}" made "${value.type}", which contract "${to.name}" does not have`, {
            hint: `Make facts with ${Object.keys(to.events)
              .map((type) => `make.${type}`)
              .join(', ')} of that contract.`,
          })
        }
        out.fact(key, value)
        return
      }
      if ('ignored' in result) {
        count('ignored', (result as Ignored).ignored)
        return
      }
      if ('rejected' in result) {
        count('rejected', (result as Rejection).rejected)
        throw new TidemarkError('STEP_REJECTED', (result as Rejection).rejected)
      }
    }
    throw new TypeError(
      `a translation returned ${result === null ? 'null' : typeof result}: return a fact made by the contract, an array of them, ignore() or reject()`,
    )
  }
}
