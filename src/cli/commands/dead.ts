/** `tidemark dead`: dead letters of an application, listed, shown and put back where they failed. */
import { TidemarkError } from '../../base/errors.ts'
import { nearest } from '../../base/nearest.ts'
import { writersOf } from '../../plan/naming.ts'
import { readDecisions } from '../../runtime/decisions.ts'
import { type Letter, type LetterTopic, letterName, letterTopics, readLetters } from '../../runtime/letters.ts'
import { type Redriven, Redriver } from '../../runtime/redrive.ts'
import { jsonText } from '../../server/json.ts'
import type { Graph } from '../../topology/node.ts'
import { errorData } from '../failure.ts'
import { type Offline, offline, type WantedAnywhere } from '../offline.ts'
import { grouped, table } from '../render.ts'
import { EXIT, type Shell } from '../shell.ts'

/** Which letters are meant. */
export interface Selection {
  readonly step: string | undefined
  /** `partition@offset`, or the offset alone: all topics of dead letters have one partition. */
  readonly offset: string | undefined
}

export interface DeadWords extends WantedAnywhere {
  readonly json: boolean
}

const instead = (): string => 'The log of a folder is one process’s. Stop that one first; on Kafka it may go on.'

// --- list ------------------------------------------------------------------------------------------------------------------------

interface Listed extends LetterTopic {
  letters: number
  redriven: number
  readonly codes: Record<string, number>
  last: Pick<Letter, 'offset' | 'failedAt' | 'code' | 'reason' | 'detail'> | undefined
}

/** @throws TidemarkError LOG_LOCKED, INPUT_INVALID, LOG_*, BROKER_* */
export async function deadList(words: DeadWords, shell: Shell): Promise<number> {
  const steps = await offline(words, shell, instead, async (work) => {
    const listed: Listed[] = []
    const redriven = await decided(work)
    for (const of of await letterTopics(work.world.log, work.graph)) {
      const entry: Listed = { ...of, letters: 0, redriven: 0, codes: {}, last: undefined }
      for await (const letter of readLetters(work.world.log, of)) {
        work.signal.throwIfAborted()
        const { offset, failedAt, code = 'none', reason, detail } = letter
        entry.letters += 1
        if (redriven.has(letterName(letter))) entry.redriven += 1
        entry.codes[code] = (entry.codes[code] ?? 0) + 1
        entry.last = { offset, failedAt, code, reason, detail }
      }
      if (entry.letters > 0) listed.push(entry)
    }
    return listed
  })
  const letters = steps.reduce((sum, each) => sum + each.letters, 0)
  const redriven = steps.reduce((sum, each) => sum + each.redriven, 0)
  if (words.json) await shell.out.write(`${jsonText({ letters, redriven, steps })}\n`)
  else for (const line of listLines(steps, letters, redriven)) await shell.out.write(`${line}\n`)
  return EXIT.ok
}

function listLines(steps: readonly Listed[], letters: number, redriven: number): string[] {
  if (steps.length === 0) return ['no dead letters']
  const newest = new Map(steps.map(({ step, generation }) => [step, generation]))
  const rows = steps.map(({ step, generation, letters, redriven, codes, last }) => [
    `${step}${newest.get(step) === generation && generation === 1 ? '' : ` (generation ${generation})`}`,
    `${grouped(letters)} dead${redriven === 0 ? '' : `, ${grouped(redriven)} redriven`}`,
    Object.entries(codes)
      .sort(([, a], [, b]) => b - a)
      .map(([code, count]) => `${code} ${grouped(count)}`)
      .join(', '),
    `last at ${timeOf(last?.failedAt)}: ${[last?.reason, last?.detail].filter((text) => text !== undefined).join('; ')}`,
  ])
  return [...table(rows.map((row) => row.map(oneLine))), total(letters, redriven)]
}

function total(letters: number, redriven: number): string {
  const left = letters - redriven
  return `${grouped(letters)} dead ${letters === 1 ? 'letter' : 'letters'}${redriven === 0 ? '' : `, ${grouped(redriven)} of them redriven, ${grouped(left)} left`}`
}

// --- show ------------------------------------------------------------------------------------------------------------------------

export interface ShowWords extends DeadWords, Selection {
  /** Letters at most. */
  readonly limit: number
}

