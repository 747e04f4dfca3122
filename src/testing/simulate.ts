/**
 * The simulator: the real runtime on the real embedded log, or on the real Kafka driver over simulated brokers, in a world whose time, chance,
 * disks, network and deaths come from a seed. A violation of what was promised is found again by its seed.
 *
 * What it does not do: run native code (state is in memory, not in LevelDB).
 */
import { TidemarkError } from '../base/errors.ts'
import { avroSerdes } from '../drivers/avro/index.ts'
import { nativeCodecs } from '../drivers/codecs/index.ts'
import { memorySchemas } from '../drivers/schemas/index.ts'
import type { Topology } from '../operators/stream.ts'
import { taskName } from '../plan/naming.ts'
import type { Plan } from '../plan/plan.ts'
import type { Random } from '../ports/clock.ts'
import type { Log } from '../ports/log.ts'
import type { StateDriver } from '../ports/store.ts'
import type { App } from '../runtime/app.ts'
import { type Codecs, codecsOf } from '../runtime/flavours.ts'
import { replay } from '../runtime/replay.ts'
import { verify } from '../runtime/verify.ts'
import type { World as RuntimeWorld } from '../runtime/world.ts'
import { EmbeddedGround } from './simulation/embedded.ts'
import { between, FAULT_KINDS, type FaultKind, Faults, KAFKA_FAULT_KINDS, streamOf } from './simulation/faults.ts'
import { type Fed, Feed } from './simulation/feed.ts'
import type { Death, Hosted } from './simulation/ground.ts'
import { Judge } from './simulation/judge.ts'
import { KafkaGround } from './simulation/kafka.ts'
import { Mishaps } from './simulation/mishaps.ts'
import type { Oracle } from './simulation/oracle.ts'
import { Owner, Scheduler, virtualClock } from './simulation/scheduler.ts'
import { checkedOptions, NEVER_ON_KAFKA, type Settings, settingsOf } from './simulation/settings.ts'
import { described } from './simulation/telling.ts'
import { type Sight, Watch } from './simulation/watch.ts'
import { type Bug, World } from './simulation/world.ts'

export type { FaultKind } from './simulation/faults.ts'
export { FAULT_KINDS, FAULTS, KAFKA_FAULT_KINDS } from './simulation/faults.ts'
export { type Fed, type FedFact, type FedRecord, fed } from './simulation/feed.ts'
export type { Death } from './simulation/ground.ts'
export type { Expected, Oracle, OutputModel, Rows } from './simulation/oracle.ts'
export type { Settings } from './simulation/settings.ts'
export type { Recorded } from './simulation/watch.ts'
export type { Bug } from './simulation/world.ts'

export interface SimulateOptions {
  readonly seed: number
  /** What the log is. Default: the embedded one. On Kafka the guarantee is exactly-once unless it is given. */
  readonly log?: 'embedded' | 'kafka'
  /** What producers send, in this order; duplicates and disorder are added by the seed. */
  readonly feed: (random: Random) => readonly Fed[]
  /** What must come of it. Without it only what holds for every topology is checked. */
  readonly oracle?: Oracle
  /** The kinds of fault to have. Default: drawn by the seed. */
  readonly faults?: readonly FaultKind[]
  /** Settings that are not to be drawn by the seed. */
  readonly settings?: Partial<Settings>
  /** Deaths of the process that are no matter of chance: each before the event of this number, in this order. */
  readonly deaths?: readonly Death[]
  readonly bug?: Bug
  /** Hears every event, as a line. */
  readonly trace?: (line: string) => void
}

export interface Simulated {
  readonly seed: number
  /** What was promised and not kept, in the order in which it was found; empty when all is well. */
  readonly violations: readonly string[]
  readonly faults: readonly FaultKind[]
  readonly settings: Settings
  /** Deaths of the process and of workers. */
  readonly crashes: number
  readonly events: number
  readonly simulatedMs: number
  /** Equal for two runs if and only if the same happened in both, in the same order. */
  readonly digest: number
  /** How often somebody looked at the world and compared it with what it must be. */
  readonly looks: number
}

/** Once faults have stopped, everything must be processed within this time, ms of simulated time. */
const LIVENESS_MS = 60_000
const EVENTS_MAX = 400_000
/** After so many violations a run ends: the first ones tell the story. */
const VIOLATIONS_MAX = 5

/**
 * @example
 * const { violations } = await simulate(retail, { seed: 7, feed: (random) => placedOrders(random, 50) })
 * expect(violations).toEqual([])
 */
