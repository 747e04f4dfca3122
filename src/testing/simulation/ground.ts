/**
 * What the log of a simulated world stands on, and who lives there: the embedded log on a disk that dies with its process, or a cluster of
 * brokers that goes on whatever happens to its clients.
 */
import type { Clock } from '../../ports/clock.ts'
import type { Log } from '../../ports/log.ts'
import type { App } from '../../runtime/app.ts'
import type { FaultKind } from './faults.ts'
import { Owner } from './scheduler.ts'

/** The process dies before an event: alone, with the power, or with a power that leaves of what was not synced any sectors of each file. */
export interface Death {
  readonly event: number
  readonly kind: 'kill' | 'power-cut' | 'torn'
}

/** One worker, from its start to its end. */
export class WorkerLife {
  readonly instance: string
  /** The worker's program, and below it what connects it to the log. */
  readonly owner: Owner
  readonly link: Owner
  app: App | undefined
  /** Leaves for good, by its own will. */
  leaving = false

  constructor(instance: string, number: number, process: Owner) {
    this.instance = instance
    this.owner = new Owner(`w${instance}.${number}`, process)
    this.link = new Owner(`w${instance}.${number}=`, this.owner)
  }
}

/** One process, from its start to its end. */
export class Life {
  readonly owner: Owner
  hosted: Hosted | undefined
  readonly workers: Map<string, WorkerLife> = new Map()

  constructor(number: number) {
    this.owner = new Owner(`p${number}`)
  }
}

/** A log that is open, as the processes of one life have it. */
export interface Hosted {
  /** Why it writes no more: somebody has to open it again. */
  readonly failure: unknown
  /** For whoever looks at the world: nothing goes wrong on the way, and reads are done at once. */
  readonly seen: Log
  /** Whether a partition has committed records behind an open transaction. */
  readonly hides?: (topic: string, partition: number) => boolean
  /** For producers, and for what is done without a worker. */
  readonly plain: Log
  /** For a worker, as it sees the log from where it is. @param linkClock of what connects it */
  worker(worker: WorkerLife, linkClock: Clock): Log | Promise<Log>
  close(): Promise<void>
}

/** What whoever does mischief can do to the world. */
export interface Hands {
  /** Undoes something after a time, ms. */
  readonly until: (ms: number, undo: () => void) => void
  /** Lets somebody stand still, often for longer than a session. @param kind whose chance says how long */
  readonly still: (owner: Owner, kind: FaultKind) => void
}

export interface Ground {
  /** Opens the log for a process. */
  open(life: Life): Promise<Hosted>
  /** A process has died, and maybe the power with it. Returns whether what the log had acknowledged may be gone. */
  died(how: Death['kind']): boolean
  /** Whether a worker of this name may start: what the log has taken of its predecessor is done first. */
  free(instance: string): boolean
  /** What can go wrong with it that does not hang on a call. */
  deeds(hands: Hands): { readonly [Kind in FaultKind]?: () => void }
  /** Everything that is broken is mended. */
  mend(): void
}
