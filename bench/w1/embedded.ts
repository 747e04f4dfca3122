/**
 * W1 on the embedded log: loads the stream, runs the application in a process of its own, and verifies every final row against the
 * generator's model. A figure whose run does not verify is void, and is not printed.
 */
import { spawnSync } from 'node:child_process'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { NODE_ENVIRONMENT, NODE_FLAGS } from '../../scripts/node-version.mjs'
import { partitionName } from '../../src/ports/log.ts'
import { NO_HEADERS } from '../../src/ports/record-batch/index.ts'
import { Outbox } from '../../src/runtime/outbox.ts'
import { openWorld } from '../../src/start.ts'
import { IN, OUT, w1Schemas } from './topology.ts'
import { type Verdict, Verifier, verdictText } from './verify.ts'
import { Workload } from './workload.ts'

const PARTITIONS = 4
/** Fixed, so that the stream's bytes are the same on every day. */
const T0 = 1_700_000_000_000

export interface W1Result {
  readonly records: number
  readonly seconds: number
  readonly rate10to100: number
  readonly rateOverall: number
  readonly cpuS: number
  readonly cpuMicrosPerRecord: number
  readonly rssMaxMB: number
  readonly memoryMB: Readonly<Record<string, number>>
  readonly threads: Readonly<Record<string, number>>
  readonly counts: Readonly<Record<string, number>>
  readonly verdict: string
}

/** @throws Error when the run does not verify */
export async function w1Embedded(options: {
  readonly records: number
  readonly uniform?: boolean
  readonly guarantee?: 'exactly-once' | 'at-least-once'
  readonly nodeArgs?: readonly string[]
}): Promise<W1Result> {
  const dir = mkdtempSync(join(tmpdir(), 'tidemark-w1-'))
  try {
    const workload = new Workload({ records: options.records, keys: options.records / 10, t0: T0, uniform: options.uniform ?? false })
    await load(dir, workload)
    const app = spawnSync(
      process.execPath,
      [
        ...NODE_FLAGS,
        ...(options.nodeArgs ?? []),
        join(import.meta.dirname, 'app.ts'),
        dir,
        String(options.records),
        options.guarantee ?? 'exactly-once',
      ],
      {
        encoding: 'utf8',
        stdio: ['ignore', 'pipe', 'inherit'],
        env: { ...NODE_ENVIRONMENT, ...process.env },
      },
    )
    if (app.status !== 0) throw new Error(`the application ended with ${app.status}`)
    const figures = JSON.parse(app.stdout.trim().split('\n').at(-1) as string) as Omit<W1Result, 'verdict'>
    const verdict = await verify(dir, workload)
    if (!verdictText(verdict).startsWith('OK')) throw new Error(`the run does not verify: ${verdictText(verdict)}`)
    return { ...figures, verdict: verdictText(verdict) }
  } finally {
    rmSync(dir, { recursive: true, force: true })
  }
}

async function load(dir: string, workload: Workload): Promise<void> {
  const { world, close } = await openWorld({ dir, schemas: await w1Schemas(), fsync: 'never' })
  await world.log.ensure([{ name: IN, partitions: PARTITIONS, cleanup: 'delete', retentionMs: -1 }])
  const writer = await world.log.plainWriter()
  const outbox = new Outbox(world.codecs)
  let waiting = 0
  const send = async (): Promise<void> => {
    for (const { partition, batch } of outbox.seal()) await writer.append(partition, batch)
    waiting = 0
  }
  for (const { key, value, timestamp } of workload.records()) {
    outbox.send(IN, PARTITIONS, 0, timestamp, Buffer.from(key), value, NO_HEADERS)
    waiting += 1
    if (waiting >= 4_000) await send()
  }
  await send()
  await writer.close()
  await close()
}

async function verify(dir: string, workload: Workload): Promise<Verdict> {
  const { world, close } = await openWorld({ dir, schemas: await w1Schemas() })
  const verifier = new Verifier(workload.model())
  const names = Array.from({ length: PARTITIONS }, (_, partition) => partitionName(OUT, partition))
  const ends = await world.log.offsets(names, 'stable')
  const positions = new Map(await world.log.offsets(names, 'start'))
  const reader = world.log.reader('committed')
  reader.assign(positions)
  while (names.some((name) => (positions.get(name) as number) < (ends.get(name) as number))) {
    for (const fetched of await reader.poll({ bytes: 8 * 1024 * 1024, waitMs: 100 })) {
      if (fetched.kind !== 'batches') throw fetched.kind === 'failed' ? fetched.error : new Error(`${fetched.partition} has a gap`)
      positions.set(fetched.partition, fetched.next)
      const partition = names.indexOf(fetched.partition)
      for (const batch of fetched.batches) {
        for (let i = 0; i < batch.count; i++) verifier.take({ partition, key: (batch.key(i) as Buffer).toString(), value: batch.value(i) })
      }
    }
  }
  await reader.close()
  await close()
  return verifier.verdict()
}

if (import.meta.main) {
  const records = Number(process.argv[2] ?? 300_000)
  const result = await w1Embedded({
    records,
    uniform: process.argv.includes('--uniform'),
    nodeArgs: process.argv.includes('--prof') ? ['--cpu-prof', '--cpu-prof-dir=/tmp/prof'] : [],
  })
  console.log(JSON.stringify(result, null, 1))
}
