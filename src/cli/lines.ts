/**
 * What `dev` and `run` say where nothing is redrawn, line by line: what must be told is told once, and what is only good to know now and then.
 * The line a second is `live.ts`.
 */
import type { Sample } from './live.ts'
import type { Notice } from './meter.ts'
import { grouped } from './render.ts'
import type { Output } from './shell.ts'

/** Sentences about unreadable input that are said one by one; of more, their number. */
const PROBLEMS_SHOWN = 10
/** How often highlights are said, ms: a live display has them all the time, a log that somebody keeps does not want them with every line. */
const HIGHLIGHTS_MS = 10_000

export class Lines {
  readonly #output: Output
  readonly #tried = new Set<string>()
  #problems = 0
  /** Of how many more it has been told that there are. */
  #more = 0
  #highlightsAt: number | undefined

  constructor(output: Output) {
    this.#output = output
  }

  async say(line: string): Promise<void> {
    await this.#output.write(`${line}\n`)
  }

  /** Commands to try next; those that were said before are not said again. */
  async next(steps: Sample['next']): Promise<void> {
    for (const [command, about] of steps) {
      // What it does may change, such as that the row is there now; what is to be typed is news only once.
      if (this.#tried.has(command)) continue
      this.#tried.add(command)
      await this.say(`try: ${command}   (${about})`)
    }
  }

  /** Takes the notices out of their list. */
  async notices(notices: Notice[]): Promise<void> {
    for (const { kind, text } of notices.splice(0)) await this.say(`${kind}: ${text}`)
  }

  /** What of the input could not be read. @param last whether nothing will follow, so that the number of those unsaid is the last one */
  async problems(problems: readonly string[], last: boolean): Promise<void> {
    for (const problem of problems.slice(this.#problems, PROBLEMS_SHOWN)) await this.say(`input: ${problem}`)
    this.#problems = Math.max(this.#problems, Math.min(problems.length, PROBLEMS_SHOWN))
    const more = problems.length - this.#problems
    if (more === this.#more || (this.#more > 0 && !last)) return
    this.#more = more
    await this.say(`input: ${grouped(more)} more ${more === 1 ? 'row' : 'rows'} could not be read; --json lists them all, under "unread"`)
  }

  /** How much of the input could not be read. */
  async unread(rows: number): Promise<void> {
    if (rows > 0) await this.say(`input: ${grouped(rows)} ${rows === 1 ? 'row' : 'rows'} could not be read`)
  }

  /** What stands out in the data, in one line. @param now ms; said every ten seconds, and where `last` says so */
  async highlights(lines: readonly string[], now: number, last: boolean): Promise<void> {
    this.#highlightsAt ??= now
    if (lines.length === 0 || (!last && now - this.#highlightsAt < HIGHLIGHTS_MS)) return
    this.#highlightsAt = now
    await this.say(lines.map((line) => line.trim().replaceAll(/\s+/g, ' ')).join('; '))
  }
}
