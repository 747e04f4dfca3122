/**
 * The scheduler of a simulated world: virtual time, and every completion that anybody in it awaits, as an event. One event happens at a time;
 * the next one only after everything that it brought about has run to its next await. Nothing else moves the world, so a run is a pure
 * function of its seed.
 *
 * Events belong to somebody. What belongs to the dead never happens, and what belongs to somebody who is paused happens when that one goes
 * on: a program that is stopped finds its answers waiting.
 */
import { nextTick } from 'node:process'
import { codeOf } from '../../base/errors.ts'
import type { Clock } from '../../ports/clock.ts'

/** Somebody who can die or stand still, with all that is below. */
export class Owner {
  readonly name: string
  readonly above: Owner | undefined
  paused = false
  #dead = false

  constructor(name: string, above?: Owner) {
    this.name = name
    this.above = above
  }

  get dead(): boolean {
    return this.#dead || this.above?.dead === true
  }

  /** Whether nothing of it happens now. */
  get still(): boolean {
    return this.paused || this.above?.still === true
  }

  die(): void {
    this.#dead = true
  }
}

interface Event {
  at: number
  /** Ties are broken by the order in which events were made. */
  readonly order: number
  readonly owner: Owner
  readonly label: string
  run: (() => void) | undefined
}

export interface SchedulerHooks {
  /** Called before each event, with its number. */
  readonly onEvent?: (events: number) => void
  readonly trace?: (line: string) => void
}

export class Scheduler {
  /** Virtual time, ms from 0. */
  now = 0
  /** Events that have happened. */
  events = 0
  /** A fingerprint of what has happened, in order. */
  digest = 0x811c9dc5
  /** What takes back the listeners of those who still sleep: a signal that the dead wait for would be held for ever, and they with it. */
  readonly asleep: Set<() => void> = new Set()
  readonly #hooks: SchedulerHooks
  readonly #heap: Event[] = []
  #made = 0
  /** Events whose turn came while their owner stood still. */
  #held: Event[] = []
  #look: { over: boolean; readonly missed: () => void } | undefined
  /** What a look found that it could not even say. */
  #failed: unknown

  constructor(hooks: SchedulerHooks = {}) {
    this.#hooks = hooks
  }