/** @throws TidemarkError OPTION_INVALID, and what `deadList` throws */
export async function deadShow(words: ShowWords, shell: Shell): Promise<number> {
  const { shown, more } = await offline(words, shell, instead, async (work) => {
    const redriven = await decided(work)
    const shown: { readonly letter: Letter; readonly redriven: boolean }[] = []
    for await (const letter of selected(work, words)) {
      if (shown.length === words.limit) return { shown, more: true }
      shown.push({ letter, redriven: redriven.has(letterName(letter)) })
    }
    return { shown, more: false }
  })
  if (words.json) await shell.out.write(`${jsonText({ letters: shown.map(letterData), more })}\n`)
  else {
    if (shown.length === 0) await shell.out.write('no dead letters\n')
    for (const each of shown) await shell.out.write(`${letterLines(each.letter, each.redriven).join('\n')}\n\n`)
    if (more) await shell.out.write(`there are more: --limit ${words.limit * 10} shows so many, --step and --offset choose\n`)
  }
  return EXIT.ok
}

/** Bytes of a value that are shown to people. */
const SHOWN_BYTES = 256

function letterLines(letter: Letter, redriven: boolean): string[] {
  const { step, generation, offset, origin, code, reason, detail, attempts, failedAt, at, id, type, key, value, lacks } = letter
  const from = origin === undefined ? 'nobody knows where' : `${origin.topic}/${origin.partition}@${origin.offset}`
  const rows: [name: string, text: string | undefined][] = [
    ['why', `${code}: ${reason}`],
    ['', detail],
    ['event', id === undefined ? undefined : `${id}${type === undefined ? '' : `  ${type}`}`],
    ['key', key === null ? 'none' : textOf(key)],
    ['time', `${timeOf(at)}, given up at ${timeOf(failedAt)} after ${attempts ?? 1} ${attempts === 1 ? 'try' : 'tries'}`],
    ['value', value === null ? 'none' : `${grouped(value.length)} bytes${value.length > SHOWN_BYTES ? `, the first ${SHOWN_BYTES}` : ''}`],
    ['  hex', value === null ? undefined : value.subarray(0, SHOWN_BYTES).toString('hex')],
    ['  text', value === null ? undefined : textOf(value.subarray(0, SHOWN_BYTES))],
    ['lacks', lacks.length === 0 ? undefined : `its ${lacks.join(', ')} could not be kept whole`],
  ]
  return [
    `${step} 0@${offset}${generation === 1 ? '' : ` (generation ${generation})`}  from ${from}${redriven ? '  redriven' : ''}`,
    ...rows.flatMap(([name, text]) => (text === undefined ? [] : [`  ${name.padEnd(7)} ${oneLine(text)}`])),
  ]
}

function letterData({ letter, redriven }: { readonly letter: Letter; readonly redriven: boolean }): Readonly<Record<string, unknown>> {
  const { key, value, headers, lacks, ...plain } = letter
  return {
    ...plain,
    redriven,
    key: key === null ? null : key.toString('utf8'),
    keyHex: key?.toString('hex') ?? null,
    valueHex: value?.toString('hex') ?? null,
    headers: headers.map(({ name, value: bytes }) => ({ name, value: bytes === null ? null : Buffer.from(bytes).toString('utf8') })),
    ...(lacks.length === 0 ? {} : { lacks }),
  }
}

// --- redrive ---------------------------------------------------------------------------------------------------------------------

export interface RedriveWords extends DeadWords, Selection {
  readonly all: boolean
  readonly dryRun: boolean
}

/** What became of a letter, and which one it was. */
interface Outcome extends Pick<Letter, 'step' | 'generation' | 'offset' | 'origin'> {
  readonly outcome: Redriven
}

/** Outcomes that are printed one by one; of more, their numbers. */
const OUTCOMES_SHOWN = 50

/** @throws TidemarkError OPTION_INVALID without a selection, PLAN_CHANGED, and what `deadList` throws */
export async function deadRedrive(words: RedriveWords, shell: Shell): Promise<number> {
  if (words.step === undefined && words.offset === undefined && !words.all) {
    throw new TidemarkError('OPTION_INVALID', 'which letters are to be redriven is not said', {
      hint: 'Say --step <step>, --step <step> --offset <partition@offset>, or --all. "tidemark dead list" tells what there is.',
    })
  }
  const outcomes: Outcome[] = []
  await offline(words, shell, instead, async (work) => {
    const { graph, world, signal, shared } = work
    const redriver = await Redriver.open(graph, world, { dryRun: words.dryRun, alone: !shared, signal })
    try {
      for await (const letter of selected(work, words)) {
        const { step, generation, offset, origin } = letter
        outcomes.push({ step, generation, offset, origin, outcome: await redriver.redrive(letter) })
      }
    } finally {
      await redriver.close()
    }
  })
  const count = (kind: Redriven['kind']): number => outcomes.filter(({ outcome }) => outcome.kind === kind).length
  const counts = { redriven: count('redriven'), already: count('already'), failed: count('fails'), refused: count('refused') }
  if (words.json) {
    const shown = outcomes.map(({ outcome, ...place }) => ({
      ...place,
      outcome: outcome.kind,
      ...('error' in outcome ? { error: errorData(outcome.error) } : {}),
    }))
    await shell.out.write(`${jsonText({ dryRun: words.dryRun, ...counts, letters: shown })}\n`)
  } else for (const line of redriveLines(outcomes, counts, words.dryRun)) await shell.out.write(`${line}\n`)
  return counts.failed + counts.refused === 0 ? EXIT.ok : EXIT.differences
}

