/**
 * A simulated world: one machine with a disk, on it one process after the other; in the process the log and its workers, each worker with a
 * disk of its own for state, as if it lived on another machine. What dies is started again after a while, as an operator or Kubernetes would.
 */
import { codeOf, type ErrorCode, messageOf, TidemarkError } from '../../base/errors.ts'
import { nativeCodecs } from '../../drivers/codecs/index.ts'
import type { Dial } from '../../drivers/kafka/sockets.ts'
import type { Random } from '../../ports/clock.ts'
import type { Fs } from '../../ports/fs.ts'
import type { Log } from '../../ports/log.ts'
import type { Codecs } from '../../ports/record-batch/index.ts'
import type { SchemaSource, Serdes } from '../../ports/serde.ts'
import type { StateDriver, StateId, TaskStore } from '../../ports/store.ts'
import type { Counter, Telemetry, TelemetryEvent } from '../../ports/telemetry.ts'
import { App } from '../../runtime/app.ts'
import type { CommitProtocol } from '../../runtime/commit.ts'
import type { World as RuntimeWorld } from '../../runtime/world.ts'
import type { Graph } from '../../topology/node.ts'
import { TEST_EPOCH_MS } from '../clock.ts'
import { around, between, type Faults, streamOf } from './faults.ts'
import { type Death, type Ground, type Hosted, Life, WorkerLife } from './ground.ts'
import { Owner, type Scheduler, virtualClock, type Wall } from './scheduler.ts'
import type { Settings } from './settings.ts'
import { SimulatedState } from './state.ts'

/** A deliberate bug: parts of the world replaced by wrong ones, to see that somebody notices. */
export interface Bug {
  readonly protocol?: CommitProtocol
  readonly log?: (log: Log) => Log
  readonly state?: (state: StateDriver) => StateDriver
  readonly fs?: (fs: Fs) => Fs
  readonly codecs?: Codecs
  /** On Kafka: what a worker sends and hears, one socket after the other; made anew for each worker's life. */
  readonly dial?: () => (dial: Dial) => Dial
  /** Changes what no wrapper can reach, for the time of one run; returns what changes it back. */
  readonly patch?: () => () => void
}

export interface WorldParts {
  readonly graph: Graph
  readonly seed: number
  readonly scheduler: Scheduler
  readonly settings: Settings
  readonly faults: Faults
  readonly schemas: SchemaSource
  readonly serdes: (schemas: SchemaSource, now: () => number) => Serdes
  readonly bug: Bug
  /** What its log stands on. */
  readonly ground: (world: World) => Ground
  readonly onViolation: (violation: string) => void
  readonly onEvent: (event: TelemetryEvent) => void
}

/** Errors that a worker may end of while there are faults: it is started again. Any other is a defect. */
const EXPECTED: ReadonlySet<ErrorCode> = new Set([
  'LOG_IO',
  'LOG_CLOSED',
  'BROKER_UNREACHABLE',
  'SCHEMA_SOURCE_FAILED',
  'STORE_IO',
  'COMMIT_ABORTED',
  'COMMIT_IN_DOUBT',
  'COMMIT_REJECTED',
  'WRITER_FENCED',
  'MEMBER_LOST',
  'MEMBER_REPLACED',
  'DEAD_LETTER_FAILED',
])

export class World {
  readonly parts: WorldParts
  readonly ground: Ground
  /** By counter and step. */
  readonly counts: Map<string, number> = new Map()
  /** Why state was dropped, each time that it was. */
  readonly wipes: string[] = []
  readonly wall: Wall = { offsetMs: TEST_EPOCH_MS }
  /** Workers that should run. */
  readonly wanted: Set<string> = new Set()
  life: Life | undefined
  crashes = 0
  /** Power cuts that may have taken what the log had acknowledged. */
  lossyCuts = 0
  schemasFail = false
  /** Called when a process has opened the log. */
  onOpened: (hosted: Hosted, owner: Owner, lossy: boolean) => void = () => {}
  /** Called when something came late and took effect all the same: worth a look. */
  onLate: () => void = () => {}
  /** Until then somebody waits because of a fault, ms of simulated time. */
  waitingUntil = 0
  /** Called when an application has started. */
  onStarted: (app: App) => void = () => {}
  readonly #states = new Map<string, SimulatedState>()
  /** For what happens to the world as a whole. */
  readonly chance: Random
  readonly #delays: Random
  readonly #doubled: WorkerLife[] = []
  #lives = 0
  #starts = 0
  #lossy = false

