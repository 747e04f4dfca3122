/**
 * How fast the embedded log writes, commits, reads, opens and compacts, on the disk under the system's temporary folder:
 *
 *   node scripts/with-node.mjs bench/embedded-log.ts
 *
 * Batches are encoded before and copied for each append, because a log keeps what it is given; checksums, offsets and all else that a log
 * does is in the figures. CPU is that of the process over all threads. Rates are by the wall clock and mean little on a busy machine.
 */
import { cp, mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { nativeCodecs } from '../src/drivers/codecs/index.ts'
import { type EmbeddedLog, type EmbeddedLogOptions, openEmbeddedLog } from '../src/drivers/embedded/index.ts'
import { nodeClock, nodeFs, nodeRandom } from '../src/drivers/node/index.ts'
import { BatchBuilder, type EncodedBatch } from '../src/ports/record-batch/index.ts'
import { printTable, type Row } from './table.ts'

const PARTITIONS = 12
const RECORDS = 1_000
const VALUE_BYTES = 100
const LARGE = 5_000_000
const TOPIC = { name: 'bench', partitions: PARTITIONS, cleanup: 'delete', retentionMs: -1 } as const

/** Runs everything, in about half a minute, in a folder of its own. Needs about 2 GB of disk for that time. */
export async function embeddedLogBench(): Promise<Row[]> {
  const root = await mkdtemp(join(tmpdir(), 'tidemark-bench-'))
  try {
    const rows: Row[] = []
    for (const fsync of ['interval', 'commit'] as const) {
      rows.push(await commits(join(root, `commits-${fsync}`), fsync, fsync === 'interval' ? 2_000 : 200))
    }
    rows.push(...(await large(join(root, 'large'))))
    rows.push(await compaction(join(root, 'compaction')))
    return rows
  } finally {
    await rm(root, { recursive: true, force: true })
  }
}

/** Small commits: one record in each of twelve partitions, and positions. */
async function commits(folder: string, fsync: 'interval' | 'commit', count: number): Promise<Row> {
  const log = await open(folder, { fsync })
  const client = log.client()
  await client.ensure([TOPIC])
  const writer = await client.writer('bench')
  const batch = batchOf(1, 0)
  const positions = new Map(names().map((name) => [name, 1]))
  const row = await measure(`commits of ${PARTITIONS} partitions, a record each (fsync ${fsync})`, count * PARTITIONS, async () => {
    for (let i = 0; i < count; i++) {
      await Promise.all(names().map((name) => writer.append(name, copyOf(batch))))
      const outcome = await writer.commit([{ group: 'bench', identity: undefined, positions }])
      if (outcome.kind !== 'committed') throw outcome.error
    }
  })
  await log.close()
  return { ...row, note: `${Math.round(row.recordsPerSecond / PARTITIONS)} commits a second` }
}

/** Five million records through large commits, read back, and opened again: after a close, and after an end without one. */
async function large(folder: string): Promise<Row[]> {
  const rows: Row[] = []
  const log = await open(folder)
  const client = log.client()
  await client.ensure([TOPIC])
  const writer = await client.writer('bench')
  const batch = batchOf(RECORDS, 0)
  const rounds = Math.round(LARGE / (RECORDS * PARTITIONS * 4))
  const written = rounds * RECORDS * PARTITIONS * 4
  rows.push(
    await measure(`append and commit, batches of ${RECORDS}, 48 a commit`, written, async () => {
      for (let round = 0; round < rounds; round++) {
        await Promise.all([0, 1, 2, 3].flatMap(() => names().map((name) => writer.append(name, copyOf(batch)))))
        const outcome = await writer.commit([])
        if (outcome.kind !== 'committed') throw outcome.error
      }
    }),
  )
  // What is copied now is what an end of the process would leave.
  await cp(folder, `${folder}-ended`, { recursive: true, filter: (path) => !path.endsWith('/lock') })
  rows.push({
    ...(await measure('read 4 partitions at a time, checksums verified', written, () => readAll(log))),
    note: megabytes(written, batch),
  })
  await log.close()
  for (const [name, path] of [
    ['a close', folder],
    ['the end of the process', `${folder}-ended`],
  ] as const) {
    const start = performance.now()
    const again = await open(path)
    const ms = performance.now() - start
    const { checkedBytes } = again.recovery
    const note = `${ms.toFixed(0)} ms; ${(checkedBytes / 1e6).toFixed(1)} MB of batches looked at`
    rows.push({
      name: `open ${(written / 1e6).toFixed(1)} M records after ${name}`,
      recordsPerSecond: Math.round((written / ms) * 1_000),
      note,
    })
    await again.close()
  }
  return rows
}

async function readAll(log: EmbeddedLog): Promise<void> {
  const client = log.client()
  for (let first = 0; first < PARTITIONS; first += 4) {
    const own = names().slice(first, first + 4)
    const ends = await client.offsets(own, 'stable')
    const left = new Set(own)
    const reader = client.reader('committed')
    reader.assign(new Map(own.map((name) => [name, 0])))
    while (left.size > 0) {
      for (const fetched of await reader.poll({ bytes: 4 * 1024 * 1024, waitMs: 1_000 })) {
        if (fetched.kind !== 'batches') throw new Error(`unexpected ${fetched.kind}`)
        if (fetched.next >= (ends.get(fetched.partition) as number)) left.delete(fetched.partition)
      }
    }
    await reader.close()
  }
  await client.close()
}

/** A million records of 200,000 keys. */
async function compaction(folder: string): Promise<Row> {
  const log = await open(folder, { segmentBytes: 8 * 1024 * 1024, fsync: 'never' })
  const client = log.client()
  await client.ensure([{ ...TOPIC, name: 'compacted', partitions: 1, cleanup: 'compact' }])
  const writer = await client.plainWriter()
  const batches = 1_000
  for (let i = 0; i < batches; i++) await writer.append('compacted/0', batchOf(RECORDS, i * 7_919))
  let note = ''
  const row = await measure('compaction of a million records, 200,000 keys', batches * RECORDS, async () => {
    const [done] = await log.compact('compacted')
    note = `${((done?.bytesBefore ?? 0) / 1e6).toFixed(0)} to ${((done?.bytesAfter ?? 0) / 1e6).toFixed(0)} MB in ${done?.passes} pass`
  })
  await log.close()
  return { ...row, note }
}

async function measure(name: string, records: number, work: () => Promise<unknown>): Promise<Row> {
  const cpu = process.cpuUsage()
  const start = performance.now()
  await work()
  const seconds = (performance.now() - start) / 1_000
  const { user, system } = process.cpuUsage(cpu)
  return { name, recordsPerSecond: Math.round(records / seconds), cpuMicrosPerRecord: Number(((user + system) / records).toFixed(3)) }
}

function open(folder: string, more: Partial<EmbeddedLogOptions> = {}): Promise<EmbeddedLog> {
  return openEmbeddedLog({ folder, fs: nodeFs, clock: nodeClock, random: nodeRandom, codecs: nativeCodecs, ...more })
}

function names(): string[] {
  return Array.from({ length: PARTITIONS }, (_, partition) => `bench/${partition}`)
}

function batchOf(records: number, from: number): EncodedBatch {
  const builder = new BatchBuilder({ codecs: nativeCodecs })
  for (let i = 0; i < records; i++) {
    builder.add(1_700_000_000_000 + i, Buffer.from(`key-${String((from + i) % 200_000).padStart(10, '0')}`), Buffer.alloc(VALUE_BYTES, i))
  }
  return builder.finish()
}

function copyOf(batch: EncodedBatch): EncodedBatch {
  return { ...batch, bytes: Buffer.from(batch.bytes) }
}

function megabytes(records: number, batch: EncodedBatch): string {
  return `${(((records / RECORDS) * batch.bytes.length) / 1e6).toFixed(0)} MB`
}

if (import.meta.main) printTable('embedded log', await embeddedLogBench())
