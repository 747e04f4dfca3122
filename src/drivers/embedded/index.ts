/**
 * The embedded log: a durable, partitioned log in one directory, for one process. It keeps the promises of the log port (exactly-once
 * transactions, fencing, groups, compaction) without a broker; its segments hold the very bytes that Kafka's do.
 *
 * What it does not do: serve several processes, replicate, delete topics.
 */
import { TidemarkError } from '../../base/errors.ts'
import { oneOf, wholeNumber } from '../../base/options.ts'
import type { Clock, Random } from '../../ports/clock.ts'
import type { Fs } from '../../ports/fs.ts'
import type { Log } from '../../ports/log.ts'
import { type Codecs, DEFAULT_LIMITS, type Limits } from '../../ports/record-batch/index.ts'
import { Broker } from './broker.ts'
import { EmbeddedClient } from './client.ts'
import type { Compaction } from './compaction.ts'
import type { Recovery } from './recovery.ts'

export { EMBEDDED_MANIFEST } from './client.ts'
export type { Compaction } from './compaction.ts'
export type { Recovery } from './recovery.ts'

export interface EmbeddedLogOptions {
  /** The directory, which is made when it is missing. One process at a time has it open. */
  readonly folder: string
  readonly fs: Fs
  /** The log's own clock: sessions of groups end by it, checkpoints are made by it. */
  readonly clock: Clock
  readonly random: Random
  readonly codecs: Codecs
  /**
   * When written bytes are made to survive a power cut or a crash of the machine. The end of the process, however it ends, loses nothing that
   * was acknowledged in any mode. And after a power cut, in any mode, the log is as it was at some moment: all partitions and all positions.
   *
   * - `commit`: before a commit or a plain append is acknowledged. A power cut takes nothing acknowledged. A commit then costs the time of
   *   a sync of every partition that it touched, and of the journal.
   * - `interval` (default): one second after the first write that is not safe yet. A power cut takes at most the acknowledgements of the
   *   last second and of the time that the syncs themselves take.
   * - `never`: only after 128 MiB, when the journal grows into another file, before a compaction, and at `close`. A power cut takes what
   *   the system had not written by itself. For tests and for data that can be made again.
   */
  readonly fsync?: 'commit' | 'interval' | 'never'
  /** Size at which another segment is begun, bytes. Retention and compaction work on whole segments. Default 64 MiB. */
  readonly segmentBytes?: number
  /** Size at which another journal file is begun, bytes. An opening reads one or two of them. Default 4 MiB. */
  readonly journalBytes?: number
  /** Memory for the keys of one compaction pass, bytes; more keys take more passes. Default 32 MiB. */
  readonly compactionBytes?: number
  /** What one batch may cost its readers. Larger ones are refused when they are appended. */
  readonly limits?: Limits
}

/** What stands for the broker: one a directory, with any number of clients. */
export interface EmbeddedLog {
  /**
   * A client with its own end. `clock` moves its waits and its heartbeats (default: the log's): a client whose clock stands still is a dead
   * process to the log.
   */
  client(options?: { clock?: Clock }): Log
  /** What the opening found. */
  readonly recovery: Recovery
  /** Why the log takes no more writes until it is opened again; undefined while it does. */
  readonly failure: TidemarkError | undefined
  /**
   * Compacts a compacted topic now. It also happens by itself, once more than half of the closed segments' bytes are new.
   * @throws TidemarkError TOPIC_UNKNOWN, LOG_IO, LOG_CORRUPT, LOG_CLOSED
   */
  compact(topic: string): Promise<readonly Compaction[]>
  /** Closes all clients, makes everything written safe, and lets go of the directory. */
  close(): Promise<void>
}

/**
 * Opens a directory, and brings it to the last moment that is wholly there.
 * @throws TidemarkError LOG_LOCKED, LOG_CORRUPT when the journal is damaged, LOG_IO, OPTION_INVALID
 * @example
 * const log = await openEmbeddedLog({ folder: '.tidemark/log', fs: nodeFs, clock: nodeClock, random: nodeRandom, codecs: nativeCodecs })
 * const client = log.client()
 */
export async function openEmbeddedLog(options: EmbeddedLogOptions): Promise<EmbeddedLog> {
  const {
    fsync = 'interval',
    segmentBytes = 64 * MIB,
    journalBytes = 4 * MIB,
    compactionBytes = 32 * MIB,
    limits = DEFAULT_LIMITS,
  } = options
  oneOf(fsync, ['commit', 'interval', 'never'], 'fsync')
  wholeNumber(segmentBytes, 1024, 'segmentBytes')
  wholeNumber(journalBytes, 1024, 'journalBytes')
  wholeNumber(compactionBytes, 1024, 'compactionBytes')
  if (options.folder === '')
    throw new TidemarkError('OPTION_INVALID', 'folder is the name of a directory', {
      detail: 'It is empty.',
      hint: 'For the working folder itself, say ".".',
    })
  const folder = options.folder.replace(/(?<=.)\/+$/, '')
  const { fs, clock, random, codecs } = options
  const broker = await Broker.open({ folder, fs, clock, random, codecs, limits, fsync, segmentBytes, journalBytes, compactionBytes })
  const clients = new Set<EmbeddedClient>()
  let closing: Promise<void> | undefined
  return {
    client: (own = {}) => {
      const client = new EmbeddedClient(broker, own.clock ?? clock, (closed) => void clients.delete(closed))
      clients.add(client)
      return client
    },
    recovery: broker.recovery,
    get failure() {
      return broker.health.failure
    },
    compact: (topic) => broker.compact(topic),
    close: () => {
      closing ??= (async () => {
        for (const client of clients) await client.close()
        await broker.close()
      })()
      return closing
    },
  }
}

const MIB = 1024 * 1024
