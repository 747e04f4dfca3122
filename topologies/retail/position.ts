/**
 * How far the feed is, as the last record of a compacted topic of its own. It is written in the transaction that the feed's facts are written
 * in, so a feed that was killed at any moment finds exactly what it has sent.
 */
import { type Access, TidemarkError, type Transaction } from '#tidemark'

export interface Position {
  /** Records sent, faults included. */
  readonly records: number
  /** Rows of the file that they come from. */
  readonly rows: number
  /** SHA-256 of the file, unpacked, hex. */
  readonly file: string
  /** What the file was called: for people. */
  readonly name: string
  /** null for a feed without faults. */
  readonly seed: number | null
}

const TOPIC = 'retail-feed'
const KEY = Buffer.from('source')
const NO_HEADERS = Buffer.from([0])

/** Adds a position to a transaction. */
export function writePosition(to: Transaction, position: Position, now: number): void {
  to.outbox.put(TOPIC, 0, now, KEY, Buffer.from(JSON.stringify(position)), NO_HEADERS)
}

/** The last position written, if there is one; makes the topic where it is missing. */
export async function readPosition({ log }: Access): Promise<Position | undefined> {
  await log.ensure([{ name: TOPIC, partitions: 1, cleanup: 'compact', retentionMs: -1 }])
  const partition = `${TOPIC}/0`
  const end = (await log.offsets([partition], 'stable')).get(partition) as number
  let at = (await log.offsets([partition], 'start')).get(partition) as number
  let last: Position | undefined
  const reader = log.reader('committed')
  try {
    reader.assign(new Map([[partition, at]]))
    while (at < end) {
      for (const fetched of await reader.poll({ bytes: 1024 * 1024, waitMs: 100 })) {
        if (fetched.kind === 'failed') throw fetched.error
        if (fetched.kind === 'gap') throw new TidemarkError('POSITION_GAP', `records of "${TOPIC}" are gone`)
        at = fetched.next
        for (const batch of fetched.batches) {
          for (let i = 0; i < batch.count; i++) {
            const value = batch.value(i)
            if (value !== null && batch.key(i)?.equals(KEY) === true) last = JSON.parse(value.toString()) as Position
          }
        }
      }
    }
  } finally {
    await reader.close()
  }
  return last
}