  /** Lets something happen after `delayMs`. Returns a function that takes it back. */
  after(delayMs: number, owner: Owner, label: string, run: () => void): () => void {
    const event: Event = { at: this.now + delayMs, order: this.#made++, owner, label, run }
    this.#push(event)
    return () => {
      event.run = undefined
    }
  }

  /** Resolves after `delayMs`. While somebody looks at the world, at once. */
  wait(delayMs: number, owner: Owner, label: string): Promise<void> {
    if (this.#look !== undefined) return Promise.resolve()
    return new Promise((resolve) => void this.after(delayMs, owner, label, resolve))
  }

  /**
   * Looks at the world as it stands between two events: whatever `see` awaits is done at once, and nothing else happens meanwhile. Only reads
   * may be awaited. A look that would have to wait for an operation of somebody else, or that meets a fault, is given up: `missed` is called.
   */
  look<T>(see: () => Promise<T>, seen: (what: T) => void, missed: () => void): void {
    const look = { over: false, missed }
    this.#look = look
    see().then(
      (what) => {
        if (this.#look !== look) return
        look.over = true
        seen(what)
      },
      (error: unknown) => {
        if (codeOf(error) === undefined) this.#failed ??= error
      },
    )
  }

  pause(owner: Owner): void {
    owner.paused = true
  }

  /** What waited for `owner` happens now, in the order in which it came. */
  resume(owner: Owner): void {
    owner.paused = false
    const held = this.#held
    this.#held = []
    for (const event of held) {
      event.at = Math.max(event.at, this.now)
      this.#push(event)
    }
  }

  /** Nothing happens any more. */
  end(): void {
    for (const wake of this.asleep) wake()
    this.asleep.clear()
    this.#heap.length = 0
    this.#held = []
  }

  /** Lets events happen until `done`, or until there are none. */
  run(done: () => boolean): Promise<void> {
    return new Promise((resolve, reject) => {
      const step = (): void => {
        try {
          this.#endLook()
          const event = done() ? undefined : this.#next()
          if (event === undefined) {
            resolve()
            return
          }
          this.#happen(event)
        } catch (error) {
          reject(error)
          return
        }
        // A tick comes after all microtasks, those that they queue included: by then everybody waits for an event again.
        void Promise.resolve().then(() => nextTick(step))
      }
      nextTick(step)
    })
  }

  #endLook(): void {
    const look = this.#look
    this.#look = undefined
    if (this.#failed !== undefined) throw this.#failed
    if (look?.over === false) look.missed()
  }

  #happen(event: Event): void {
    this.events += 1
    this.#hooks.onEvent?.(this.events)
    // Its owner may have died right before it.
    if (event.owner.dead) return
    this.#mix(event)
    this.#hooks.trace?.(`${event.at.toFixed(3).padStart(12)}  ${event.owner.name.padEnd(10)} ${event.label}`)
    const { run } = event
    event.run = undefined
    run?.()
  }

  #next(): Event | undefined {
    for (;;) {
      const event = this.#pop()
      if (event === undefined) return undefined
      if (event.run === undefined || event.owner.dead) continue
      this.now = Math.max(this.now, event.at)
      if (!event.owner.still) return event
      this.#held.push(event)
    }
  }

  /** FNV-1a over the moments and labels of events. */
  #mix({ at, label, owner }: Event): void {
    let hash = this.digest ^ (at * 1000)
    for (const text of [owner.name, label]) {
      for (let i = 0; i < text.length; i++) hash = Math.imul(hash ^ text.charCodeAt(i), 0x01000193)
    }
    this.digest = hash >>> 0
  }

  #push(event: Event): void {
    const heap = this.#heap
    let i = heap.push(event) - 1
    while (i > 0) {
      const parent = (i - 1) >> 1
      if (!before(event, heap[parent] as Event)) break
      heap[i] = heap[parent] as Event
      i = parent
    }
    heap[i] = event
  }

  #pop(): Event | undefined {
    const heap = this.#heap
    const first = heap[0]
    const last = heap.pop()
    if (first === undefined || last === undefined || heap.length === 0) return first
    let i = 0
    for (;;) {
      const left = 2 * i + 1
      if (left >= heap.length) break
      const right = left + 1
      const child = right < heap.length && before(heap[right] as Event, heap[left] as Event) ? right : left
      if (!before(heap[child] as Event, last)) break
      heap[i] = heap[child] as Event
      i = child
    }
    heap[i] = last
    return first
  }
}

function before(a: Event, b: Event): boolean {
  return a.at < b.at || (a.at === b.at && a.order < b.order)
}

/** Shifts of the wall clock; the monotonic one knows nothing of them. */
export interface Wall {
  offsetMs: number
}

/** A clock of somebody in the world. Who is dead never wakes. */
export function virtualClock(scheduler: Scheduler, owner: Owner, wall: Wall, lateMs: () => number): Clock {
  return {
    now: () => Math.floor(wall.offsetMs + scheduler.now),
    mono: () => scheduler.now,
    turn: () => scheduler.wait(lateMs(), owner, 'turn'),
    sleep: (ms, signal) =>
      new Promise((resolve, reject) => {
        if (signal?.aborted === true) {
          reject(signal.reason as Error)
          return
        }
        const forget = (): void => {
          signal?.removeEventListener('abort', aborted)
          scheduler.asleep.delete(forget)
        }
        const aborted = (): void => {
          cancel()
          forget()
          reject(signal?.reason as Error)
        }
        const cancel = scheduler.after(Math.max(0, ms) + lateMs(), owner, 'sleep', () => {
          forget()
          resolve()
        })
        if (signal === undefined) return
        signal.addEventListener('abort', aborted)
        scheduler.asleep.add(forget)
      }),
  }
}
