/** The embedded log as the ground of a simulated world: it lies on the disk of one machine, in the process that all workers reach by a network. */
import { nativeCodecs } from '../../drivers/codecs/index.ts'
import { openEmbeddedLog } from '../../drivers/embedded/index.ts'
import type { Random } from '../../ports/clock.ts'
import { type SimulatedDisk, simulatedDisk } from '../disk.ts'
import { around, between, oneOf, streamOf } from './faults.ts'
import type { Death, Ground, Hands, Hosted, Life } from './ground.ts'
import { type Fate, type Link, remoteLog } from './log.ts'
import { type Owner, virtualClock } from './scheduler.ts'
import type { World } from './world.ts'

const FOLDER = 'log'
const JOURNAL = `${FOLDER}/journal`

export class EmbeddedGround implements Ground {
  readonly #world: World
  readonly #disk: SimulatedDisk
  readonly #links = new Map<string, Link>()
  readonly #told: Random
  readonly #failing: { cancel(): void }[] = []
  #openings = 0

  constructor(world: World) {
    this.#world = world
    const { seed, scheduler } = world.parts
    this.#told = streamOf(seed, 'told')
    this.#disk = simulatedDisk({
      random: streamOf(seed, 'disk'),
      schedule: (label) => scheduler.wait(world.diskMs(), world.life?.owner as Owner, `disk ${label}`),
    })
  }

  async open(life: Life): Promise<Hosted> {
    const { parts, wall } = this.#world
    const { scheduler, settings, bug, seed } = parts
    const { fs } = this.#disk
    const { fsync, segmentBytes, journalBytes } = settings
    const clock = virtualClock(scheduler, life.owner, wall, () => 0)
    const broker = await openEmbeddedLog({
      folder: FOLDER,
      fs: bug.fs?.(fs) ?? fs,
      clock,
      random: streamOf(seed, `log ${++this.#openings}`),
      codecs: bug.codecs ?? nativeCodecs,
      fsync,
      segmentBytes,
      journalBytes,
    })
    const untold: Link['untold'] = new Map()
    const client = broker.client({ clock })
    return {
      get failure() {
        return broker.failure
      },
      seen: client,
      plain: client,
      worker: ({ instance, link: sender }, linkClock) => {
        const link: Link = {
          scheduler,
          sender,
          network: life.owner,
          legMs: () => this.#world.legMs(),
          lateMs: () => around(this.#world.chance, 400),
          toldMs: () => this.#toldMs(),
          untold,
          // At least once, nothing but time keeps a former owner's request from a new owner's changelog. What is promised then is promised for
          // networks that keep no request for half a session, and none of a sender that has died.
          lostMs: settings.guarantee === 'at-least-once' ? settings.sessionMs / 4 : Number.POSITIVE_INFINITY,
          forgetful: settings.guarantee === 'at-least-once',
          appending: 0,
          fate: (call) => this.#fate(call),
          onWaiting: (until) => {
            this.#world.waitingUntil = Math.max(this.#world.waitingUntil, until)
          },
        }
        this.#links.set(instance, link)
        return remoteLog(broker.client({ clock: linkClock }), link)
      },
      close: () => broker.close(),
    }
  }

  died(how: Death['kind']): boolean {
    this.#links.clear()
    if (how === 'kill') {
      this.#disk.crash()
      return false
    }
    // Torn at its worst: what the journal says is all there, and what it speaks of is there in part.
    this.#disk.powerCut(how === 'torn' ? (path) => (path.startsWith(JOURNAL) ? 'kept' : 'torn') : undefined)
    return this.#world.parts.settings.fsync !== 'commit'
  }

  free(instance: string): boolean {
    const former = this.#links.get(instance)
    return former?.forgetful !== true || former.appending === 0
  }

  deeds({ until }: Hands): ReturnType<Ground['deeds']> {
    const { faults } = this.#world.parts
    const disk = this.#disk.faults
    return {
      'disk-fails': () => {
        const random = faults.random('disk-fails')
        const operation = oneOf(random, [
          'read',
          'write',
          'write',
          'write',
          'sync',
          'truncate',
          'open',
          'rename',
          'remove',
          'list',
        ] as const)
        this.#failing.push(disk.fail(operation, between(random, 1, 20)))
      },
      'disk-full': () => {
        const random = faults.random('disk-full')
        disk.space = between(random, 0, 4_000)
        until(around(random, 600), () => {
          disk.space = Number.POSITIVE_INFINITY
        })
      },
    }
  }

  mend(): void {
    this.#disk.faults.space = Number.POSITIVE_INFINITY
    for (const planned of this.#failing) planned.cancel()
  }

  /** Now and then, and never so that what else is late changes with it. */
  #toldMs(): number {
    const { faults } = this.#world.parts
    const late = this.#told.unit() < 0.1
    return late && faults.active && faults.has('log-late') ? around(this.#told, 300) : 0
  }

  /** Kinds of failure that a call may meet. A member that joins twice is a matter of the driver's own, so a join is refused or not. */
  #fate(call: string): Fate {
    const { faults } = this.#world.parts
    if (faults.strikes('log-refuses')) return 'refused'
    if (call === 'join' || call === 'poll') return 'well'
    if (faults.strikes('log-unanswered')) return 'unanswered'
    return faults.strikes('log-late', 0.3) ? 'late' : 'well'
  }
}
