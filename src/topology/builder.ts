/**
 * Appends nodes and hands out positions in the graph. A `Draft` lives only while a topology is being defined; what is left of it is a
 * frozen `Graph`. Operators add nodes through `Draft.add`; users meet the fluent face in `operators/stream.ts`.
 */
import { TidemarkError } from '../base/errors.ts'
import { meantOf, refuseUnknown, shown } from '../base/options.ts'
import { checkedName } from '../contract/contract.ts'
import type { From, Graph, Node, OnError, Shape } from './node.ts'

/** A place in a graph that is being built: an output, and what flows there. */
export interface Tip {
  readonly draft: Draft
  readonly from: From
  readonly shape: Shape
  /** Names of the contracts that what flows here descends from. */
  readonly facts: readonly string[]
}

type Omitted = 'id' | 'onError' | 'reads' | 'passes'
/** A node as an operator describes it. */
export type NodeDraft = {
  [Kind in Node['kind']]: Omit<Extract<Node, { kind: Kind }>, Omitted> & {
    readonly reads?: readonly string[] | undefined
    readonly passes?: boolean
  }
}[Node['kind']]

/** What every step may say. */
export interface StepOptions {
  /** What happens to a record that fails here. Default: the topology's, which defaults to `dead-letter`. */
  readonly onError?: OnError
}

/** What each operator lets be said besides that. Types are only stripped where a program runs, so a word that says nothing is refused here too. */
const OPTIONS: Readonly<Record<string, readonly string[]>> = {
  source: ['step', 'noDedupe'],
  stream: ['step', 'partitions', 'cleanup'],
  translate: ['deleted', 'reads'],
  dedupe: ['by', 'id', 'sequence', 'keep', 'reads'],
  order: ['sequence', 'gap', 'reads'],
  inbox: ['partitions'],
  filter: ['reads'],
  map: ['value', 'reads'],
  flatMap: ['value', 'reads'],
  keyBy: ['reads'],
  branch: ['reads'],
  project: ['row', 'fold', 'owner', 'decisions', 'windows', 'publish', 'revision', 'gate', 'identity', 'deleted', 'reads'],
  process: ['rows', 'ranged', 'expires', 'passes', 'value', 'keeps', 'wall', 'rekeys', 'reads', 'revision', 'run', 'wake', 'page'],
  to: ['partitions', 'cleanup'],
}

export class Draft {
  readonly name: string
  readonly #nodes: Node[] = []
  readonly #onError: OnError

  constructor(name: string, onError: OnError) {
    this.name = checkedName(name, 'topology')
    this.#onError = onError
  }

  /**
   * Appends a frozen node.
   * @throws TidemarkError NAME_INVALID when the step's name is not one, or is taken
   */
  add(step: string, node: NodeDraft, options: StepOptions, facts: readonly string[]): Tip {
    checkedName(step, 'step')
    const taken = this.#nodes.find((other) => other.id === step)
    if (taken !== undefined) {
      throw new TidemarkError('NAME_INVALID', `step "${step}" is named twice`, {
        detail: `It is a ${taken.operator} and would be a ${node.operator} as well.`,
        hint: 'A step keeps its state under its name, so every step needs its own.',
      })
    }
    refuseUnknown(options, ['onError', ...(OPTIONS[node.operator] ?? [])], `step "${step}"`)
    if ('partitions' in node && node.partitions !== undefined && !(Number.isSafeInteger(node.partitions) && node.partitions >= 1))
      throw new TidemarkError('OPTION_INVALID', `step "${step}" has ${shown(node.partitions)} partitions`, {
        hint: 'A topic has 1 partition or more.',
      })
    const onError = checkedOnError(options.onError ?? this.#onError, step)
    const frozen = Object.freeze({ ...node, id: step, onError, reads: node.reads, passes: node.passes ?? false }) as Node
    this.#nodes.push(frozen)
    return { draft: this, from: { id: step, port: 0 }, shape: node.emits, facts }
  }

  graph(): Graph {
    return Object.freeze({ name: this.name, nodes: Object.freeze([...this.#nodes]) })
  }
}

const FAILURES: readonly string[] = ['dead-letter', 'park', 'halt']

function checkedOnError(onError: OnError, step: string): Node['onError'] {
  if (typeof onError !== 'string') refuseUnknown(onError, ['retry', 'then'], `onError of step "${step}"`)
  const { retry, then } = typeof onError === 'string' ? { retry: 0, then: onError } : onError
  if (!FAILURES.includes(then)) {
    throw new TidemarkError('OPTION_INVALID', `onError of step "${step}" is ${shown(then)}`, {
      hint: meantOf(then, FAILURES, 'It is one of'),
    })
  }
  if (!Number.isInteger(retry) || retry < 0 || retry > 100) {
    throw new TidemarkError('OPTION_INVALID', `step "${step}" would retry ${shown(retry)} times`, {
      hint: `Retry 0 to 100 times: onError: { retry: 3, then: 'halt' }.`,
    })
  }
  return Object.freeze({ retry, then })
}
