/**
 * project: folds facts into a keyed, queryable view. Two kinds of fold, told apart on purpose:
 *  - one that *replaces* has a gate: the fact's version decides, so duplicates and late facts cannot harm, and conflicts and gaps show;
 *  - one that *accumulates* cannot tell a second delivery from a second fact, so it must name the dedupe or order steps that make it safe.
 * A deleted row leaves a tombstone that remembers its version, so that a late fact does not bring it back.
 */
import { TidemarkError } from '../base/errors.ts'
import { hashed } from '../base/murmur.ts'
import { refuseUnknown } from '../base/options.ts'
import type { Context } from '../contract/contract.ts'
import { checkedTopic } from '../contract/contract.ts'
import type { Schema } from '../contract/schema.ts'
import { checkedDecision, checkedWindow, type Decision, type Window } from '../contract/window.ts'
import type { StepOptions, Tip } from '../topology/builder.ts'
import type { Count, Fact, Incoming, Scope } from '../topology/node.ts'
import { refuseOtherEvents } from './shapes.ts'

export interface ProjectTerms extends StepOptions {
  readonly row: Schema<unknown>
  readonly fold:
    | ((row: unknown, value: unknown, fact: Fact) => unknown)
    | { readonly [type: string]: (row: unknown, event: unknown, fact: Fact) => unknown }
  readonly gate?: { readonly version: (value: unknown, fact: Fact) => number }
  readonly identity?: string | readonly string[]
  readonly owner?: Context
  readonly windows?: { readonly [fact: string]: Window }
  readonly decisions?: { readonly [name: string]: Decision }
  readonly publish?: string
  readonly revision?: number
}

export function project(tip: Tip, step: string, terms: ProjectTerms, reads: readonly string[] | undefined): Tip {
  const { gate } = terms
  const identity = terms.identity === undefined ? [] : typeof terms.identity === 'string' ? [terms.identity] : terms.identity
  if ((gate === undefined) === (identity.length === 0)) {
    throw new TidemarkError('TOPOLOGY_INVALID', `projection "${step}" must say what makes its fold safe, in one way`, {
      detail: gate === undefined ? 'It has neither a gate nor an identity.' : 'It has both a gate and an identity.',
      hint: 'A fold that replaces the row has gate: { version }. A fold that adds up has identity: the dedupe or order steps that let each fact pass once.',
    })
  }
  if (gate !== undefined) refuseUnknown(gate, ['version'], `gate of projection "${step}"`)
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
  const revision = terms.revision ?? 1
  if (!Number.isSafeInteger(revision) || revision < 1) {
    throw new TidemarkError('OPTION_INVALID', `projection "${step}" has revision ${revision}`, { hint: 'Revisions are 1, 2, 3.' })
  }

  // One object for all rows: the hot path makes none.
  const about = { version: 0, at: 0 }
  const apply = (incoming: Incoming, scope: Scope, version: number, count: Count): void => {
    const row = scope.row()
    const existed = row.exists
    const next = fold(existed ? row.value : undefined, incoming.value, incoming)
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
      parked: undefined,
      store: {
        name: step,
        rows: terms.row,
        ranged: false,
        expires: undefined,
        marks: false,
        revision,
        code: codeOf(terms.fold),
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
        const version = gate.version(incoming.value, incoming)
        if (!Number.isSafeInteger(version) || version < 1) {
          throw new TidemarkError('ENVELOPE_INVALID', `the gate of "${step}" gave version ${version}`, {
            detail: 'Versions are whole numbers from 1.',
            hint: 'Take a number that the source raises with every change of the key, such as (event, fact) => fact.sequence.',
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
      })
    return each(row, value, fact)
  }
}
