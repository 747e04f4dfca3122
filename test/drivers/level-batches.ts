// The numbered batches that level-writer.ts writes and level.test.ts checks: batch k sets the same rows to k and adds a row of its own,
// so that a batch which is there in part shows, and so does one that is missing below others.
import type { StateId, StoreBatch, TaskStore } from '../../src/ports/store.ts'

export const BATCH_ID: StateId = { app: 'shop', stage: 'orders', generation: 3, partition: 0 }

const NEXT = Buffer.from('next')
const nameOf = (row: number): string => `row ${Math.imul(row + 1, 0x9e3779b9) >>> 0}`
const fillOf = (k: number): string => `${k},`.repeat(20)

export function batchOf(k: number, rows: number): StoreBatch {
  const keys = [...Array.from({ length: rows }, (_, row) => nameOf(row)), `batch ${k}`]
  return {
    keys: [...keys.map((key) => Buffer.from(key)), NEXT],
    values: [...keys.map(() => Buffer.from(fillOf(k))), Buffer.from(String(k + 1))],
  }
}

/** The number of the next batch, as the last one that is there says. */
export function nextOf(store: TaskStore): number {
  return Number(store.get(NEXT) ?? 0)
}

/** What contradicts that exactly the batches below `nextOf` are there, each as a whole. */
export async function tornRows(store: TaskStore, rows: number): Promise<string[]> {
  const next = nextOf(store)
  const all = await store.range({ from: Buffer.alloc(0), to: undefined, limit: 1_000_000 })
  const found = new Map(all.map(([key, value]) => [key.toString(), value.toString()]))
  found.delete('next')
  const wanted = new Map<string, string>()
  for (let k = 0; k < next; k++) wanted.set(`batch ${k}`, fillOf(k))
  if (next > 0) for (let row = 0; row < rows; row++) wanted.set(nameOf(row), fillOf(next - 1))
  const keys = new Set([...found.keys(), ...wanted.keys()])
  return [...keys]
    .filter((key) => found.get(key) !== wanted.get(key))
    .map((key) => `next is ${next}, "${key}" is ${found.get(key)?.slice(0, 12)}`)
}
