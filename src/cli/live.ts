/**
 * The live display of `dev`: one picture that is redrawn in place on a terminal, one plain line a second elsewhere. Pictures and lines are
 * pure functions of a sample; `Screen` is what puts them on a terminal.
 */
import { unreachable } from '../base/assert.ts'
import { readableMs } from '../base/time.ts'
import type { Freshness } from '../contract/window.ts'
import type { Held } from '../runtime/held.ts'
import { heldText } from './leftover.ts'
import type { Meter, Notice } from './meter.ts'
import { bar, clipped, clockTime, grouped, type Painter, table, wrapped } from './render.ts'
import { HIDE_CURSOR, type Output, SHOW_CURSOR } from './shell.ts'

/** What is shown of one moment. */
export interface Sample {
  readonly app: string
  /** On which log, in words. */
  readonly where: string
  readonly elapsedMs: number
  readonly feed: { readonly done: number; readonly total: number } | undefined
  /** Records a second. */
  readonly rates: { readonly in: number; readonly out: number }
  /** Since this process began. */
  readonly counts: Readonly<Record<'applied' | 'duplicate' | 'stale' | 'gap' | 'parked' | 'dead', number>>
  /** What steps hold at this moment, since earlier runs as well; undefined while some task is not open. */
  readonly held: Held | undefined
  /** Records that wait in sources and inboxes; undefined while that is not known. */
  readonly lag: number | undefined
  /** Since when no broker has answered, in words; undefined while they do, and where there are none. */
  readonly silent: string | undefined
  /** Where it went on after an earlier run, in words. */
  readonly resumed: string | undefined
  /** Transactions without an end, by their sentences. */
  readonly hanging: readonly string[]
  readonly restoring: { readonly tasks: number; readonly left: number; readonly secondsLeft: number | undefined }
  readonly views: readonly { readonly name: string; readonly freshness: Freshness }[]
  readonly highlights: readonly string[]
  /** What of the feed's input could not be read. */
  readonly problems: readonly string[]
  readonly notices: readonly Notice[]
  readonly check: { readonly equal: boolean; readonly sentence: string } | undefined
  /** Where views are served; undefined where nothing is. */
  readonly url: string | undefined
  /** Commands to try next, each with what it does. */
  readonly next: readonly (readonly [command: string, about: string])[]
}

const LABEL = { applied: 'applied', duplicate: 'duplicate', stale: 'stale', gap: 'gap', parked: 'parked', dead: 'dead-lettered' } as const

/** What has been counted since this process began, of what is shown. */
export function countsOf(meter: Meter): Sample['counts'] {
  return {
    applied: meter.of('applied'),
    duplicate: meter.of('duplicate'),
    stale: meter.of('stale'),
    gap: meter.of('gap'),
    parked: meter.of('parked'),
    dead: meter.of('dead'),
  }
}

/** One plain line: for pipes, files and logs. */
export function plainLine(sample: Sample): string {
  const { elapsedMs, feed, rates, counts, held, lag, silent, restoring, views, hanging } = sample
  return [
    clockTime(elapsedMs),
    ...(feed === undefined ? [] : [`feed ${feed.done}/${feed.total}`]),
    ...(silent === undefined ? [] : [silent]),
    ...(restoring.tasks === 0 ? [] : [restoringText(restoring, String)]),
    `in ${Math.round(rates.in)}/s`,
    `out ${Math.round(rates.out)}/s`,
    ...Object.entries(LABEL).map(([name, label]) => `${label} ${counts[name as keyof typeof LABEL]}`),
    `held now ${held === undefined ? 'unknown' : heldFigures(held)}`,
    `lag ${lag ?? 'unknown'}`,
    ...hanging.map((sentence) => `HANGING: ${sentence}`),
    ...views.map(({ name, freshness }) => `${name} ${freshnessText(freshness)}`),
  ].join('  ')
}

/** @example heldFigures({ facts: 12, keys: 4, parked: 1 }) // '12 of 4 keys, 1 parked' */
function heldFigures({ facts, keys, parked }: Held): string {
  if (facts === 0) return '0'
  return `${facts} of ${keys} ${keys === 1 ? 'key' : 'keys'}${parked === 0 ? '' : `, ${parked} parked`}`
}

/** The picture: lines no wider than the terminal, and no more of them than it has. */
export function picture(sample: Sample, size: { readonly columns: number; readonly rows: number }, color: Painter): string[] {
  const { app, where, elapsedMs, counts, views, check } = sample
  const width = size.columns - 2
  const lines = [
    '',
    `  ${color.strong(app)} ${color.faint(where)}   ${clockTime(elapsedMs)}`,
    '',
    ...progressLines(sample, color),
    `  ${Object.entries(LABEL)
      .map(([name, label]) => countText(name as keyof typeof LABEL, label, counts, color))
      .join('   ')}`,
    ...heldLines(sample, color),
    '',
    ...table(views.map(({ name, freshness }) => [`  ${name}`, freshnessColored(freshness, color)])),
    ...block(sample.hanging.flatMap((sentence) => wrapped(sentence, width)).map(color.bad)),
    ...block(sample.highlights.map(color.faint)),
    ...block(problemLines(sample.problems).map(color.warn)),
    ...block(sample.notices.slice(-4).flatMap(({ kind, text }) => wrapped(text, width).map(kind === 'failure' ? color.bad : color.warn))),
    ...block(check === undefined ? [] : wrapped(check.sentence, width).map(check.equal ? color.good : color.bad)),
    ...nextLines(sample, color),
  ]
  return lines.slice(0, Math.max(1, size.rows - 1)).map((line) => clipped(line, size.columns))
}

