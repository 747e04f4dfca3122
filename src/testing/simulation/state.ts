/**
 * The disk of one worker's state: the memory driver, with its operations as events of the world, and with what a disk does when things end.
 *  - The process dies: a batch on its way is there as a whole or not at all.
 *  - The power goes: batches that were not made durable are gone from some batch on, as from LevelDB's write-ahead file; or an earlier one and not
 *    the later ones, and then the store is refused until it is dropped.
 *  - A write fails: the store refuses all further writes until it is opened again, and then the batch is there or not.
 */
import { TidemarkError } from '../../base/errors.ts'
import { type MemoryState, memoryState } from '../../drivers/memory/index.ts'
import type { Random } from '../../ports/clock.ts'
import type { StateDriver, StateId, StoreBatch, TaskStore } from '../../ports/store.ts'
import type { Owner, Scheduler } from './scheduler.ts'

export interface SimulatedStateOptions {
  readonly scheduler: Scheduler
  readonly random: Random
  readonly delayMs: () => number
  readonly fails: (operation: 'open' | 'read' | 'write') => boolean
}

/** A batch that was asked for and not answered. */
interface UnderWay {
  readonly batch: StoreBatch
}

class Kept {
  readonly id: StateId
  /** Everything that was written, in order. */
  batches: StoreBatch[] = []
  /** How many of them survive a power cut. */
  durable = 0
  open: TaskStore | undefined
  /** Written to since it was opened: what opens a store writes at least how far it is, and drops the store before that if it does not fit. */
  taken = false
  underWay: UnderWay | undefined
  /** A batch is missing among those that are there. */
  hole = false

  constructor(id: StateId) {
    this.id = id
  }
}

export class SimulatedState {
  readonly #options: SimulatedStateOptions
  #memory: MemoryState = memoryState()
  readonly #kept = new Map<string, Kept>()
  /** Stores that a power cut has left with a hole. */
  holes = 0

  constructor(options: SimulatedStateOptions) {
    this.#options = options
  }

  /** The driver as a process sees it that runs now. */
  driver(owner: Owner): StateDriver {
    const { scheduler, delayMs, fails } = this.#options
    const wait = (label: string): Promise<void> => scheduler.wait(delayMs(), owner, `store ${label}`)
    return {
      name: 'simulated',
      open: async (id) => {
        await wait(`open ${nameOf(id)}`)
        if (fails('open')) throw broken('open')
        const kept = this.#keep(id)
        if (kept.hole) throw new TidemarkError('STORE_CORRUPT', 'the power cut has taken an earlier batch and left later ones')
        const store = await this.#memory.open(id)
        kept.open = store
        kept.taken = false
        return this.#store(kept, store, wait)
      },
      quarantine: async (id) => {
        await wait('quarantine')
        await this.#memory.quarantine(id)
        this.#kept.delete(nameOf(id))
      },
      destroy: async (id) => {
        await wait('destroy')
        await this.#memory.destroy(id)
        this.#kept.delete(nameOf(id))
      },
      list: async (app) => {
        await wait('list')
        return this.#memory.list(app)
      },
    }
  }

  #keep(id: StateId): Kept {
    let kept = this.#kept.get(nameOf(id))
    if (kept === undefined) {
      kept = new Kept({ ...id })
      this.#kept.set(nameOf(id), kept)
    }
    return kept
  }

  #store(kept: Kept, store: TaskStore, wait: (label: string) => Promise<void>): TaskStore {
    const { fails, random } = this.#options
    let refusing = false
    const put = async (batch: StoreBatch): Promise<void> => {
      await store.write(batch)
      kept.batches.push(batch)
      kept.taken = true
    }
    return {
      get: (key) => {
        if (fails('read')) throw broken('read')
        return store.get(key)
      },
      range: async (range) => {
        await wait('range')
        if (fails('read')) throw broken('read')
        return store.range(range)
      },
      write: async (batch, options = {}) => {
        const copy = copyOf(batch)
        kept.underWay = { batch: copy }
        await wait('write')
        kept.underWay = undefined
        if (refusing) throw broken('write')
        if (fails('write')) {
          refusing = true
          if (random.unit() < 0.5) await put(copy)
          throw broken('write')
        }
        await put(copy)
        if (options.durable === true) kept.durable = kept.batches.length
      },
      close: async () => {
        await wait('close')
        if (kept.open === store) kept.open = undefined
        await store.close()
      },
    }
  }

  /** Stores that are open and were found fit, for whoever looks at the world. */
  get stores(): readonly { readonly id: StateId; readonly store: TaskStore }[] {
    return [...this.#kept.values()].flatMap(({ id, open, taken }) => (open === undefined || !taken ? [] : [{ id, store: open }]))
  }

  /** The process that had it open is gone. */
  async crash(): Promise<void> {
    this.#memory.crash()
    for (const kept of this.#kept.values()) {
      kept.open = undefined
      const { underWay } = kept
      kept.underWay = undefined
      if (underWay === undefined || this.#options.random.unit() < 0.5) continue
      kept.batches.push(underWay.batch)
      await this.#fill(kept, [underWay.batch])
    }
  }

  /** The machine is gone, too: of what was not durable some is lost. Returns whether anything was. */
  async powerCut(): Promise<boolean> {
    await this.crash()
    const { random } = this.#options
    let lost = false
    this.#memory = memoryState()
    for (const kept of this.#kept.values()) {
      const loose = kept.batches.length - kept.durable
      const left = random.unit() < 0.3 ? loose : Math.floor(random.unit() * (loose + 1))
      lost ||= left < loose
      // Drawn from what is there: a draw more would make every kept seed another story.
      if (left < loose && left % 4 === 3) {
        kept.hole = true
        this.holes += 1
      }
      kept.batches.length = kept.durable + left
      kept.durable = kept.batches.length
      await this.#fill(kept, kept.batches)
    }
    return lost
  }

  async #fill({ id }: Kept, batches: readonly StoreBatch[]): Promise<void> {
    const store = await this.#memory.open(id)
    for (const batch of batches) await store.write(batch)
    await store.close()
  }
}

function copyOf({ keys, values }: StoreBatch): StoreBatch {
  return { keys: keys.map((key) => Buffer.from(key)), values: values.map((value) => (value === null ? null : Buffer.from(value))) }
}

function nameOf({ stage, generation, partition }: StateId): string {
  return `${stage}-g${generation}/${partition}`
}

function broken(operation: string): TidemarkError {
  return new TidemarkError('STORE_IO', `the disk refused to ${operation} state`)
}