  constructor(parts: WorldParts) {
    this.parts = parts
    const { seed, settings } = parts
    this.#delays = streamOf(seed, 'delays')
    this.chance = streamOf(seed, 'chance')
    this.ground = parts.ground(this)
    for (let i = 0; i < settings.workers; i++) this.wanted.add(String(i))
  }

  diskMs(): number {
    const slow = this.parts.faults.strikes('disk-slow') ? around(this.parts.faults.random('disk-slow'), 150) : 0
    return around(this.#delays, 0.1) + slow
  }

  legMs(): number {
    const late = this.parts.faults.strikes('log-late') ? around(this.parts.faults.random('log-late'), 300) : 0
    return around(this.#delays, 0.3) + late
  }

  // --- starting ----------------------------------------------------------------------------------------------------------------

  start(): void {
    const life = new Life(this.#lives++)
    this.life = life
    void this.#boot(life)
  }

  async #boot(life: Life): Promise<void> {
    try {
      life.hosted = await this.ground.open(life)
    } catch (error) {
      this.#judge('the log', error)
      this.#restart(life, 'kill')
      return
    }
    this.onOpened(life.hosted, life.owner, this.#lossy)
    this.#lossy = false
    this.#supervise(life)
    for (const instance of this.wanted) this.startWorker(instance)
  }

  /** A log that writes no more has to be opened again, which nobody but an operator can do. */
  #supervise(life: Life): void {
    this.parts.scheduler.after(250, life.owner, 'supervisor', () => {
      if (life.hosted?.failure !== undefined) this.#restart(life, 'kill')
      else this.#supervise(life)
    })
  }

  startWorker(instance: string): void {
    const { life } = this
    if (life?.hosted === undefined || life.workers.has(instance)) return
    if (!this.ground.free(instance)) {
      this.parts.scheduler.after(20, life.owner, 'wait', () => this.startWorker(instance))
      return
    }
    const worker = new WorkerLife(instance, this.#starts++, life.owner)
    life.workers.set(instance, worker)
    void this.#runWorker(life, worker)
  }

  async #runWorker(life: Life, worker: WorkerLife): Promise<void> {
    const { graph, settings, bug } = this.parts
    const { instance } = worker
    try {
      const { protocol } = bug
      const linkClock = virtualClock(this.parts.scheduler, worker.link, this.wall, () => around(this.#delays, 0.02))
      const log = (life.hosted as Hosted).worker(worker, linkClock)
      // Not awaited where it is there: a turn more would make every seed another story.
      const app = await App.start(graph, this.#worldOf(worker, log instanceof Promise ? await log : log), {
        ...settings,
        cacheKeys: settings.cacheKeys * 4,
        cacheKeysFirst: settings.cacheKeys,
        instance,
        freezeRows: true,
        ...(protocol === undefined ? {} : { protocol }),
      })
      worker.app = app
      this.onStarted(app)
      await app.ended()
      worker.owner.die()
    } catch (error) {
      if (life !== this.life) return
      // Of one whose name another process has, only what it does to the log is judged, not how it finds out.
      if (life.workers.get(instance) === worker) this.#judge(`worker ${instance}`, error)
      this.endWorker(worker)
    }
    if (life.workers.get(instance) === worker) life.workers.delete(instance)
    if (life.hosted?.failure !== undefined) this.#restart(life, 'kill')
    else this.#later(life, instance)
  }

  #worldOf(worker: WorkerLife, log: Log): RuntimeWorld {
    const { scheduler, bug, serdes, seed } = this.parts
    const clock = virtualClock(scheduler, worker.owner, this.wall, () => around(this.#delays, 0.02))
    const driver = this.stateOf(worker.instance).driver(worker.owner)
    return {
      log: bug.log?.(log) ?? log,
      state: bug.state?.(driver) ?? driver,
      serdes: serdes(this.#source(worker.owner), () => clock.mono()),
      codecs: bug.codecs ?? nativeCodecs,
      clock,
      random: streamOf(seed, worker.owner.name),
      telemetry: this.#telemetry(worker),
      failpoint: { hit: () => undefined },
    }
  }

  #source(owner: Owner): SchemaSource {
    const { schemas, scheduler } = this.parts
    const asked = async <T>(ask: () => Promise<T>): Promise<T> => {
      await scheduler.wait(this.legMs(), owner, 'schemas')
      if (this.schemasFail) throw new TidemarkError('SCHEMA_SOURCE_FAILED', 'the schema source did not answer')
      return ask()
    }
    return { byId: (id) => asked(() => schemas.byId(id)), idOf: (subject, schema) => asked(() => schemas.idOf(subject, schema)) }
  }

  /** Stores that power cuts have left without an earlier batch. */
  get holes(): number {
    return [...this.#states.values()].reduce((sum, state) => sum + state.holes, 0)
  }

  stateOf(instance: string): SimulatedState {
    let state = this.#states.get(instance)
    if (state === undefined) {
      const { scheduler, faults, seed } = this.parts
      state = new SimulatedState({
        scheduler,
        random: streamOf(seed, `state ${instance}`),
        delayMs: () => this.diskMs(),
        fails: () => faults.strikes('store-fails'),
      })
      this.#states.set(instance, state)
    }
    return state
  }

  get states(): readonly SimulatedState[] {
    return [...this.#states.values()]
  }

  /** Every open store of workers that run. */
  get stores(): { readonly worker: string; readonly id: StateId; readonly store: TaskStore }[] {
    return [...this.#states].flatMap(([worker, state]) => state.stores.map(({ id, store }) => ({ worker, id, store })))
  }

  #telemetry(worker: WorkerLife): Telemetry {
    return {
      count: (counter: Counter, { step = '', value }, by = 1) => {
        const name = `${counter} ${step}`
        this.counts.set(name, (this.counts.get(name) ?? 0) + by)
        if (counter === 'wipes') this.wipes.push(String(value))
      },
      event: (event) => {
        if (worker.owner.dead) return
        this.parts.onEvent(event)
      },
    }
  }

  count(counter: Counter, step: string): number {
    return this.counts.get(`${counter} ${step}`) ?? 0
  }

  // --- ending ------------------------------------------------------------------------------------------------------------------

  #judge(who: string, error: unknown): void {
    const code = codeOf(error)
    if (code !== undefined && EXPECTED.has(code)) return
    const why =
      error instanceof TidemarkError ? error.explain() : error instanceof Error ? (error.stack ?? messageOf(error)) : String(error)
    this.parts.onViolation(`${who} ended: ${why}`)
  }

  /** A worker ends without another word. */
  endWorker(worker: WorkerLife): void {
    worker.owner.die()
    // The disk of one whose name another process has is no matter of anybody's any more.
    if (this.life?.workers.get(worker.instance) === worker) void this.stateOf(worker.instance).crash()
  }

  killWorker(worker: WorkerLife, { loseDisk = false }: { loseDisk?: boolean } = {}): void {
    const { life } = this
    if (life === undefined) return
    this.crashes += 1
    this.endWorker(worker)
    if (loseDisk) this.#states.delete(worker.instance)
    life.workers.delete(worker.instance)
    this.#later(life, worker.instance)
  }

  /** Another process takes the name of a worker, on another machine: who believes that it was dead is wrong. */
  double(worker: WorkerLife): void {
    const { life } = this
    if (life === undefined) return
    life.workers.delete(worker.instance)
    this.#states.delete(worker.instance)
    this.#doubled.push(worker)
    this.startWorker(worker.instance)
  }

  /** An operator finds those whose names others have, and ends them. */
  endDoubled(): void {
    for (const { owner } of this.#doubled.splice(0)) owner.die()
  }

  #later(life: Life, instance: string): void {
    if (!this.wanted.has(instance)) return
    const delay = this.chance.unit() < 0.7 ? between(this.chance, 1, 200) : between(this.chance, 200, 4_000)
    this.parts.scheduler.after(delay, life.owner, `start w${instance}`, () => {
      if (this.wanted.has(instance)) this.startWorker(instance)
    })
  }

  /** The process dies; with the power, what is not safe on a disk may be gone. It is started again. */
  kill(how: Death['kind']): void {
    const { life } = this
    if (life === undefined) return
    this.crashes += 1
    this.#restart(life, how)
  }

  #restart(life: Life, how: Death['kind']): void {
    if (this.life !== life) return
    life.owner.die()
    this.life = undefined
    if (this.ground.died(how)) {
      this.lossyCuts += 1
      this.#lossy = true
    }
    for (const state of this.#states.values()) void (how !== 'kill' ? state.powerCut() : state.crash())
    const nobody = new Owner('machine')
    this.parts.scheduler.after(between(this.chance, 1, 400), nobody, 'start', () => this.start())
  }
}
