/** What the tests of the embedded log share: seeded randomness, a clock that is moved by hand, a disk whose operations end in a seeded order. */
import { nativeCodecs } from '../../../src/drivers/codecs/index.ts'
import { type EmbeddedLog, type EmbeddedLogOptions, openEmbeddedLog } from '../../../src/drivers/embedded/index.ts'
import { nodeClock } from '../../../src/drivers/node/index.ts'
import type { Random } from '../../../src/ports/clock.ts'
import type { Isolation, Log, OffsetAt, PartitionName } from '../../../src/ports/log.ts'
import { BatchBuilder, type EncodedBatch } from '../../../src/ports/record-batch/index.ts'
import { type ManualClock, manualClock } from '../../../src/testing/clock.ts'
import { type SimulatedDisk, simulatedDisk } from '../../../src/testing/disk.ts'
import { seededRandom } from '../../../src/testing/random.ts'

export { type ManualClock, manualClock, seededRandom }

export interface SlowDisk extends SimulatedDisk {
  /** Operations that were ended so far. */
  readonly ended: number
  /** Runs until nothing is under way. */
  idle(): Promise<void>
  /** Called before each operation is ended, with its name; returning true stops the disk for good. */
  before: (operation: number, label: string) => boolean
}

/** A disk that ends one of the operations under way at a time, chosen by chance, when everything else has come to rest. */
export function slowDisk(random: Random): SlowDisk {
  const waiting: { readonly label: string; readonly end: () => void }[] = []
  let ended = 0
  let pumping: Promise<void> | undefined
  const pump = async (): Promise<void> => {
    for (;;) {
      await nodeClock.turn()
      if (waiting.length === 0) break
      const [next] = waiting.splice(Math.floor(random.unit() * waiting.length), 1)
      ended++
      if (slow.before(ended, next?.label as string)) break
      next?.end()
    }
    pumping = undefined
  }
  const disk = simulatedDisk({
    random,
    schedule: (label) =>
      new Promise((resolve) => {
        waiting.push({ label, end: resolve })
        pumping ??= pump()
      }),
  })
  const slow: SlowDisk = {
    get fs() {
      return disk.fs
    },
    get ended() {
      return ended
    },
    crash: () => {
      waiting.length = 0
      disk.crash()
    },
    powerCut: (fate) => {
      waiting.length = 0
      disk.powerCut(fate)
    },
    faults: disk.faults,
    files: () => disk.files(),
    before: () => false,
    idle: async () => {
      for (let quiet = 0; quiet < 3; quiet++) {
        if (pumping !== undefined) quiet = 0
        await pumping
        await nodeClock.turn()
      }
    },
  }
  return slow
}

export const FOLDER = '/data/log'

export function open(
  disk: Pick<SimulatedDisk, 'fs'>,
  { clock = manualClock(), random = seededRandom(1), ...more }: Partial<EmbeddedLogOptions> = {},
): Promise<EmbeddedLog> {
  return openEmbeddedLog({ folder: FOLDER, fs: disk.fs, clock, random, codecs: nativeCodecs, ...more })
}

export function values(...texts: readonly string[]): EncodedBatch {
  const builder = new BatchBuilder({ codecs: nativeCodecs, capacity: 256 })
  for (const text of texts) builder.add(1_700_000_000_000, Buffer.from('key'), Buffer.from(text))
  return builder.finish()
}

export function keyed(...entries: readonly (readonly [key: string, value: string | null])[]): EncodedBatch {
  const builder = new BatchBuilder({ codecs: nativeCodecs, capacity: 256 })
  for (const [key, value] of entries) builder.add(1_700_000_000_000, Buffer.from(key), value === null ? null : Buffer.from(value))
  return builder.finish()
}

export interface Seen {
  readonly offset: number
  readonly key: string | null
  readonly value: string | null
}

/** Everything that can be read of a partition now. @throws the error of a failed partition */
export async function readAll(log: Log, partition: PartitionName, isolation: Isolation = 'committed', from?: number): Promise<Seen[]> {
  const offset = async (at: OffsetAt): Promise<number> => (await log.offsets([partition], at)).get(partition) ?? Number.NaN
  const start = from ?? (await offset('start'))
  const end = await offset(isolation === 'committed' ? 'stable' : 'high')
  const reader = log.reader(isolation)
  reader.assign(new Map([[partition, start]]))
  const seen: Seen[] = []
  for (let next = start; next < end; ) {
    for (const fetched of await reader.poll({ bytes: 1_000_000, waitMs: 0 })) {
      if (fetched.kind === 'failed') throw fetched.error
      if (fetched.kind === 'gap') throw new Error(`gap at ${fetched.position}, ${fetched.logStart} to ${fetched.high}`)
      next = fetched.next
      for (const batch of fetched.batches) {
        for (let i = 0; i < batch.count; i++) {
          const offset = batch.offset(i)
          if (offset >= start) seen.push({ offset, key: batch.key(i)?.toString() ?? null, value: batch.value(i)?.toString() ?? null })
        }
      }
    }
  }
  await reader.close()
  return seen
}

export async function readValues(log: Log, partition: PartitionName, isolation?: Isolation): Promise<(string | null)[]> {
  return (await readAll(log, partition, isolation)).map(({ value }) => value)
}

export async function codeFrom(promise: Promise<unknown>): Promise<unknown> {
  try {
    await promise
  } catch (error) {
    return (error as { code?: unknown }).code ?? error
  }
  return 'no error'
}

/** A disk whose operations end at once. */
export function quickDisk(seed = 1): SimulatedDisk {
  return simulatedDisk({ random: seededRandom(seed) })
}

/** The only file whose path holds a text. */
export function fileOf(disk: Pick<SimulatedDisk, 'files'>, part: string): string {
  const found = [...disk.files().keys()].filter((path) => path.includes(part))
  if (found.length !== 1) throw new Error(`${part} is the name of ${found.length} files: ${found.join()}`)
  return found[0] as string
}
