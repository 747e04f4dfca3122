/**
 * project: folds facts into a keyed, queryable view. Two kinds of fold, told apart on purpose:
 *  - one that *replaces* has a gate: the fact's version decides, so duplicates and late facts cannot harm, and conflicts and gaps show;
 *  - one that *accumulates* cannot tell a second delivery from a second fact, so it must name the dedupe or order steps that make it safe.
 * A deleted row leaves a tombstone that remembers its version, so that a late fact does not bring it back.
 *
 * A deletion among the facts (a null value in a topic that is kept by key) deletes the row, unless the projection says what it does instead.
 */
import { TidemarkError } from '../base/errors.ts'
import { hashed } from '../base/murmur.ts'
import { isRecord, needFunction, needTexts, refuse, refuseUnknown, shown } from '../base/options.ts'
import { type Context, checkedContext, checkedTopic } from '../contract/contract.ts'
import { checkedSchema, type Schema } from '../contract/schema.ts'
import { checkedDecision, checkedWindow, type Decision, type Window } from '../contract/window.ts'
import type { StepOptions, Tip } from '../topology/builder.ts'
import type { Count, Fact, Incoming, Scope } from '../topology/node.ts'
import { checkedRevision, mayFunction, needFunctions } from './given.ts'
import { refuseDeletions, refuseOtherEvents } from './shapes.ts'

export interface ProjectTerms extends StepOptions {
  readonly row: Schema<unknown>
  readonly fold:
    | ((row: unknown, value: unknown, fact: Fact) => unknown)
    | { readonly [type: string]: (row: unknown, event: unknown, fact: Fact) => unknown }
  readonly deleted?: (row: unknown, fact: Fact) => unknown
  readonly gate?: {
    readonly version: (value: unknown, fact: Fact) => number
    readonly deleted?: (fact: Fact) => number | undefined
  }
  readonly identity?: string | readonly string[]
  readonly owner?: Context
  readonly windows?: { readonly [fact: string]: Window }
  readonly decisions?: { readonly [name: string]: Decision }
  readonly publish?: string
  readonly revision?: number
}

export function project(tip: Tip, step: string, terms: ProjectTerms, reads: readonly string[] | undefined): Tip {
  const { gate } = terms
  checkKinds(step, terms)
  const identity = terms.identity === undefined ? [] : typeof terms.identity === 'string' ? [terms.identity] : terms.identity
  if ((gate === undefined) === (identity.length === 0)) {
    throw new TidemarkError('TOPOLOGY_INVALID', `projection "${step}" must say what makes its fold safe, in one way`, {
      detail: gate === undefined ? 'It has neither a gate nor an identity.' : 'It has both a gate and an identity.',
      hint: 'A fold that replaces the row has gate: { version }. A fold that adds up has identity: the dedupe or order steps that let each fact pass once.',
    })
  }
  if (gate !== undefined) refuseUnknown(gate, ['version', 'deleted'], `gate of projection "${step}"`)
  if (gate !== undefined) needFunction(gate.version, `version, in the gate of projection "${step}",`, GATE)
  mayFunction(gate?.deleted, `deleted, in the gate of projection "${step}",`, DELETED_VERSION)
  mayFunction(
    terms.deleted,
    `deleted of projection "${step}"`,
    'Write deleted: (row, fact) => row, or leave it out: then the row is deleted.',
  )
  const { deletes } = tip.shape
  refuseDeletions(terms.deleted, tip.shape, `projection "${step}"`)
  refuseDeletions(gate?.deleted, tip.shape, `the gate of projection "${step}"`)
  if (deletes && gate !== undefined && gate.deleted === undefined) {
    throw new TidemarkError('TOPOLOGY_INVALID', `the gate of projection "${step}" does not say which version a deletion has`, {
      detail:
        'What comes to it is from a topic that is kept by key, where a null value deletes, and a deletion has no value to take a version from.',
      hint: DELETED_VERSION,
    })
  }
  const fold = foldOf(step, terms, tip)
  const windows: Record<string, ReturnType<typeof checkedWindow>> = {}
  for (const fact of tip.facts) {
    const window = terms.windows?.[fact]
    if (window === undefined) {
      throw new TidemarkError('TOPOLOGY_INVALID', `projection "${step}" has no window for "${fact}"`, {
        hint: `Say how long it may lag that fact: windows: { '${fact}': { target: '5s', max: '1m' } }.`,
      })
    }
    windows[fact] = checkedWindow(window, `window of "${step}" for "${fact}"`)
  }
  for (const fact of Object.keys(terms.windows ?? {})) {
    if (!tip.facts.includes(fact))
      throw new TidemarkError('TOPOLOGY_INVALID', `projection "${step}" has a window for "${fact}", which it does not follow`, {
        hint: tip.facts.length === 0 ? 'It follows no contract, so it has no windows.' : `It follows ${tip.facts.join(', ')}.`,
      })
  }

  for (const [name, decision] of Object.entries(terms.decisions ?? {})) checkedDecision(decision, `decision "${name}" of "${step}"`)
  const revision = checkedRevision(terms.revision, `projection "${step}"`)

  // One object for all rows: the hot path makes none.
  const about = { version: 0, at: 0 }
  const apply = (incoming: Incoming, scope: Scope, version: number, count: Count): void => {
    const row = scope.row()
    const existed = row.exists
    const before = existed ? row.value : undefined
    const next = deletes && incoming.empty ? terms.deleted?.(before, incoming) : fold(before, incoming.value, incoming)
    about.version = version
    about.at = incoming.at
    if (next !== undefined) scope.put(next, '', about)
    else if (existed || gate !== undefined) scope.delete('', about)
    count('applied')
  }

  return tip.draft.add(
    step,
    {
      kind: 'keyed',
      operator: 'project',
      from: [tip.from],
      emits: tip.shape,
      keeps: false,
      wall: false,
      makes: false,
      rekeys: false,
      identity: false,
      reads,
      wake: undefined,
      page: undefined,
      holding: undefined,
      store: {
        name: step,
        rows: terms.row,
        ranged: false,
        expires: undefined,
        marks: false,
        revision,
        code: terms.deleted === undefined ? codeOf(terms.fold) : `${codeOf(terms.fold)}\ndeleted: ${String(terms.deleted)}`,
        view: Object.freeze({
          owner: terms.owner,
          windows: Object.freeze(windows),
          decisions: Object.freeze({ ...terms.decisions }),
          publish: terms.publish === undefined ? undefined : checkedTopic(terms.publish),
          safety: gate === undefined ? Object.freeze([...identity]) : 'gate',
        }),
      },
      run: (incoming, scope, _out, count) => {
        const { version: stored } = scope.row()
        if (gate === undefined) {
          apply(incoming, scope, stored + 1, count)
          return
        }
        const version = deletes && incoming.empty ? gate.deleted?.(incoming) : gate.version(incoming.value, incoming)
        if (version === undefined || !Number.isSafeInteger(version) || version < 1) {
          throw new TidemarkError('ENVELOPE_INVALID', `the gate of "${step}" gave version ${shown(version)}`, {
            detail: 'Versions are whole numbers from 1.',
            hint: GATE,
          })
        }
        if (version < stored) {
          count('stale')
          return
        }
        incoming.hashValue()
        const { high, low } = hashed
        if (version === stored) {
          const { markHigh, markLow } = scope.row()
          count(high === markHigh && low === markLow ? 'duplicate' : 'conflict')
          return
        }
        if (stored > 0 && version > stored + 1) count('gap')
        apply(incoming, scope, version, count)
        scope.mark(high, low)
      },
    },
    terms,
    tip.facts,
  )
}

