/**
 * `tidemark dev`: a topology on the embedded log, with its feed, its views over HTTP and a live display. It ends when it is told to, or with
 * `once` when everything has been applied; started again it goes on where it was.
 */
import { codeOf, type TidemarkError } from '../../base/errors.ts'
import { quoted } from '../../base/shell-word.ts'
import type { LogDriver } from '../../ports/log.ts'
import type { SchemaStore } from '../../ports/serde.ts'
import type { FeedCheck, RunningFeed } from '../../runtime/feed.ts'
import { heldTogether } from '../../runtime/held.ts'
import { jsonText } from '../../server/json.ts'
import { type Serving, serve } from '../../server/server.ts'
import { type Running, type StartOptions, start } from '../../start.ts'
import { type Ear, Silence } from '../ear.ts'
import { Ending } from '../ending.ts'
import { errorData, errorText, exitCodeOf } from '../failure.ts'
import { isWhole, type Leftover, leftLine, leftOver } from '../leftover.ts'
import { Lines } from '../lines.ts'
import { countsOf, nextSteps, picture, plainLine, type Sample, Screen } from '../live.ts'
import type { Loaded } from '../load.ts'
import { lockAt } from '../locks.ts'
import { Meter } from '../meter.ts'
import { changedFolds, defaultFolder, record } from '../place.ts'
import { grouped, paint } from '../render.ts'
import { EXIT, type Shell } from '../shell.ts'
import { DEFAULT_PORT } from '../words.ts'

export interface DevOptions {
  /** Default `.tidemark/<topology>`. */
  readonly dir: string | undefined
  /** The first port to try. With `once` nothing is served unless it is given. */
  readonly port: number | undefined
  /** As fast as it goes, and end when everything is applied. */
  readonly once: boolean
  /** One JSON object on stdout at the end, and nothing else there. */
  readonly json: boolean
  /** Values of the feed's own options. */
  readonly feed: Readonly<Record<string, string | true | undefined>>
  /** Set by `run`: on Kafka, as one of several workers perhaps. Default: the embedded log in `dir`, alone, with the feed. */
  readonly kafka?: {
    readonly log: LogDriver
    /** Hears whether that log answers. */
    readonly ear: Ear
    /** In words. */
    readonly where: string
    /** What it is to its group. */
    readonly member: Pick<StartOptions, 'instance' | 'membership' | 'session'>
    readonly feeds: boolean
    readonly schemas: SchemaStore
  }
}

/** How often is looked whether something is to be done or shown, ms. */
const TICK_MS = 100
const PICTURE_MS = 200
const LINE_MS = 1_000

/** @throws TidemarkError when it cannot be started; what happens later is shown, and decides the exit code */
export async function dev(loaded: Loaded, options: DevOptions, shell: Shell): Promise<number> {
  const ending = new Ending(shell)
  const session = new Session(loaded, options, shell, ending)
  try {
    await session.open()
    await session.watch()
  } catch (error) {
    ending.fail(error)
    if (!session.opened) throw error
  } finally {
    await session.close()
    ending.release()
  }
  return session.report()
}

class Session {
  readonly #loaded: Loaded
  readonly #options: DevOptions
  readonly #shell: Shell
  readonly #ending: Ending
  readonly #dir: string
  readonly #meter: Meter
  readonly #silence: Silence
  readonly #began: number
  #idleUntil: number | undefined
  /** Go to stdout, unless that is for one JSON object. */
  readonly #lines: Lines
  readonly #screen: Screen | undefined
  /** Everything that it needs is there. Before that, an error is the whole answer. */
  opened = false
  #running: Running<readonly unknown[]> | undefined
  #serving: Serving | undefined
  #feed: RunningFeed | undefined
  #feeding: Promise<void> | undefined
  #fed = false
  #applied = false
  /** Looks whether everything is applied, beside the display: a log that does not answer must not stop that. */
  #looking = false
  #resumed: string | undefined
  #check: FeedCheck | undefined
  #left: Leftover | undefined
  #halted: TidemarkError | undefined
  #shownAt = Number.NEGATIVE_INFINITY
  #rowUrl: string | undefined

