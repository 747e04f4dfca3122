/** When things go wrong that do not hang on a call: deaths, pauses, comings and goings, clocks, full disks. */
import { TEST_EPOCH_MS } from '../clock.ts'
import { around, between, type FaultKind, type Faults, oneOf } from './faults.ts'
import type { Death, WorkerLife } from './ground.ts'
import { Owner, type Scheduler } from './scheduler.ts'
import type { World } from './world.ts'

/** Workers at one time, those that join included. */
const WORKERS_MAX = 4

export class Mishaps {
  readonly #world: World
  readonly #faults: Faults
  readonly #scheduler: Scheduler
  readonly #fate = new Owner('fate')
  readonly #paused = new Set<Owner>()
  readonly #deeds: { readonly [Kind in FaultKind]?: () => void }
  #joined = 0
  /** Those that are still to come: of the seed, and of whoever asked for them. */
  #deaths: Death[] = []
  #wished: Death[]

  constructor(world: World, deaths: readonly Death[] = []) {
    this.#world = world
    this.#wished = [...deaths]
    this.#faults = world.parts.faults
    this.#scheduler = world.parts.scheduler
    this.#deeds = {
      ...this.#common,
      ...world.ground.deeds({ until: (ms, undo) => this.#until(ms, undo), still: (owner, kind) => this.#still(owner, kind) }),
    }
    for (const kind of this.#faults.kinds) this.#plan(kind)
  }

  /** Between two events anybody may die: called before each. */
  onEvent(events: number): void {
    for (const deaths of [this.#deaths, this.#wished]) {
      const place = deaths.findIndex(({ event }) => event <= events)
      const [due] = place < 0 ? [] : deaths.splice(place, 1)
      if (due !== undefined) this.#world.kill(due.kind)
    }
  }

  #plan(kind: FaultKind): void {
    const deed = this.#deeds[kind]
    if (deed === undefined) return
    this.#scheduler.after(this.#faults.nextMs(kind), this.#fate, kind, () => {
      if (!this.#faults.active) return
      deed()
      this.#plan(kind)
    })
  }

  readonly #common: { readonly [Kind in FaultKind]?: () => void } = {
    // A death comes some events later, so that it strikes where much happens and not where much time passes.
    kill: () => this.#dieSoon('kill'),
    'power-cut': () => this.#dieSoon('power-cut'),
    'worker-kill': () => {
      const worker = this.#anyone('worker-kill')
      if (worker !== undefined) this.#world.killWorker(worker)
    },
    'worker-lost': () => {
      const worker = this.#anyone('worker-lost')
      if (worker === undefined) return
      // As often as not its successor has another name, and nobody comes back to end what it had begun.
      if (this.#faults.random('worker-lost').unit() < 0.5) this.#world.wanted.delete(worker.instance)
      this.#world.killWorker(worker, { loseDisk: true })
      if (!this.#world.wanted.has(worker.instance)) this.#welcome(String(this.#joined++ + 5))
    },
    'worker-pause': () => {
      const worker = this.#anyone('worker-pause')
      if (worker !== undefined) this.#still(worker.owner, 'worker-pause')
    },
    'worker-cut-off': () => {
      const worker = this.#anyone('worker-cut-off')
      if (worker !== undefined) this.#still(worker.link, 'worker-cut-off')
    },
    'worker-doubled': () => {
      const worker = this.#anyone('worker-doubled')
      if (worker === undefined) return
      this.#still(worker.owner, 'worker-doubled')
      this.#world.double(worker)
    },
    'worker-moves': () => this.#move(),
    'clock-jumps': () => {
      const random = this.#faults.random('clock-jumps')
      this.#world.wall.offsetMs = TEST_EPOCH_MS + oneOf(random, [-86_400_000, -3_600_000, -1_000, 0, 1_000, 3_600_000, 86_400_000])
    },
    'schemas-fail': () => {
      this.#world.schemasFail = true
      this.#until(around(this.#faults.random('schemas-fail'), 500), () => {
        this.#world.schemasFail = false
      })
    },
  }

  #dieSoon(kind: 'kill' | 'power-cut'): void {
    this.#deaths.push({ event: this.#scheduler.events + between(this.#faults.random(kind), 1, 60), kind })
  }

  #anyone(kind: FaultKind): WorkerLife | undefined {
    const workers = [...(this.#world.life?.workers.values() ?? [])]
    return workers.length === 0 ? undefined : oneOf(this.#faults.random(kind), workers)
  }

  #still(owner: Owner, kind: FaultKind): void {
    const random = this.#faults.random(kind)
    const { sessionMs } = this.#world.parts.settings
    this.#scheduler.pause(owner)
    this.#paused.add(owner)
    this.#until(random.unit() < 0.6 ? sessionMs * (0.8 + random.unit()) : around(random, 200), () => {
      this.#paused.delete(owner)
      this.#scheduler.resume(owner)
    })
  }

  #move(): void {
    const { wanted, life } = this.#world
    const random = this.#faults.random('worker-moves')
    if (wanted.size < 2 || (wanted.size < WORKERS_MAX && random.unit() < 0.5)) {
      // Some come for the first time, some come back and find the disk that they left.
      const instance = random.unit() < 0.4 ? String(this.#joined++ + 5) : String(between(random, 0, 3))
      this.#welcome(instance)
      return
    }
    const instance = oneOf(random, [...wanted])
    const worker = life?.workers.get(instance)
    if (worker?.app === undefined) return
    wanted.delete(instance)
    worker.leaving = true
    void worker.app.close({ leave: true }).catch(() => {})
  }

  #welcome(instance: string): void {
    this.#world.wanted.add(instance)
    this.#world.startWorker(instance)
  }

  #until(ms: number, undo: () => void): void {
    this.#scheduler.after(ms, this.#fate, 'mended', undo)
  }

  /** Nothing goes wrong by chance from now on, and what is broken is mended. */
  end(): void {
    this.#faults.active = false
    this.#deaths = []
    this.#world.ground.mend()
    this.#world.endDoubled()
    this.#world.schemasFail = false
    for (const owner of this.#paused) this.#scheduler.resume(owner)
    this.#paused.clear()
  }

  /** Nobody dies any more. */
  over(): void {
    this.#wished = []
  }
}
