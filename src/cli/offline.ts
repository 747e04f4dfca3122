/** Work beside an application: finds what is meant, opens its drivers, and says what to do when somebody has what it needs for itself. */
import { codeOf, TidemarkError } from '../base/errors.ts'
import type { PlanLock } from '../plan/lock.ts'
import type { StateId } from '../ports/store.ts'
import type { World } from '../runtime/world.ts'
import { openWorld } from '../start.ts'
import type { Graph } from '../topology/node.ts'
import type { KafkaWords } from './kafka.ts'
import { lockAt } from './locks.ts'
import { Meter } from './meter.ts'
import type { OpenedFor } from './offline-kafka.ts'
import { findPlace, type Wanted } from './place.ts'
import { EXIT, Interrupted, type Shell } from './shell.ts'

/** Which application a command means: one that ran in a folder, or one on Kafka. */
export interface WantedAnywhere extends Wanted {
  /** Set for one on Kafka. `dir` is the folder of one of its workers then. */
  readonly kafka?: KafkaWords & { readonly instance?: string | undefined }
}

/** What offline work has. */
export interface Offline {
  readonly graph: Graph
  readonly world: World
  /** Aborted by Ctrl-C and by requests to end. */
  readonly signal: AbortSignal
  /** Workers elsewhere may run the application meanwhile. */
  readonly shared: boolean
  /** Whether there is state of a task here that stays when the work is done. */
  readonly keeps: (id: StateId) => Promise<boolean>
  /** The committed plan lock, where there is one. @throws TidemarkError PLAN_LOCK_INVALID */
  readonly lock: () => PlanLock | undefined
}

/**
 * Runs `work` on the application that is meant.
 * @param instead what to do while another process has the folder, given where that serves its views
 * @throws TidemarkError LOG_LOCKED, STORE_LOCKED, INPUT_INVALID, BROKER_*, and what `work` throws
 */
export async function offline<T>(
  wanted: WantedAnywhere,
  shell: Shell,
  instead: (url: string | undefined) => string,
  work: (offline: Offline) => Promise<T>,
): Promise<T> {
  const meter = new Meter([])
  const abort = new AbortController()
  const off = shell.onSignal(() => (abort.signal.aborted ? shell.exit(EXIT.interrupted) : abort.abort()))
  try {
    const { loaded, close, ...opened } = await (wanted.kafka === undefined
      ? openFolder(wanted, shell, meter, instead)
      : (await import('./offline-kafka.ts')).openOnKafka(wanted, wanted.kafka, shell, meter))
    try {
      return await work({ graph: loaded.topology.graph, ...opened, signal: abort.signal, lock: () => lockAt(loaded) })
    } catch (error) {
      throw abort.signal.aborted ? new Interrupted() : error
    } finally {
      await close()
    }
  } finally {
    off()
    for (const { kind, text } of meter.notices) await shell.err.write(`${kind}: ${text}\n`)
  }
}

/** A folder that nobody has open. */
async function openFolder(wanted: Wanted, shell: Shell, meter: Meter, instead: (url: string | undefined) => string): Promise<OpenedFor> {
  const { dir, loaded, url } = await findPlace(wanted, shell.folder)
  const { world, close } = await openWorld({ dir, telemetry: meter }).catch((error: unknown) => {
    throw codeOf(error) === 'LOG_LOCKED' ? inUse(error as TidemarkError, instead(url)) : error
  })
  return { loaded, world, shared: false, keeps: async () => true, close }
}

function inUse(error: TidemarkError, hint: string): TidemarkError {
  return new TidemarkError('LOG_LOCKED', error.message, { detail: error.detail, hint, cause: error })
}