  constructor(loaded: Loaded, options: DevOptions, shell: Shell, ending: Ending) {
    this.#loaded = loaded
    this.#options = options
    this.#shell = shell
    this.#ending = ending
    const { name, graph } = loaded.topology
    this.#dir = options.dir ?? defaultFolder(name)
    this.#meter = new Meter(graph.nodes.filter(({ kind }) => kind === 'source').map(({ id }) => id))
    this.#silence = new Silence(options.kafka?.ear, shell.clock, (kind, text) => this.#meter.notice(kind, text))
    this.#began = shell.clock.mono()
    this.#lines = new Lines(options.json ? shell.err : shell.out)
    const redraws = !options.json && shell.out.terminal && shell.env.TERM !== 'dumb'
    this.#screen = redraws ? new Screen(shell.out) : undefined
  }

  async open(): Promise<void> {
    const { topology, feed, name } = this.#loaded
    const { once, port, kafka } = this.#options
    const lock = lockAt(this.#loaded)
    const running = await start(topology, {
      dir: this.#dir,
      telemetry: this.#meter,
      ...(lock === undefined ? {} : { lock }),
      ...(kafka === undefined ? {} : { log: kafka.log, ...kafka.member, schemas: kafka.schemas }),
    })
    this.#running = running
    void running.ended().catch((error: unknown) => this.#ending.fail(error))
    if (!once || port !== undefined) this.#serving = await this.#serve(port ?? DEFAULT_PORT)
    // Other commands need not be told then.
    await record(this.#dir, { topology: name, ...(this.#serving === undefined ? {} : { url: this.#serving.url }) })
    for (const warning of await changedFolds(this.#dir, topology.graph)) this.#meter.notice('warning', warning)
    const feeding = kafka === undefined || kafka.feeds ? feed : undefined
    this.#feed = await feeding?.open(running.access, { dir: this.#dir, unpaced: once, options: this.#options.feed })
    this.#feeding = this.#feed?.run(this.#ending.signal).then(
      () => {
        this.#fed = !this.#ending.signal.aborted
      },
      (error: unknown) => this.#ending.fail(error),
    )
    this.#fed = this.#feed === undefined
    this.opened = true
    if (this.#screen === undefined) await this.#introduce()
  }

  async #serve(port: number): Promise<Serving> {
    const serving = await serve((this.#running as Running<readonly unknown[]>).app, { port })
    if (port !== 0 && serving.port !== port)
      this.#meter.notice('warning', `port ${port} is taken; the views are served on port ${serving.port}`)
    return serving
  }

  get #where(): string {
    return this.#options.kafka?.where ?? `on the embedded log in ${this.#dir}`
  }

  async #introduce(): Promise<void> {
    await this.#lines.say(`${this.#loaded.topology.name} ${this.#where}`)
    if (this.#serving !== undefined) await this.#lines.say(`views are served at ${this.#serving.url}/views`)
    await this.#lines.next(this.#next)
  }

  /** Shows what happens until it ends. */
  async watch(): Promise<void> {
    const { clock } = this.#shell
    const { signal } = this.#ending
    const { app } = this.#running as Running<readonly unknown[]>
    while (!signal.aborted) {
      if (this.#meter.refused !== undefined) this.#ending.fail(this.#meter.refused)
      // A run that is watched goes on when there is room again; one that is to end must not wait for that.
      if (this.#options.once && this.#meter.stuck !== undefined) this.#ending.fail(this.#meter.stuck)
      this.#halted ??= app.failure
      this.#silence.look()
      if (this.#fed && !this.#applied && !this.#looking) void this.#look()
      await this.#tellResumed()
      if (this.#options.once && (this.#applied || this.#halted !== undefined)) break
      await this.#show(false)
      await clock.sleep(TICK_MS, signal).catch(() => {})
    }
    await this.#show(true)
  }

  async #look(): Promise<void> {
    const { once } = this.#options
    this.#looking = true
    try {
      if (await this.#caughtUp()) await this.#finish()
    } catch (error) {
      // A worker waits for its brokers; one that is to end does not wait for ever.
      const waits = !once && codeOf(error) === 'BROKER_UNREACHABLE'
      if (!waits && !this.#ending.signal.aborted) this.#ending.fail(error)
    } finally {
      this.#looking = false
    }
  }

  /** Positions are committed before the last rows are on disk, where a check reads them: both must be through. */
  async #caughtUp(): Promise<boolean> {
    const running = this.#running as Running<readonly unknown[]>
    return (await running.caughtUp()) && running.app.lag() === 0
  }

  /** Once all tasks run: where they went on, if an earlier life had committed anything. */
  async #tellResumed(): Promise<void> {
    const { app } = this.#running as Running<readonly unknown[]>
    const { tasks, records } = this.#meter.resumed
    if (this.#resumed !== undefined || !app.ready) return
    const now = this.#shell.clock.mono()
    if (tasks === 0) this.#idleUntil = now
    if (tasks === 0) return
    const ms = Math.round(now - (this.#idleUntil ?? this.#began))
    this.#resumed = `goes on from ${grouped(records)} committed records, restored ${grouped(this.#meter.of('restored'))} rows in ${grouped(ms)} ms`
    if (this.#screen === undefined) await this.#lines.say(this.#resumed)
  }

  async #finish(): Promise<void> {
    const { app, access } = this.#running as Running<readonly unknown[]>
    this.#left = await leftOver(access.log, app.plan, this.#feed, app.held() ?? [])
    if (this.#feed !== undefined && this.#alone) await this.#compare(this.#feed, this.#left.meant)
    else if (this.#feed !== undefined) await this.#lines.say('not compared with the feed: other workers have some of the rows')
    this.#applied = true
  }

  async #compare(feed: RunningFeed, meant: number): Promise<void> {
    const { app } = this.#running as Running<readonly unknown[]>
    this.#check = await feed.check({ view: (name) => app.view(name) })
    if (this.#screen !== undefined) return
    await this.#lines.say(plainLine(this.#sample()))
    await this.#tellHighlights(true)
    if (meant > 0) await this.#lines.say(`dead: ${meant} ${meant === 1 ? 'record' : 'records'} that the feed had broken on purpose`)
    await this.#lines.say(this.#check.sentence)
  }

  /** Whether every task runs in this worker. */
  get #alone(): boolean {
    const { app } = this.#running as Running<readonly unknown[]>
    return app.tasks.length === app.plan.stages.reduce((tasks, { partitions }) => tasks + partitions, 0)
  }

  /** Stops what was begun, in the order that loses nothing: who feeds, who reads, who processes. */
  async close(): Promise<void> {
    this.#ending.end()
    for (const step of [
      () => this.#feeding,
      () => this.#feed?.close(),
      () => this.#serving?.close(),
      () => this.#running?.close({ leave: this.#leaves }),
    ]) {
      try {
        await step()
      } catch (error) {
        this.#ending.fail(error)
      }
    }
    await this.#screen?.end()
  }

  /** Whether its group need not wait for it. Who is told to end, as supervisors do it, is started again. */
  get #leaves(): boolean {
    return this.#ending.by !== 'SIGTERM' || this.#options.kafka?.member.membership === 'dynamic'
  }

  /** Says how it ended, and gives the exit code. */
  async report(): Promise<number> {
    const { failure, by } = this.#ending
    await this.#tell(true)
    if (!this.#applied) await this.#tellUnfinished()
    const error = failure ?? this.#halted
    if (this.#left !== undefined && !isWhole(this.#left)) await this.#lines.say(leftLine(this.#left, this.#deadList))
    if (error !== undefined) await this.#shell.err.write(`${errorText(error, paint(this.#shell.err, this.#shell.env))}\n`)
    if (by !== undefined || error !== undefined) await this.#lines.say(this.#whereItGoesOn())
    const code = this.#code()
    if (this.#options.json) {
      const interrupted = by === undefined ? {} : { interrupted: true }
      await this.#shell.out.write(
        `${jsonText({ ...this.#figures(), ...interrupted, ...(error === undefined ? {} : { error: errorData(error) }) })}\n`,
      )
    }
    return code
  }

  #code(): number {
    const { failure, by } = this.#ending
    if (failure !== undefined) return exitCodeOf(failure)
    if (this.#halted !== undefined || this.#check?.equal === false) return EXIT.failed
    if (this.#options.once && this.#left !== undefined && !isWhole(this.#left)) return EXIT.incomplete
    if (by === undefined || (this.#applied && !this.#options.once)) return EXIT.ok
    return by === 'SIGTERM' && !this.#options.once ? EXIT.ok : EXIT.interrupted
  }

  /** The command that tells more of dead letters. */
  get #deadList(): string {
    const { kafka } = this.#options
    return `"tidemark dead list ${kafka === undefined ? `--dir ${quoted(this.#dir)}` : `--kafka --topology ${this.#loaded.name}`}"`
  }

  #whereItGoesOn(): string {
    const feed = this.#feed
    const again = `The next start in ${this.#dir} goes on`
    const group = this.#leaves ? 'It leaves its group for good' : 'It is expected back: its tasks wait for it until its session ends'
    const rest = this.#options.kafka === undefined ? '' : ` ${group}.`
    const fed = feed === undefined || this.#fed ? '' : ` at ${feed.done} of ${feed.total} of the feed, and`
    return `stopped. ${again}${fed} where this one committed.${rest}`
  }

  #figures(): Readonly<Record<string, unknown>> {
    const seconds = Math.round(this.#shell.clock.mono() - this.#began) / 1_000
    const equal = this.#check === undefined ? {} : { equal: this.#check.equal }
    const state = { restored: this.#meter.of('restored'), wipes: this.#meter.of('wipes') }
    const left = this.#left === undefined ? {} : { notApplied: this.#left }
    const unread = this.#feed === undefined ? {} : { unread: this.#feed.problems }
    const held = this.#running?.app.held()
    const heldNow = held === undefined ? {} : { heldNow: { ...heldTogether(held), steps: held } }
    return { ...this.#check?.figures, ...equal, ...countsOf(this.#meter), ...heldNow, ...left, ...unread, ...state, seconds }
  }

  // --- what is shown -----------------------------------------------------------------------------------------------------------

  async #show(last: boolean): Promise<void> {
    const { clock, out, env } = this.#shell
    const now = clock.mono()
    if (!last && now - this.#shownAt < (this.#screen === undefined ? LINE_MS : PICTURE_MS)) return
    this.#shownAt = now
    await this.#findRow()
    if (this.#screen === undefined) {
      await this.#tell(false)
      if (last) return
      await this.#lines.say(plainLine(this.#sample()))
      await this.#tellHighlights(false)
      await this.#lines.next(this.#next)
      return
    }
    await this.#screen.show(picture(this.#sample(), out, paint(out, env)))
  }

  /** Where nothing is redrawn, what has to be told is told once. @param last whether nothing will follow */
  async #tell(last: boolean): Promise<void> {
    if (this.#screen !== undefined) return
    await this.#lines.notices(this.#meter.notices)
    await this.#lines.problems(this.#feed?.problems ?? [], last)
  }

  async #tellHighlights(last: boolean): Promise<void> {
    await this.#lines.highlights(this.#feed?.highlights() ?? [], this.#shell.clock.mono(), last)
  }

  /** What the last lines would have said, had it not ended before. */
  async #tellUnfinished(): Promise<void> {
    if (this.#screen === undefined) await this.#tellHighlights(true)
    await this.#lines.unread(this.#feed?.problems.length ?? 0)
  }

  #sample(): Sample {
    const { app } = this.#running as Running<readonly unknown[]>
    const { clock } = this.#shell
    const now = clock.mono()
    const held = app.held()
    return {
      app: this.#loaded.topology.name,
      where: this.#where,
      elapsedMs: now - this.#began,
      feed: this.#feed === undefined ? undefined : { done: this.#feed.done, total: this.#feed.total },
      rates: this.#meter.rates(now),
      counts: countsOf(this.#meter),
      held: held === undefined ? undefined : heldTogether(held),
      // What nobody has heard of is not known.
      lag: this.#silence.text === undefined ? app.lag() : undefined,
      silent: this.#silence.text,
      resumed: this.#resumed,
      hanging: app.hanging.map(({ message }) => message),
      restoring: this.#meter.restoring,
      views: app.views.map((name) => ({ name, freshness: app.view(name).freshness().projection })),
      highlights: this.#feed?.highlights() ?? [],
      problems: this.#feed?.problems ?? [],
      notices: this.#meter.notices,
      check: this.#check,
      url: this.#serving === undefined ? undefined : `${this.#serving.url}/views`,
      next: this.#next,
    }
  }

  get #next(): Sample['next'] {
    const [view] = (this.#running as Running<readonly unknown[]>).app.views
    return nextSteps(this.#loaded.name, view, this.#serving?.url, this.#rowUrl, this.#check !== undefined)
  }

  /** The address of some row, as soon as there is one. */
  async #findRow(): Promise<void> {
    const { app } = this.#running as Running<readonly unknown[]>
    const [name] = app.views
    if (this.#rowUrl !== undefined || this.#serving === undefined || name === undefined || this.#meter.of('applied') === 0) return
    const { rows } = await app.view(name).page({ limit: 1 })
    const [row] = rows
    if (row !== undefined) this.#rowUrl = `${this.#serving.url}/views/${name}/${encodeURIComponent(row.text)}`
  }
}
