/**
 * What can go wrong in a simulated world, and how often. Each seed first draws which kinds of fault it has at all, and how frequent each is:
 * a world in which everything fails all the time never gets to where the rare things happen (swarm testing, Groce et al. 2012).
 */
import type { Random } from '../../ports/clock.ts'
import { seededRandom } from '../random.ts'

/** Every kind of fault, and what it does. */
export const FAULTS = {
  kill: 'the process dies between two awaits, with all workers and the log',
  'power-cut': 'the process dies, and of what was written and not synced some is gone',
  'worker-kill': 'a worker dies and comes back; the log lives on',
  'worker-lost': 'a worker dies and comes back with an empty disk, or another comes in its place',
  'worker-pause': 'a worker stands still, often for longer than its session, and goes on as if nothing had been',
  'worker-cut-off': 'the way between a worker and the log is down for a while',
  'worker-moves': 'workers join and leave',
  'disk-fails': 'an operation of the log on its disk fails, and a write may be done in part',
  'disk-full': 'the disk of the log is full for a while',
  'disk-slow': 'operations of the disk take long',
  'log-refuses': 'a call of the log fails and has no effect',
  'log-unanswered': 'a call of the log takes effect and its sender is not told',
  'log-late': 'a call of the log takes effect after its sender gave up, or is answered late; partitions are told late of a commit',
  'store-fails': 'an operation of the state fails',
  'clock-jumps': 'wall clocks jump, forth and back',
  'schemas-fail': 'the schema source does not answer for a while',
  duplicates: 'producers send facts twice',
  disorder: 'producers send facts of a key in another order than they are numbered',
  'aborted-facts': 'producers abort transactions',
  'request-lost': 'a request to a broker never arrives, nor what is sent behind it on its socket',
  'request-late': 'a request arrives at a broker long after its sender gave the socket up, and maybe sent it again',
  'answer-lost': 'a request takes effect at a broker and its answer is lost with the socket',
  'answer-slow': 'a request or its answer is on its way for so long that its sender may give up',
  'commit-stops': 'a worker stands still, or is cut off, in the middle of a commit, often for longer than its session',
  'write-unsure': 'a broker does what it is asked and answers that it cannot tell',
  'markers-late': 'partitions and groups hear late of the end of a transaction, each at its time',
  'leader-moves': 'another broker leads a partition, and the others hear of it late',
  'coordinator-moves': 'another broker coordinates groups or transactions, and has to read its books first',
  'broker-dies': 'a broker is gone for a while, with its sockets and with whoever waits there',
  'log-trimmed': 'records of an input are removed that have been processed',
  'worker-doubled': 'another process takes the name of a worker that stands still and goes on later',
  'quota-used-up': 'a broker answers, and then reads nothing more from that socket for a while; a Fetch it answers with nothing',
} as const

export type FaultKind = keyof typeof FAULTS

const ON_KAFKA: readonly FaultKind[] = [
  'request-lost',
  'request-late',
  'answer-lost',
  'answer-slow',
  'commit-stops',
  'write-unsure',
  'markers-late',
  'leader-moves',
  'coordinator-moves',
  'broker-dies',
  'log-trimmed',
  'worker-doubled',
  'quota-used-up',
]
/** Where the log is embedded: it has a disk, and calls of its port fail. */
const EMBEDDED: readonly FaultKind[] = ['disk-fails', 'disk-full', 'disk-slow', 'log-refuses', 'log-unanswered', 'log-late']
const ALL = Object.keys(FAULTS) as FaultKind[]
/** What can happen to a world over the embedded log. */
export const FAULT_KINDS: readonly FaultKind[] = ALL.filter((kind) => !ON_KAFKA.includes(kind))
/** What can happen to one over a simulated Kafka. */
export const KAFKA_FAULT_KINDS: readonly FaultKind[] = ALL.filter((kind) => !EMBEDDED.includes(kind))