function redriveLines(
  outcomes: readonly Outcome[],
  counts: { readonly redriven: number; readonly already: number; readonly failed: number; readonly refused: number },
  dryRun: boolean,
): string[] {
  if (outcomes.length === 0) return ['no dead letters']
  const words = { redriven: dryRun ? 'would go on' : 'redriven', already: 'redriven before', fails: 'fails again', refused: 'refused' }
  const lines = outcomes.slice(0, OUTCOMES_SHOWN).map(({ step, offset, origin, outcome }) => {
    const why =
      'error' in outcome ? `: ${outcome.error.code}: ${[outcome.error.message, outcome.error.detail].filter(Boolean).join(' ')}` : ''
    const from = origin === undefined ? '' : ` (${origin.topic}/${origin.partition}@${origin.offset})`
    return oneLine(`${step} 0@${offset}${from}  ${words[outcome.kind]}${why}`)
  })
  const more = outcomes.length - lines.length
  const { redriven, already, failed, refused } = counts
  const sum = [
    `${grouped(redriven)} ${dryRun ? 'would go on' : 'redriven'}`,
    ...(already === 0 ? [] : [`${grouped(already)} redriven before and left alone`]),
    ...(failed === 0 ? [] : [`${grouped(failed)} would fail again and stay dead`]),
    ...(refused === 0 ? [] : [`${grouped(refused)} cannot be put back here`]),
  ]
  return [...lines, ...(more > 0 ? [`and ${grouped(more)} more`] : []), `${sum.join(', ')}${dryRun ? '; nothing was written' : ''}`]
}

// --- what they share -------------------------------------------------------------------------------------------------------------

/** What was redriven before. Where nobody else can, what a dead worker left undecided is decided first. */
async function decided({ graph, world, shared }: Offline): Promise<ReadonlySet<string>> {
  if (!shared) await world.log.fence(writersOf(graph.name), new Set())
  return (await readDecisions(world.log, graph.name)).redriven
}

/** @throws TidemarkError OPTION_INVALID */
async function* selected({ graph, world, signal }: Offline, { step, offset }: Selection): AsyncGenerator<Letter> {
  const only = offset === undefined ? undefined : offsetOf(offset, step)
  if (step !== undefined) requireStep(graph, step)
  for (const of of await letterTopics(world.log, graph)) {
    if (step !== undefined && of.step !== step) continue
    for await (const letter of readLetters(world.log, of, only)) {
      signal.throwIfAborted()
      if (only !== undefined && letter.offset > only) break
      yield letter
    }
  }
}

function offsetOf(text: string, step: string | undefined): number {
  const [, partition = '0', offset] = /^(?:(\d{1,9})@)?(\d{1,15})$/.exec(text) ?? []
  if (offset === undefined || partition !== '0') {
    throw new TidemarkError('OPTION_INVALID', `"${text}" is no place of a dead letter`, {
      hint: 'Write it as "tidemark dead show" does, such as 0@12: topics of dead letters have one partition.',
    })
  }
  if (step === undefined)
    throw new TidemarkError('OPTION_INVALID', 'an offset needs its step', { hint: 'Every step has dead letters of its own: add --step.' })
  return Number(offset)
}

function requireStep(graph: Graph, step: string): void {
  const steps = graph.nodes.map(({ id }) => id)
  if (steps.includes(step)) return
  const meant = nearest(step, steps)
  throw new TidemarkError('OPTION_INVALID', `"${graph.name}" has no step "${step}"`, {
    hint: meant === undefined ? `Its steps are ${steps.join(', ')}.` : `Did you mean ${meant}?`,
  })
}

function timeOf(ms: number | undefined): string {
  const time = ms === undefined ? undefined : new Date(ms)
  return time === undefined || Number.isNaN(time.getTime()) ? 'an unknown time' : time.toISOString()
}

/** Bytes as text for a terminal. */
function textOf(bytes: Uint8Array): string {
  return Buffer.from(bytes).toString('utf8')
}

/** What records hold goes to a terminal: nothing in it may move the cursor. */
function oneLine(text: string): string {
  return text.replaceAll(/\p{Cc}/gu, '·')
}
