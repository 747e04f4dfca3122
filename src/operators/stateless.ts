/**
 * filter, map, flatMap, keyBy, branch, merge, conform: functions of one record, without state.
 *
 * A deletion (a null value in a topic that is kept by key) has no value that a function could be given. It concerns whatever there is of its key, so
 * it passes filters, goes to all branches, and what is made of it is a deletion; a step that takes a new key from the value cannot know it.
 */
import { TidemarkError } from '../base/errors.ts'
import { needFunction, needText } from '../base/options.ts'
import { type Context, checkedContext } from '../contract/contract.ts'
import { checkedKey, type Key } from '../contract/key.ts'
import { checkedSchema, type Schema } from '../contract/schema.ts'
import type { StepOptions, Tip } from '../topology/builder.ts'
import type { Fact, Incoming, Out, Shape } from '../topology/node.ts'
import { needFunctions } from './given.ts'
import { jointShape, plainValue, sameShape, shapeOf, valueFor } from './shapes.ts'

type Function2<Result> = (value: unknown, fact: Fact) => Result
type Reads = readonly string[] | undefined

export function filter(tip: Tip, step: string, keep: Function2<boolean>, options: StepOptions, reads: Reads): Tip {
  needFunction(keep, `what step "${step}" asks`, 'Write filter(step, (value) => value.quantity > 0).')
  // One that reads nothing of the value can be asked of a deletion, too.
  const asks =
    reads?.length === 0 ? (fact: Incoming): boolean => keep(undefined, fact) : (fact: Incoming): boolean => keep(fact.value, fact)
  const passes = tip.shape.deletes && reads?.length !== 0
  return tip.draft.add(
    step,
    {
      kind: 'step',
      operator: 'filter',
      from: [tip.from],
      emits: tip.shape,
      rekeys: false,
      reads,
      passes: true,
      does: { keep: passes ? (incoming) => incoming.empty || asks(incoming) : asks },
    },
    options,
    tip.facts,
  )
}

/** Values that a function made have no schema unless one is given, and nothing that stores or sends them may follow then. */
function made(shape: Shape, value: Schema<unknown> | undefined): Shape {
  return shapeOf(shape.key, value === undefined ? undefined : plainValue(value), undefined, shape.deletes)
}

type Run = (incoming: Incoming, out: Out) => void

/** What a step does that makes values, and deletions of deletions. */
function making({ deletes }: Shape, run: Run): { readonly run: Run } {
  return {
    run: deletes
      ? (incoming, out) => {
          if (incoming.empty) out.empty()
          else run(incoming, out)
        }
      : run,
  }
}

export function map(
  tip: Tip,
  step: string,
  to: Function2<unknown>,
  options: StepOptions & { readonly value?: Schema<unknown> },
  reads: Reads,
): Tip {
  needFunction(to, `what step "${step}" does`, 'Write map(step, (value) => another).')
  if (options.value !== undefined) checkedSchema(options.value, `value of step "${step}"`)
  const value = valueFor(reads)
  return tip.draft.add(
    step,
    {
      kind: 'step',
      operator: 'map',
      from: [tip.from],
      emits: made(tip.shape, options.value),
      rekeys: false,
      reads,
      does: making(tip.shape, (incoming, out) => out.value(to(value(incoming), incoming))),
    },
    options,
    tip.facts,
  )
}

export function flatMap(
  tip: Tip,
  step: string,
  to: Function2<readonly unknown[]>,
  options: StepOptions & { readonly value?: Schema<unknown> },
  reads: Reads,
): Tip {
  needFunction(to, `what step "${step}" does`, 'Write flatMap(step, (value) => [one, another]).')
  if (options.value !== undefined) checkedSchema(options.value, `value of step "${step}"`)
  const value = valueFor(reads)
  return tip.draft.add(
    step,
    {
      kind: 'step',
      operator: 'flatMap',
      from: [tip.from],
      emits: made(tip.shape, options.value),
      rekeys: false,
      reads,
      does: making(tip.shape, (incoming, out) => {
        for (const each of to(value(incoming), incoming)) out.fact(incoming.key, each)
      }),
    },
    options,
    tip.facts,
  )
}

