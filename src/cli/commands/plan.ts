/** `tidemark plan`: prints what will run, writes it down as the lock, or compares it with the lock. */
import { TidemarkError } from '../../base/errors.ts'
import { explain, explainJson, SECTIONS, type Section } from '../../plan/explain.ts'
import { EMPTY, formerNames, givingUp } from '../../plan/lock.ts'
import { mermaid } from '../../plan/mermaid.ts'
import { picture } from '../../plan/pictures.ts'
import { jsonText } from '../../server/json.ts'
import { errorData, errorText } from '../failure.ts'
import type { Loaded } from '../load.ts'
import { changeLines, changesOf, lossesOf, type Planned, planned, writeLock } from '../locks.ts'
import { paint } from '../render.ts'
import { EXIT, type Shell } from '../shell.ts'
import type { FORMATS } from '../words.ts'

export interface PlanOptions {
  /** One pass only; undefined for all. */
  readonly stage: Section | undefined
  readonly format: (typeof FORMATS)[number]
  readonly check: boolean
  readonly write: boolean
  /** State that may be left behind: `stage/store`, or a stage. */
  readonly giveUp: readonly string[]
}

/** @throws TidemarkError OPTION_INVALID for options that contradict each other, PLAN_LOCK_INVALID, PLAN_REFUSED */
export async function plan(loaded: Loaded, options: PlanOptions, shell: Shell): Promise<number> {
  refuseContradictions(options)
  if (options.check) return await check(loaded, options.format === 'json', shell)
  if (options.write) return await write(planned(loaded, options.giveUp), options.giveUp, options.format === 'json', shell)
  const made = planned(loaded)
  const sections = options.stage === undefined ? SECTIONS : [options.stage]
  switch (options.format) {
    case 'text':
      await shell.out.write(explain(made.plan, made.facts, sections))
      break
    case 'json':
      await shell.out.write(`${jsonText(explainJson(made.plan, made.facts, sections), 2)}\n`)
      break
    case 'mermaid':
      await shell.out.write(options.stage === undefined ? mermaid(made.plan) : picture(made.plan, made.facts, options.stage))
  }
  return EXIT.ok
}

function refuseContradictions({ stage, format, check, write, giveUp }: PlanOptions): void {
  const refuse = (what: string, hint: string): never => {
    throw new TidemarkError('OPTION_INVALID', what, { hint })
  }
  if (check && write) refuse('--check and --write contradict each other', 'Compare first, then write what you agree to.')
  if (giveUp.length > 0 && !write) refuse('--give-up is a part of the lock', 'Add --write: nothing is given up that is not written down.')
  if ((check || write) && stage !== undefined) refuse('the lock is of the whole plan', 'Leave out --stage.')
  if (format === 'mermaid' && (check || write)) refuse('a picture cannot be compared', 'Leave out --format mermaid.')
}

async function write(made: Planned, giveUp: readonly string[], json: boolean, shell: Shell): Promise<number> {
  const changes = changesOf(made)
  await writeLock(made, giveUp)
  for (const change of changes) await shell.err.write(`${changeLines(change).join('\n')}\n`)
  if (made.lock === undefined && giveUp.length > 0)
    await shell.err.write('no lock was there to look up what is given up: where a name is wrong, the next start is refused as before\n')
  if (json) {
    await shell.out.write(`${jsonText({ wrote: made.file, changes, givenUp: giveUp })}\n`)
    return EXIT.ok
  }
  await shell.out.write(`wrote ${made.file}${made.lock === undefined ? '' : changes.length === 0 ? ', which was right already' : ''}\n`)
  for (const entry of giveUp)
    await shell.out.write(
      `given up: ${entry}. What has run leaves it behind at its next start with this lock, and reads it no more.\nWhat takes its place begins empty. ${EMPTY}\n`,
    )
  return EXIT.ok
}

/** The command of a CI: no lock or a broken one is a failure, a difference is one of its own. */
async function check(loaded: Loaded, json: boolean, shell: Shell): Promise<number> {
  try {
    const made = planned(loaded)
    if (made.lock === undefined) {
      throw new TidemarkError('PLAN_LOCK_INVALID', `topology "${loaded.topology.name}" has no plan lock`, {
        detail: `${made.file} does not exist.`,
        hint: `Make it with "tidemark plan ${loaded.name} --write", and commit it.`,
      })
    }
    const changes = changesOf(made)
    const formerly = formerNames(made.lock)
    if (json) await shell.out.write(`${jsonText({ changes, formerly })}\n`)
    else if (changes.length === 0)
      await shell.out.write(`the plan is the one in ${made.file}\n${formerly.map((sentence) => `${sentence}\n`).join('')}`)
    else {
      await shell.out.write(`the plan differs from ${made.file}:\n\n`)
      for (const change of changes) await shell.out.write(`${changeLines(change).join('\n')}\n`)
      const losses = lossesOf(made)
      const command = losses.length === 0 ? `tidemark plan ${loaded.name} --write` : givingUp(losses, loaded.name)
      await shell.err.write(`\nIf this is what you want: ${command}\n`)
    }
    return changes.length === 0 ? EXIT.ok : EXIT.differences
  } catch (error) {
    await shell.err.write(`${errorText(error, paint(shell.err, shell.env))}\n`)
    if (json) await shell.out.write(`${jsonText({ error: errorData(error) })}\n`)
    return EXIT.failed
  }
}
