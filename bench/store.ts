/**
 * What a row costs in the state on disk: `node scripts/with-node.mjs bench/store.ts`.
 *
 * Four tasks are written at once, as one worker does it. Keys are hash-ordered, each is written 3 to 4 times in nearby batches, a row is
 * about 120 B, and half of a value compresses. CPU is that of the whole process over all threads, until the engine has come to rest;
 * keys and values are made before, so nothing else is in it. Rates are by the wall clock and mean little on a busy machine; CPU means more.
 */
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { levelState } from '../src/drivers/level/index.ts'
import type { StoreBatch, TaskStore } from '../src/ports/store.ts'
import { printTable, type Row } from './table.ts'

const TASKS = 4
const ROWS = 1_200_000
const WRITES_PER_KEY = 3.5
const READS = 100_000
const PAGE = 1000

/** Runs everything, in about ten seconds, in a folder of its own under the system's temporary one. */
export async function storeBench(): Promise<Row[]> {
  const writes: Row[] = []
  const reads: Row[] = []
  for (const batchRows of [1000, 10_000, 30_000]) {
    const folder = await mkdtemp(join(tmpdir(), 'tidemark-bench-'))
    const state = levelState({ folder })
    const stores: TaskStore[] = []
    try {
      for (let partition = 0; partition < TASKS; partition++) {
        stores.push(await state.open({ app: 'bench', stage: 'store', generation: 1, partition }))
      }
      const batches = makeBatches(ROWS / TASKS / batchRows, batchRows)
      writes.push(await measureWrites(stores, batches, batchRows))
      if (batchRows === 10_000) reads.push(...(await measureReads(stores[0] as TaskStore, batches)))
    } finally {
      for (const store of stores) await store.close()
      await rm(folder, { recursive: true, force: true })
    }
  }
  return [...writes, ...reads]
}

async function measureWrites(stores: readonly TaskStore[], batches: readonly StoreBatch[], batchRows: number): Promise<Row> {
  let mainMicros = 0
  let residentMost = 0
  const resident = process.memoryUsage.rss()
  const cpu = process.cpuUsage()
  const start = performance.now()
  for (const batch of batches) {
    const handing = process.threadCpuUsage()
    const writing = stores.map((store) => store.write(batch))
    const { user, system } = process.threadCpuUsage(handing)
    mainMicros += user + system
    await Promise.all(writing)
    residentMost = Math.max(residentMost, process.memoryUsage.rss())
  }
  const ms = performance.now() - start
  await untilQuiet()
  const written = batches.length * batchRows * stores.length
  const notes = [
    `main thread until write returns ${(mainMicros / written).toFixed(2)} us`,
    `+${Math.round((residentMost - resident) / 1e6)} MB resident`,
  ]
  return row(`write, ${batchRows} rows a batch, random order`, written, ms, microsSince(cpu), notes.join(', '))
}

async function measureReads(store: TaskStore, batches: readonly StoreBatch[]): Promise<Row[]> {
  const random = randomBelow(7)
  const written = batches.flatMap(({ keys }) => keys)
  const lately = batches.at(-1)?.keys ?? []
  const absent = Array.from({ length: READS }, (_, i) => Buffer.from(`absent-${String((i * 7919) % READS).padStart(8, '0')}`))
  const pick = (from: readonly Uint8Array[]) => (): Uint8Array => from[random(from.length)] as Uint8Array
  const rows = [
    measureGets(store, 'get, written by the last batch', pick(lately), READS),
    measureGets(store, 'get, any key', pick(written), READS),
    measureGets(store, 'get, absent', pick(absent), 0),
  ]
  const cpu = process.cpuUsage()
  const start = performance.now()
  let scanned = 0
  for (let from: Uint8Array = Buffer.alloc(0); ; ) {
    const page = await store.range({ from, to: undefined, limit: PAGE })
    scanned += page.length
    const last = page.at(-1)
    if (last === undefined) break
    from = Buffer.concat([last[0], Buffer.alloc(1)])
  }
  return [...rows, row(`range, pages of ${PAGE}`, scanned, performance.now() - start, microsSince(cpu))]
}

function measureGets(store: TaskStore, name: string, key: () => Uint8Array, wanted: number): Row {
  for (let i = 0; i < READS / 10; i++) store.get(key())
  const cpu = process.cpuUsage()
  const start = performance.now()
  let found = 0
  for (let i = 0; i < READS; i++) if (store.get(key()) !== undefined) found++
  const measured = row(name, READS, performance.now() - start, microsSince(cpu))
  if (found !== wanted) throw new Error(`${name}: found ${found} of ${READS} rows, expected ${wanted}`)
  return measured
}

function row(name: string, count: number, ms: number, cpuMicros: number, note?: string): Row {
  const measured = { name, recordsPerSecond: Math.round((count / ms) * 1000), cpuMicrosPerRecord: cpuMicros / count }
  return note === undefined ? measured : { ...measured, note }
}

function microsSince(before: NodeJS.CpuUsage): number {
  const { user, system } = process.cpuUsage(before)
  return user + system
}

/** Waits until LevelDB has merged what it wants to merge, which shows only in the CPU. Gives up after 10 s. */
async function untilQuiet(): Promise<void> {
  for (let waited = 0; waited < 50; waited++) {
    const cpu = process.cpuUsage()
    await sleep(200)
    if (microsSince(cpu) < 10_000) return
  }
}

/** Batches over a window of keys that moves on as they are used up, so that the writes of a key lie in nearby batches. */
function makeBatches(count: number, batchRows: number): StoreBatch[] {
  const random = randomBelow(1)
  const keys = new Map<number, Buffer>()
  const keyOf = (entity: number): Buffer => {
    const known = keys.get(entity)
    if (known !== undefined) return known
    const scattered = Math.imul(entity + 1, 0x9e3779b1) >>> 0
    const made = Buffer.from(`customer-${scattered.toString(16).padStart(8, '0')}\u0000\u0001state`)
    keys.set(entity, made)
    return made
  }
  const values = Array.from({ length: 4096 }, () => {
    const value = Buffer.alloc(96, 'a part that compresses, ')
    for (let at = 0; at < 48; at += 4) value.writeUInt32LE(random(2 ** 32), at)
    return value
  })
  const fresh = Math.round(batchRows / WRITES_PER_KEY)
  return Array.from({ length: count }, (_, batch) => ({
    keys: Array.from({ length: batchRows }, () => keyOf(Math.max(0, (batch + 2) * fresh - random(fresh * 6)))),
    values: Array.from({ length: batchRows }, () => values[random(values.length)] as Buffer),
  }))
}

/** mulberry32 by Tommy Ettinger (public domain), so that every run writes the same rows. */
function randomBelow(seed: number): (end: number) => number {
  let state = Math.imul(seed, 0x9e3779b9)
  return (end) => {
    state = (state + 0x6d2b79f5) | 0
    let z = Math.imul(state ^ (state >>> 15), state | 1)
    z ^= z + Math.imul(z ^ (z >>> 7), z | 61)
    return Math.floor((((z ^ (z >>> 14)) >>> 0) / 2 ** 32) * end)
  }
}

if (import.meta.main) printTable('state store', await storeBench())