export function keyBy(tip: Tip, step: string, key: Key<unknown>, to: Function2<unknown>, options: StepOptions, reads: Reads): Tip {
  checkedKey(key, `key of step "${step}"`)
  needFunction(to, `what finds the key in step "${step}"`, 'Write keyBy(step, text, (value) => value.customer).')
  const value = valueFor(reads)
  const blind = tip.shape.deletes && reads?.length !== 0
  return tip.draft.add(
    step,
    {
      kind: 'step',
      operator: 'keyBy',
      from: [tip.from],
      emits: Object.freeze({ ...tip.shape, key, rekeyed: true }),
      rekeys: true,
      reads,
      passes: true,
      does: {
        run: (incoming, out) => {
          if (blind && incoming.empty)
            throw new TidemarkError('VALUE_INVALID', `step "${step}" takes its key from the value, and a deletion has none`, {
              hint: 'Where fact.key says enough, take the key from there, with reads: []. Else what it deletes is not known here.',
            })
          out.keyed(to(value(incoming), incoming))
        },
      },
    },
    options,
    tip.facts,
  )
}

/** The first branch whose question is answered with yes takes the record; without one it goes nowhere. */
export function branch(
  tip: Tip,
  step: string,
  branches: { readonly [name: string]: Function2<boolean> },
  options: StepOptions,
  reads: Reads,
): { readonly [name: string]: Tip } {
  needFunctions(branches, `branches of step "${step}"`, 'Write branch(step, { large: (value) => value.quantity > 10, other: () => true }).')
  const names = Object.keys(branches)
  if (names.length === 0)
    throw new TidemarkError('TOPOLOGY_INVALID', `step "${step}" branches nowhere`, { hint: 'Name at least one branch.' })
  const questions = Object.values(branches)
  const value = valueFor(reads)
  const blind = tip.shape.deletes && reads?.length !== 0
  const split = tip.draft.add(
    step,
    {
      kind: 'step',
      operator: 'branch',
      from: [tip.from],
      emits: tip.shape,
      rekeys: false,
      reads,
      passes: true,
      does: {
        run: (incoming, out) => {
          const everywhere = blind && incoming.empty
          const read = everywhere ? undefined : value(incoming)
          for (let port = 0; port < questions.length; port++) {
            if (everywhere) {
              out.same(port)
              continue
            }
            if (!(questions[port] as Function2<boolean>)(read, incoming)) continue
            out.same(port)
            return
          }
        },
      },
    },
    options,
    tip.facts,
  )
  return Object.fromEntries(names.map((name, port) => [name, { ...split, from: { id: step, port } }]))
}

/** Takes over another context's language as it is. It changes nothing, and says so where everybody can read it. */
export function conform(tip: Tip, step: string, to: Context, why: string): Tip {
  checkedContext(to, `what step "${step}" conforms to`)
  needText(why, `why of step "${step}"`, 'Say why this context needs no language of its own.')
  if (why.trim() === '')
    throw new TidemarkError('TOPOLOGY_INVALID', `step "${step}" conforms without a reason`, {
      hint: 'Say why this context needs no language of its own.',
    })
  return tip.draft.add(
    step,
    {
      kind: 'step',
      operator: 'conform',
      from: [tip.from],
      emits: Object.freeze({ ...tip.shape, contexts: Object.freeze([...tip.shape.contexts, to.name]) }),
      rekeys: false,
      reads: [],
      passes: true,
      does: { keep: () => true },
    },
    {},
    tip.facts,
  )
}

export function merge(tips: readonly Tip[], step: string): Tip {
  const first = tips[0] as Tip
  for (const tip of tips) if (!sameShape(first.shape, tip.shape)) throw shapesDiffer(step, 'merges')
  return first.draft.add(
    step,
    {
      kind: 'merge',
      operator: 'merge',
      from: tips.map((tip) => tip.from),
      emits: jointShape(tips.map(({ shape }) => shape)),
      reads: [],
      passes: true,
    },
    {},
    factsOf(tips),
  )
}

export function shapesDiffer(step: string, what: string): TidemarkError {
  return new TidemarkError('TOPOLOGY_INVALID', `step "${step}" ${what} streams of different keys or values`, {
    hint: 'Translate them into one contract first, so that they speak one language under one key.',
  })
}

export function factsOf(tips: readonly Tip[]): readonly string[] {
  return [...new Set(tips.flatMap((tip) => tip.facts))].sort()
}
