/** What operators are given beside their options, refused where it is of another kind: only a program that no compiler has seen gets that far. */
import { TidemarkError } from '../base/errors.ts'
import { isRecord, needFunction, needTexts, refuse, shown } from '../base/options.ts'
import type { Tip } from '../topology/builder.ts'

/**
 * Options, where there are any at all: words that say nothing are refused where the step is added.
 * @throws TidemarkError OPTION_INVALID
 */
export function needOptions(options: unknown, of: string): void {
  if (!isRecord(options)) refuse(options, of, 'options', 'Write them as { name: value }, or leave them out.')
}

/** The fields that a step says it reads. @throws TidemarkError OPTION_INVALID */
export function readsOf(step: string, options: { readonly reads?: readonly string[] }): readonly string[] | undefined {
  needOptions(options, `step "${step}"`)
  if (options.reads !== undefined) needTexts(options.reads, `reads of step "${step}"`, 'List the fields: reads: ["sku"].')
  return options.reads
}

/** The place of a stream in its graph. @throws TidemarkError OPTION_INVALID for what is no stream */
export function tipOf(stream: { readonly tip: Tip }, what: string): Tip {
  const tip = (stream as { readonly tip?: Tip } | null | undefined)?.tip
  if (isRecord(tip)) return tip
  return refuse(stream, what, 'a stream', 'Give what flow.source(), flow.stream() or a step of theirs gave.')
}

/** A function where the options may have one. @throws TidemarkError OPTION_INVALID */
export function mayFunction(given: unknown, what: string, hint: string): void {
  if (given !== undefined) needFunction(given, what, hint)
}

/** Functions by name. @throws TidemarkError OPTION_INVALID */
export function needFunctions(given: unknown, what: string, hint: string): void {
  if (!isRecord(given)) refuse(given, what, 'an object of functions', hint)
  for (const [name, each] of Object.entries(given)) needFunction(each, `"${name}" of ${what}`, hint)
}

/** The revision of a store. @throws TidemarkError OPTION_INVALID */
export function checkedRevision(revision: number | undefined, of: string): number {
  if (revision === undefined) return 1
  if (Number.isSafeInteger(revision) && revision >= 1) return revision
  throw new TidemarkError('OPTION_INVALID', `${of} has revision ${shown(revision)}`, { hint: 'Revisions are 1, 2, 3.' })
}

/** Whether a value is a topology; by its shape, because another copy of tidemark may have made it. */
export function isTopology(value: unknown): boolean {
  if (!isRecord(value)) return false
  const { name, graph, projections } = value
  return typeof name === 'string' && Array.isArray(projections) && isRecord(graph) && Array.isArray(graph.nodes)
}

/** @throws TidemarkError OPTION_INVALID for what is no topology */
export function checkTopology(given: unknown, what: string): void {
  if (!isTopology(given))
    refuse(given, what, 'a topology', "Give what topology() made: const retail = topology('retail', (flow) => [...]).")
}
