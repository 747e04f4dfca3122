/** Work beside an application: in the folder that it ran in, which nobody has open meanwhile, or on Kafka, where its workers may go on. */
import { join } from 'node:path'
import { TidemarkError } from '../base/errors.ts'
import type { World } from '../runtime/world.ts'
import { openWorld } from '../start.ts'
import type { Graph } from '../topology/node.ts'
import { type KafkaWords, kafkaOf } from './kafka.ts'
import { loadTopology } from './load.ts'
import { Meter } from './meter.ts'
import { offline } from './offline.ts'
import type { Wanted } from './place.ts'
import { EXIT, Interrupted, type Shell } from './shell.ts'

export interface BesideWords extends Wanted {
  /** Set for an application on Kafka. */
  readonly kafka: KafkaWords | undefined
}

export interface Beside {
  readonly graph: Graph
  readonly world: World
  /** Aborted by Ctrl-C and by requests to end. */
  readonly signal: AbortSignal
  /** Whether nobody else can run the application meanwhile. */
  readonly alone: boolean
}

/**
 * @param instead what to do while another process has the folder, given where that serves its views
 * @throws TidemarkError LOG_LOCKED, INPUT_INVALID, OPTION_INVALID, BROKER_*, and what `work` throws
 */
export async function beside<T>(
  words: BesideWords,
  shell: Shell,
  instead: (url: string | undefined) => string,
  work: (beside: Beside) => Promise<T>,
): Promise<T> {
  const { kafka, topology } = words
  if (kafka === undefined) return await offline(words, shell, instead, (opened) => work({ ...opened, alone: true }))
  if (topology === undefined)
    throw new TidemarkError('OPTION_INVALID', 'on Kafka the topology must be named', { hint: 'Add --topology topologies/retail.' })
  const { graph } = (await loadTopology(topology, shell.folder)).topology
  const abort = new AbortController()
  const off = shell.onSignal(() => (abort.signal.aborted ? shell.exit(EXIT.interrupted) : abort.abort()))
  try {
    const { schemaCatalogue } = await import('../drivers/schemas/index.ts')
    // Ids of schemas must mean the same to everybody: only what is committed with the code does.
    const schemas = schemaCatalogue({ file: join('schemas', 'catalogue.json'), writable: false })
    const { world, close } = await openWorld({ log: await kafkaOf(kafka, shell), schemas, telemetry: new Meter([]) })
    try {
      return await work({ graph, world, signal: abort.signal, alone: false })
    } catch (error) {
      throw abort.signal.aborted ? new Interrupted() : error
    } finally {
      await close()
    }
  } finally {
    off()
  }
}