function progressLines({ feed, rates, lag, silent, resumed, restoring }: Sample, color: Painter): string[] {
  const lines: string[] = []
  if (resumed !== undefined) lines.push(`  ${color.faint(resumed)}`)
  if (silent !== undefined) lines.push(`  ${color.bad(silent)}`)
  if (feed !== undefined) {
    const share = feed.total === 0 ? 1 : feed.done / feed.total
    lines.push(`  feed ${bar(share, 30)} ${grouped(feed.done)} of ${grouped(feed.total)} (${Math.floor(share * 100)} %)`)
  }
  if (restoring.tasks > 0) lines.push(`  ${color.warn(restoringText(restoring, grouped))}`)
  lines.push(`  in ${grouped(rates.in)}/s   out ${grouped(rates.out)}/s   waiting ${lag === undefined ? 'unknown' : grouped(lag)}`)
  return lines
}

function restoringText({ tasks, left, secondsLeft }: Sample['restoring'], number: (count: number) => string): string {
  const about = secondsLeft === undefined ? '' : `, about ${readableMs(Math.ceil(secondsLeft) * 1_000)}`
  return `restoring ${tasks} tasks, ${number(left)} records left${about}`
}

function countText(name: keyof typeof LABEL, label: string, counts: Sample['counts'], color: Painter): string {
  const text = `${label} ${grouped(counts[name])}`
  // Only what somebody should look at stands out: a duplicate that was dropped is the machine at work.
  return (name === 'parked' || name === 'dead') && counts[name] > 0 ? color.warn(text) : text
}

/** Only where there is something: a fact that waits for a moment is the machine at work, a parked key is somebody's. */
function heldLines({ held }: Sample, color: Painter): string[] {
  if (held === undefined || held.facts === 0) return []
  const text = `now ${heldText(held)}`
  return [`  ${held.parked > 0 ? color.warn(text) : text}`]
}

/** What could not be read last, and of how much. */
function problemLines(problems: readonly string[]): string[] {
  const last = problems.slice(-3)
  return problems.length > last.length ? [`${problems.length} rows could not be read (--json lists them all); the last:`, ...last] : last
}

function block(lines: readonly string[]): string[] {
  return lines.length === 0 ? [] : ['', ...lines.map((line) => `  ${line}`)]
}

function nextLines({ url, next }: Sample, color: Painter): string[] {
  const lines = url === undefined ? [] : ['', `  ${color.strong(url)}`]
  if (next.length === 0) return lines
  return [
    ...lines,
    '',
    ...table(
      next.map(([command, about]) => [`  ${command}`, color.faint(about)]),
      '   ',
    ),
  ]
}

/** @example freshnessText({ state: 'fresh', ageMs: 120, asOf: 'a/0@9' }) // 'fresh (120 ms)' */
export function freshnessText(freshness: Freshness): string {
  switch (freshness.state) {
    case 'fresh':
      return `fresh (${readableMs(freshness.ageMs)})`
    case 'stale':
      return `stale (${readableMs(freshness.ageMs)})`
    case 'unknown':
      return 'unknown'
    case 'restoring':
      return `restoring (${Math.floor(freshness.done * 100)} %)`
    default:
      return unreachable(freshness)
  }
}

function freshnessColored(freshness: Freshness, color: Painter): string {
  const text = freshnessText(freshness)
  if (freshness.state === 'fresh') return color.good(text)
  if (freshness.state === 'stale') return `${color.warn(text)} ${color.faint(`${readableMs(freshness.overrunMs)} beyond its window`)}`
  return freshness.state === 'unknown' ? `${color.faint(text)} ${color.faint(freshness.reason)}` : color.warn(text)
}

const UP = (lines: number): string => (lines === 0 ? '' : `\u001b[${lines}A`)
const CLEAR_LINE = '\u001b[2K'
const CLEAR_BELOW = '\u001b[J'

/** A picture on a terminal that is replaced by the next one. */
export class Screen {
  readonly #output: Output
  #height = 0
  #begun = false

  constructor(output: Output) {
    this.#output = output
  }

  async show(lines: readonly string[]): Promise<void> {
    const begin = this.#begun ? '' : HIDE_CURSOR
    this.#begun = true
    const body = lines.map((line) => `${CLEAR_LINE}${line}\n`).join('')
    const text = `${begin}${UP(this.#height)}\r${body}${CLEAR_BELOW}`
    this.#height = lines.length
    await this.#output.write(text)
  }

  /** Leaves the last picture standing, and gives the cursor back. Safe to call twice. */
  async end(): Promise<void> {
    if (!this.#begun) return
    this.#begun = false
    this.#height = 0
    await this.#output.write(SHOW_CURSOR)
  }
}

/** What a newcomer may try now: on a view and one of its rows, where these are served already. */
export function nextSteps(
  topology: string,
  view: string | undefined,
  url: string | undefined,
  rowUrl: string | undefined,
  checked: boolean,
): Sample['next'] {
  return [
    ...(url === undefined || view === undefined ? [] : [[`curl '${url}/views/${view}?limit=5'`, 'a page of rows'] as const]),
    ...(rowUrl === undefined ? [] : [[`curl '${rowUrl}'`, 'one row, and how fresh it is'] as const]),
    [`npx tidemark plan ${topology}`, 'what runs here, and why'],
    ['Ctrl-C', checked ? 'stops it' : 'stops it; started again, it goes on'],
  ]
}