const DELETED_VERSION = 'Where facts carry the number of the row, as those of a state topic do, write deleted: (fact) => fact.sequence.'
const GATE = 'Take a number that the source raises with every change of the key, such as (event, fact) => fact.sequence.'

/** What only a program without the compiler gets wrong: values of another kind than the terms are. */
function checkKinds(step: string, { row, fold, identity, owner, windows, decisions }: ProjectTerms): void {
  const of = `of projection "${step}"`
  checkedSchema(row, `row ${of}`)
  const folding = 'Write fold: (row, value) => another row, or a case for each event: fold: { OrderPlaced: (row, event) => another row }.'
  if (isRecord(fold)) needFunctions(fold, `the fold ${of}`, folding)
  else needFunction(fold, `the fold ${of}`, folding)
  if (owner !== undefined) checkedContext(owner, `owner ${of}`)
  if (identity !== undefined && typeof identity !== 'string')
    needTexts(identity, `identity ${of}`, 'Name the dedupe or order steps that let each fact pass once: identity: "once".')
  for (const [name, given, such] of [
    ['windows', windows, `windows: { orders: { target: '5s', max: '1m' } }`],
    ['decisions', decisions, `decisions: { sell: { maxStaleness: '5s', otherwise: 'refuse' } }`],
  ] as const)
    if (given !== undefined && !isRecord(given)) refuse(given, `${name} ${of}`, 'an object', `Write ${such}.`)
}

function codeOf(fold: ProjectTerms['fold']): string {
  if (typeof fold === 'function') return String(fold)
  return Object.keys(fold)
    .sort()
    .map((type) => `${type}: ${String(fold[type])}`)
    .join('\n')
}

function foldOf(step: string, terms: ProjectTerms, tip: Tip): (row: unknown, value: unknown, fact: Fact) => unknown {
  if (typeof terms.fold === 'function') return terms.fold
  const cases = terms.fold
  refuseOtherEvents(cases, tip.shape, `the fold of "${step}"`)
  for (const type of Object.keys(tip.shape.language?.events ?? {})) {
    if (cases[type] === undefined)
      throw new TidemarkError('TOPOLOGY_INVALID', `the fold of "${step}" has no case for "${type}"`, {
        hint: `Add ${type}: (row, event) => row.`,
      })
  }
  return (row, value, fact) => {
    const { type } = value as { readonly type: string }
    const each = cases[type]
    if (each === undefined)
      throw new TidemarkError('EVENT_UNKNOWN', `the fold of "${step}" has no case for "${type}"`, {
        hint: `Add ${type}: (row, event) => row.`,
        type,
      })
    return each(row, value, fact)
  }
}
