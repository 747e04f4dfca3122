/** Work on a folder that nobody has open: finds it, opens its drivers, and says what to do when somebody has it. */
import { codeOf, TidemarkError } from '../base/errors.ts'
import type { World } from '../runtime/world.ts'
import { openWorld } from '../start.ts'
import type { Graph } from '../topology/node.ts'
import { Meter } from './meter.ts'
import { findPlace, type Wanted } from './place.ts'
import { EXIT, Interrupted, type Shell } from './shell.ts'

/** What offline work has. */
export interface Offline {
  readonly graph: Graph
  readonly world: World
  /** Aborted by Ctrl-C and by requests to end. */
  readonly signal: AbortSignal
}

/**
 * Runs `work` on the folder and topology that are meant.
 * @param instead what to do while another process has the folder, given where that serves its views
 * @throws TidemarkError LOG_LOCKED, INPUT_INVALID, and what `work` throws
 */
export async function offline<T>(
  wanted: Wanted,
  shell: Shell,
  instead: (url: string | undefined) => string,
  work: (offline: Offline) => Promise<T>,
): Promise<T> {
  const { dir, loaded, url } = await findPlace(wanted, shell.folder)
  const meter = new Meter([])
  const abort = new AbortController()
  const off = shell.onSignal(() => (abort.signal.aborted ? shell.exit(EXIT.interrupted) : abort.abort()))
  try {
    const opened = await openWorld({ dir, telemetry: meter }).catch((error: unknown) => {
      throw codeOf(error) === 'LOG_LOCKED' ? inUse(error as TidemarkError, instead(url)) : error
    })
    try {
      return await work({ graph: loaded.topology.graph, world: opened.world, signal: abort.signal })
    } catch (error) {
      throw abort.signal.aborted ? new Interrupted() : error
    } finally {
      await opened.close()
    }
  } finally {
    off()
    for (const { kind, text } of meter.notices) await shell.err.write(`${kind}: ${text}\n`)
  }
}

function inUse(error: TidemarkError, hint: string): TidemarkError {
  return new TidemarkError('LOG_LOCKED', error.message, { detail: error.detail, hint, cause: error })
}