/** How often a fault of a kind comes where it is not rare and not frequent: a chance a call, or times a second of simulated time. */
const USUAL: Readonly<Record<FaultKind, number>> = {
  kill: 0.25,
  'power-cut': 0.12,
  'worker-kill': 0.25,
  'worker-lost': 0.08,
  'worker-pause': 0.25,
  'worker-cut-off': 0.2,
  'worker-moves': 0.4,
  'disk-fails': 0.25,
  'disk-full': 0.12,
  'disk-slow': 0.02,
  'log-refuses': 0.004,
  'log-unanswered': 0.004,
  'log-late': 0.01,
  'store-fails': 0.004,
  'clock-jumps': 0.4,
  'schemas-fail': 0.2,
  duplicates: 0.12,
  disorder: 0.12,
  'aborted-facts': 0.15,
  'request-lost': 0.004,
  'request-late': 0.004,
  'answer-lost': 0.004,
  'answer-slow': 0.004,
  'commit-stops': 0.004,
  'write-unsure': 0.01,
  'markers-late': 0.1,
  'leader-moves': 1,
  'coordinator-moves': 0.5,
  'broker-dies': 0.15,
  'log-trimmed': 0.3,
  'worker-doubled': 0.15,
  'quota-used-up': 0.004,
}

const SHARE_ON = 0.3

export class Faults {
  readonly kinds: ReadonlySet<FaultKind>
  /** No fault happens while it is false. */
  active = true
  readonly #rates = new Map<FaultKind, number>()
  readonly #streams = new Map<FaultKind, Random>()

  /**
   * @param only the kinds to have; undefined for those that the seed draws
   * @param all the kinds to draw from
   * @param never kinds that are not had although they may be drawn
   */
  constructor(
    seed: number,
    only: readonly FaultKind[] | undefined,
    all: readonly FaultKind[] = FAULT_KINDS,
    never: readonly FaultKind[] = [],
  ) {
    const draw = streamOf(seed, 'kinds')
    const kinds = new Set<FaultKind>()
    // Every stream is drawn from whether it is used or not, so that leaving out one kind leaves the others as they were.
    for (const kind of all) {
      const on = draw.unit() < SHARE_ON
      const rate = USUAL[kind] * 2 ** (draw.unit() * 4 - 2)
      if (only === undefined ? on && !never.includes(kind) : only.includes(kind)) kinds.add(kind)
      this.#rates.set(kind, rate)
      this.#streams.set(kind, streamOf(seed, kind))
    }
    this.kinds = kinds
  }

  has(kind: FaultKind): boolean {
    return this.kinds.has(kind)
  }

  /** Whether a call meets a fault of this kind. */
  strikes(kind: FaultKind, factor = 1): boolean {
    if (!this.kinds.has(kind)) return false
    const struck = this.random(kind).unit() < (this.#rates.get(kind) as number) * factor
    return struck && this.active
  }

  /** Time to the next fault of this kind, ms. */
  nextMs(kind: FaultKind): number {
    return (-Math.log(1 - this.random(kind).unit()) / (this.#rates.get(kind) as number)) * 1_000
  }

  /** Chance of its own: what one kind draws does not change what another does. */
  random(kind: FaultKind): Random {
    return this.#streams.get(kind) as Random
  }
}

/** A stream of chance for one purpose of one seed. */
export function streamOf(seed: number, purpose: string): Random {
  let hash = Math.imul(seed ^ 0x9e3779b9, 0x85ebca6b)
  for (let i = 0; i < purpose.length; i++) hash = Math.imul(hash ^ purpose.charCodeAt(i), 0x01000193)
  return seededRandom(hash ^ (hash >>> 15))
}

export function between(random: Random, least: number, most: number): number {
  return least + Math.floor(random.unit() * (most - least + 1))
}

export function oneOf<T>(random: Random, choices: readonly T[]): T {
  return choices[Math.floor(random.unit() * choices.length)] as T
}

/** Exponential, with a mean; never more than thirty times it. */
export function around(random: Random, mean: number): number {
  return Math.min(30, -Math.log(1 - random.unit())) * mean
}
