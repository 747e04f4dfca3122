/**
 * Whether a disk was made from the changelog that is there now. A log may lose what it had acknowledged: a power cut without syncs, an unclean
 * election. It then goes on from an earlier offset, and soon reaches beyond the disk again, with other records. Offsets alone cannot tell that
 * from a disk that is merely behind, so the checkpoint remembers the last record that the disk has taken.
 */
import { hash64, hashed } from '../base/murmur.ts'
import type { Log, PartitionName } from '../ports/log.ts'

/** A record of a changelog, as it is known again. */
export interface LastRecord {
  readonly offset: number
  readonly high: number
  readonly low: number
}

export function lastRecord(offset: number, key: Uint8Array, value: Uint8Array | null): LastRecord {
  hash64(key)
  if (value !== null) hash64(value, 0, value.length, hashed.high, hashed.low)
  return { offset, high: hashed.high, low: hashed.low }
}

/**
 * What the changelog has where a record was: the same one, another one, or none, because compaction removed it or because it is another
 * changelog than it was, in which nobody can tell.
 */
export async function lookedUp(
  log: Log,
  changelog: PartitionName,
  last: LastRecord,
  signal: AbortSignal,
): Promise<'same' | 'other' | 'none'> {
  const reader = log.reader('committed')
  try {
    reader.assign(new Map([[changelog, last.offset]]))
    for (;;) {
      signal.throwIfAborted()
      for (const fetched of await reader.poll({ bytes: 1, waitMs: 100, signal })) {
        if (fetched.kind === 'failed') throw fetched.error
        if (fetched.kind === 'gap') return 'none'
        for (const batch of fetched.batches) {
          for (let i = 0; i < batch.count; i++) {
            if (batch.offset(i) < last.offset) continue
            const key = batch.key(i)
            if (batch.offset(i) > last.offset || key === null) return 'none'
            const found = lastRecord(last.offset, key, batch.value(i))
            return found.high === last.high && found.low === last.low ? 'same' : 'other'
          }
        }
        if (fetched.next > last.offset) return 'none'
      }
    }
  } finally {
    await reader.close()
  }
}