export async function simulate(topology: Topology, options: SimulateOptions): Promise<Simulated> {
  const mend = checkedOptions(topology, options).bug?.patch?.()
  try {
    return await new Simulation(topology, options).run()
  } finally {
    mend?.()
  }
}

class Simulation {
  readonly #topology: Topology
  readonly #options: SimulateOptions
  readonly #scheduler: Scheduler
  readonly #faults: Faults
  readonly #kinds: readonly FaultKind[]
  readonly #settings: Settings
  readonly #world: World
  readonly #mishaps: Mishaps
  readonly #looks: Random
  readonly #observer = new Owner('observer')
  readonly #schemas = memorySchemas()
  readonly #violations: string[] = []
  #codecs: Codecs | undefined
  #feed: Feed | undefined
  #watch: Watch | undefined
  #judge: Judge | undefined
  /** The log that is open: to look at, and for what is done without a worker. */
  #seen: Log | undefined
  #plain: Log | undefined
  #nextLook = 0
  #looked = 0

  constructor(topology: Topology, options: SimulateOptions) {
    const { seed, trace } = options
    const onKafka = options.log === 'kafka'
    this.#topology = topology
    this.#options = options
    this.#kinds = onKafka ? KAFKA_FAULT_KINDS : FAULT_KINDS
    this.#settings = settingsOf(seed, { ...(onKafka ? { guarantee: 'exactly-once' } : {}), ...options.settings })
    this.#faults = new Faults(seed, options.faults, this.#kinds, onKafka ? NEVER_ON_KAFKA[this.#settings.guarantee] : [])
    this.#looks = streamOf(seed, 'looks')
    this.#scheduler = new Scheduler({ onEvent: (events) => this.#onEvent(events), ...(trace === undefined ? {} : { trace }) })
    this.#world = new World({
      graph: topology.graph,
      seed,
      scheduler: this.#scheduler,
      settings: this.#settings,
      faults: this.#faults,
      schemas: this.#schemas,
      serdes: (schemas, now) => avroSerdes(schemas, { now }),
      bug: options.bug ?? {},
      ground: (world) => (onKafka ? new KafkaGround(world) : new EmbeddedGround(world)),
      onViolation: (violation) => this.#report(violation),
      onEvent: (event) => {
        // What a store holds right after it was opened is worth a look.
        if (event.kind === 'task' && event.state === 'running') this.#lookSoon()
        trace?.(`${' '.repeat(24)} telemetry: ${described(event)}`)
      },
    })
    this.#world.onOpened = (hosted, owner, lossy) => this.#onOpened(hosted, owner, lossy)
    this.#world.onLate = () => this.#lookSoon()
    this.#world.onStarted = (app) => this.#onPlan(app.plan)
    this.#mishaps = new Mishaps(this.#world, options.deaths)
  }

  async run(): Promise<Simulated> {
    const { seed } = this.#options
    const { activeMs, chunk } = this.#settings
    const serdes = avroSerdes(this.#schemas)
    this.#codecs = await codecsOf(this.#topology.graph, serdes)
    const parts = { codecs: nativeCodecs, random: streamOf(seed, 'producers'), faults: this.#faults, chunk, activeMs }
    this.#feed = await Feed.make(this.#options.feed(streamOf(seed, 'feed')), serdes, parts)
    this.#world.start()
    await this.#scheduler.run(() => this.#hopeless || this.#scheduler.now >= activeMs)
    this.#mishaps.end()
    await this.#settle()
    // What has been removed cannot be made anew from.
    if (this.#violations.length === 0 && this.#settings.replay && !this.#faults.has('log-trimmed')) await this.#rebuild()
    this.#scheduler.end()
    return {
      seed,
      violations: this.#violations,
      faults: this.#kinds.filter((kind) => this.#faults.has(kind)),
      settings: this.#settings,
      crashes: this.#world.crashes,
      events: this.#scheduler.events,
      simulatedMs: this.#scheduler.now,
      digest: this.#scheduler.digest,
      looks: this.#looked,
    }
  }

  get #hopeless(): boolean {
    return this.#violations.length >= VIOLATIONS_MAX || this.#scheduler.events >= EVENTS_MAX
  }

  #report(violation: string): void {
    if (this.#violations.length < VIOLATIONS_MAX && !this.#violations.includes(violation)) this.#violations.push(violation)
    this.#options.trace?.(`${' '.repeat(24)} VIOLATION: ${violation}`)
  }

  #onOpened({ seen, plain }: Hosted, owner: Owner, lossy: boolean): void {
    this.#seen = seen
    this.#plain = plain
    this.#watch?.reopened(lossy)
    if (lossy) this.#judge?.lostPower()
    const clock = virtualClock(this.#scheduler, owner, this.#world.wall, () => 0)
    const feed = this.#feed as Feed
    void feed.run(plain, clock, () => this.#at(owner, 'producers look', () => feed.sent(seen)))
  }

  #onPlan(plan: Plan): void {
    if (this.#watch !== undefined) return
    const codecs = this.#codecs as Codecs
    this.#watch = new Watch(plan, codecs)
    this.#judge = new Judge({
      plan,
      codecs,
      oracle: this.#options.oracle ?? {},
      exactlyOnce: this.#settings.guarantee === 'exactly-once',
      compacts: this.#compacts,
      report: (violation) => this.#report(violation),
    })
  }

  #lookSoon(): void {
    this.#nextLook = Math.min(this.#nextLook, this.#scheduler.events + 1)
  }

  #onEvent(events: number): void {
    this.#mishaps.onEvent(events)
    if (events < this.#nextLook) return
    this.#nextLook = events + between(this.#looks, 20, 300)
    void this.#look()
  }

  /** Sees something in an event of its own; again, when it was not to be seen at that moment. */
  #at<T>(owner: Owner, label: string, see: () => Promise<T>): Promise<T> {
    return new Promise((resolve) => {
      const again = (): void => void this.#scheduler.after(1, owner, label, () => this.#scheduler.look(see, resolve, again))
      again()
    })
  }

  async #look(): Promise<Sight | undefined> {
    const client = this.#seen
    const watch = this.#watch
    if (client === undefined || watch === undefined || this.#world.life?.hosted === undefined) return undefined
    return new Promise((resolve) => {
      const nothing = (): void => resolve(undefined)
      this.#scheduler.after(0, this.#observer, 'look', () => {
        if (this.#seen !== client || this.#world.life?.hosted === undefined) {
          nothing()
          return
        }
        const judge = (sight: Sight): void => {
          this.#looked += 1
          this.#judge?.look(sight)
          resolve(sight)
        }
        this.#scheduler.look(() => watch.see(client, this.#world.stores, this.#world.life?.hosted?.hides), judge, nothing)
      })
    })
  }

  // --- the end -----------------------------------------------------------------------------------------------------------------

  /** O6, and then everything that must hold in the end. */
  async #settle(): Promise<void> {
    const until = this.#scheduler.now + LIVENESS_MS
    let settled = false
    let why = 'nothing has been seen'
    const watch = async (): Promise<void> => {
      const sight = await this.#look()
      const unsettled = this.#unsettled(sight)
      settled = unsettled === undefined
      why = unsettled ?? ''
    }
    const again = (): void => {
      this.#scheduler.after(100, this.#observer, 'settled?', () => void watch().then(() => (settled ? undefined : again())))
    }
    again()
    await this.#scheduler.run(() => settled || this.#hopeless || this.#scheduler.now > until)
    if (this.#hopeless) {
      if (this.#violations.length === 0) this.#report(`O6: more than ${EVENTS_MAX} events and no end: ${why}`)
      return
    }
    if (!settled) {
      this.#report(`O6: not everything is processed ${LIVENESS_MS / 1_000} s after faults have stopped: ${why}`)
      return
    }
    this.#mishaps.over()
    let judged = false
    void this.#at(this.#observer, 'the end', async () => ({
      sight: await (this.#watch as Watch).see(this.#seen as Log, this.#world.stores, this.#world.life?.hosted?.hides),
      views: await this.#views(),
    })).then(({ sight, views }) => {
      this.#judge?.end(sight, views)
      judged = true
    })
    await this.#scheduler.run(() => judged)
    const { account } = this.#options.oracle ?? {}
    const wrong = account?.((counter, step) => this.#world.count(counter, step))
    if (wrong !== undefined) this.#report(`O7: ${wrong}`)
    for (const why of this.#world.wipes) if (!this.#mayWipe(why)) this.#report(`O13: state was dropped without damage (${why})`)
  }

  /** State that a power cut has left ahead of its log, or with a hole, is dropped, and state that compaction has passed while its worker was away. */
  #mayWipe(why: string): boolean {
    return this.#world.lossyCuts > 0 || this.#world.holes > 0 || (why === 'POSITION_GAP' && this.#compacts)
  }

  get #compacts(): boolean {
    return this.#options.log !== 'kafka' && this.#settings.segmentBytes < 1_000_000
  }

  /** What is still to be done; undefined when nothing is. */
  #unsettled(sight: Sight | undefined): string | undefined {
    const { life } = this.#world
    if (sight === undefined || life === undefined) return 'no log is open'
    if (this.#scheduler.now < this.#world.waitingUntil) return 'somebody waits because of a fault'
    if (!(this.#feed as Feed).done) return 'not everything is sent'
    const judge = this.#judge as Judge
    const { inputs, plan } = this.#watch as Watch
    const workers = [...life.workers.values()]
    const tasks = workers.flatMap(({ instance, app }) => app?.tasks.map((task) => ({ ...task, instance })) ?? [])
    const states = tasks.map(({ instance, name, state }) => `${instance}:${name} ${state}`).join()
    if (!judge.caughtUp(sight, inputs)) return `${judge.lag(sight, inputs)} (${states})`
    const running = new Set(tasks.flatMap(({ name, state }) => (state === 'running' ? [name] : [])))
    const all = plan.stages.flatMap((stage) => Array.from({ length: stage.partitions }, (_, partition) => taskName(stage.name, partition)))
    if (!all.every((name) => running.has(name))) return `not all tasks run (${states})`
    const ready = workers.length >= this.#world.wanted.size && workers.every(({ app }) => app?.ready === true)
    if (!ready) return `workers are not ready (${states})`
    if (workers.some(({ app }) => (app?.lag() ?? 0) > 0)) return 'workers have not heard how their commits ended'
    return judge.storesLevel(sight) ? undefined : 'stores are behind'
  }

  /** Rows of all projections, as the workers show them. */
  async #views(): Promise<Map<string, Map<string, unknown>>> {
    const views = new Map<string, Map<string, unknown>>()
    for (const { app } of this.#world.life?.workers.values() ?? []) {
      for (const name of app?.views ?? []) {
        const rows = views.get(name) ?? new Map<string, unknown>()
        views.set(name, rows)
        const view = (app as App).view(name)
        for (let after: string | undefined, more = true; more; ) {
          const page = await view.page(after === undefined ? { limit: 3 } : { after, limit: 3 })
          for (const { text, value } of page.rows) rows.set(text, value)
          after = page.next
          more = after !== undefined
        }
      }
    }
    return views
  }

  /** Everything ends in good order; what is rebuilt from the logs is what was live, and what lies on disk adds up. */
  async #rebuild(): Promise<void> {
    const life = this.#world.life
    const client = this.#plain as Log
    if (life === undefined) return
    this.#seen = undefined
    this.#world.wanted.clear()
    const ending = (async (): Promise<void> => {
      // What has ended is forgotten by its process, so this is asked before.
      const views = new Set([...life.workers.values()].flatMap(({ app }) => app?.views ?? []))
      for (const worker of life.workers.values()) {
        worker.leaving = true
        await worker.app?.close({ leave: true })
      }
      const { owner } = life
      const clock = virtualClock(this.#scheduler, owner, this.#world.wall, () => 0)
      const random = streamOf(this.#options.seed, 'rebuild')
      const serdes = avroSerdes(this.#schemas)
      const telemetry = { count: () => {}, event: () => {} }
      const failpoint = { hit: () => undefined }
      const around: Omit<RuntimeWorld, 'state'> = { log: client, serdes, codecs: nativeCodecs, clock, random, telemetry, failpoint }
      let fit: StateDriver | undefined
      for (const each of this.#world.states) {
        const state = each.driver(owner)
        const { problems } = await verify(this.#topology.graph, { ...around, state })
        for (const { where, error } of problems) if (!this.#mayWipe(error.code)) this.#report(`verify: ${where}: ${error.explain()}`)
        if (problems.length === 0) fit ??= state
      }
      // A disk that is to be dropped when it is opened next cannot be compared with; a new one gets everything from the log.
      const state = fit ?? this.#world.stateOf('rebuild').driver(owner)
      const rebuilding = { ...around, state: this.#options.bug?.state?.(state) ?? state }
      for (const name of views) {
        const replayed = await replay(this.#topology.graph, name, rebuilding, { switch: 'never' })
        for (const each of replayed.projections)
          if (!each.equal) this.#report(`replay: "${each.name}" rebuilt has the state hash ${each.rebuilt}, and live ${each.live}`)
      }
      await life.hosted?.close()
    })()
    let ended = false
    ending.then(
      () => {
        ended = true
      },
      (error: unknown) => {
        ended = true
        this.#report(`the end: ${error instanceof TidemarkError ? error.explain() : ((error as Error).stack ?? String(error))}`)
      },
    )
    const until = this.#scheduler.now + LIVENESS_MS
    await this.#scheduler.run(() => ended || this.#scheduler.now > until)
    if (!ended) this.#report('O6: the application does not close, or a projection is not rebuilt')
  }
}
