/**
 * What a process left behind, looked at in a copy: the folder itself is for the next process to find as it is. Reads with the drivers of
 * tidemark, so it can tell what no output of a killed process can: which transaction was open, and which store had not got its commit.
 */
import { cpSync, existsSync, readdirSync } from 'node:fs'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { openEmbeddedLog, type Recovery } from '../../src/drivers/embedded/index.ts'
import { levelState } from '../../src/drivers/level/index.ts'
import { changelogTopic } from '../../src/plan/naming.ts'
import { type Log, type LogDriver, type PartitionName, partitionName } from '../../src/ports/log.ts'
import type { RecordBatch } from '../../src/ports/record-batch/index.ts'
import { decodeCheckpoint } from '../../src/runtime/meta.ts'
import { CHK_KEY } from '../../src/runtime/rows.ts'
import { verify } from '../../src/runtime/verify.ts'
import type { World } from '../../src/runtime/world.ts'
import { openWorld } from '../../src/start.ts'
import { retail } from '../../topologies/retail/index.ts'

/** What lies behind the last decision may be control batches alone, which are written when there is time; then nothing was under way. */
const CONTROL_BATCH_BYTES = 78

/** What was found in a folder. */
export interface Left {
  /** Records had been written and not decided about: a transaction was in the middle. */
  readonly undecided: boolean
  /** Tasks whose store had not got what the log had decided, and how many records those were. */
  readonly behind: { readonly tasks: number; readonly records: number }
  /** What must never be, in words. */
  readonly wrong: readonly string[]
}

/** A folder that is gone after `work`. */
export async function inScratch<T>(work: (folder: string) => Promise<T>): Promise<T> {
  const folder = await mkdtemp(join(tmpdir(), 'tidemark-crash-'))
  try {
    return await work(folder)
  } finally {
    await rm(folder, { recursive: true, force: true })
  }
}

export function copy(from: string, to: string): void {
  cpSync(from, to, { recursive: true })
}

/** The world of a folder that nobody has open, with what its log found when it was opened. */
export async function openFolder(dir: string): Promise<{ world: World; recovery: Recovery; close(): Promise<void> }> {
  let recovery: Recovery | undefined
  const log: LogDriver = {
    name: 'embedded',
    open: async ({ clock, random, codecs }) => {
      const { nodeFs: fs } = await import('../../src/drivers/node/index.ts')
      const broker = await openEmbeddedLog({ folder: join(dir, 'log'), fs, clock, random, codecs, fsync: 'never' })
      recovery = broker.recovery
      return { log: broker.client(), close: () => broker.close() }
    },
  }
  const opened = await openWorld({ dir, log })
  return { ...opened, recovery: recovery as Recovery }
}

/** Looks at a copy of `dir`, which nobody has open. With `whole`, every row and every batch is read and compared with its sums. */
export async function lookAt(dir: string, { whole }: { readonly whole: boolean }): Promise<Left> {
  if (!existsSync(join(dir, 'log', 'journal'))) return { undecided: false, behind: { tasks: 0, records: 0 }, wrong: [] }
  return await inScratch(async (scratch) => {
    const own = join(scratch, 'copy')
    copy(dir, own)
    const wrong = wipedIn(dir).map((task) => `the state of ${task} was dropped`)
    const opened = await openFolder(own)
    const { world, recovery } = opened
    try {
      const behind = await storesBehind(own, world, wrong)
      if (recovery.dropped > 0) wrong.push(`${recovery.dropped} decisions of the log were dropped`)
      if (whole) for (const { where, error } of (await verify(retail.graph, world)).problems) wrong.push(`${where}: ${error.explain()}`)
      return {
        undecided: recovery.abortedTransactions > 0 || recovery.cutBytes % CONTROL_BATCH_BYTES !== 0,
        behind,
        wrong,
      }
    } finally {
      await opened.close()
    }
  })
}

/** Tasks whose state was moved aside: that folder stays, so it tells of wipes by processes that were killed before they could say so. */
export function wipedIn(dir: string): string[] {
  const state = join(dir, 'state')
  if (!existsSync(state)) return []
  return readdirSync(state, { recursive: true, encoding: 'utf8' }).filter((name) => name.endsWith('.corrupt'))
}

async function storesBehind(dir: string, world: World, wrong: string[]): Promise<Left['behind']> {
  const { log } = world
  const state = levelState({ folder: join(dir, 'state') })
  let tasks = 0
  let records = 0
  for (const id of await state.list(retail.graph.name)) {
    const changelog = partitionName(changelogTopic(id.app, id.stage, id.generation), id.partition)
    const db = await state.open(id)
    const bytes = db.get(CHK_KEY)
    await db.close()
    if (bytes === undefined) continue
    const { next } = decodeCheckpoint(bytes)
    const high = (await log.offsets([changelog], 'high')).get(changelog) as number
    if (next > high) wrong.push(`the store of ${id.stage}/${id.partition} is at ${next}, its changelog ends at ${high}`)
    const lacks = next < high ? await recordsFrom(world, changelog, next) : 0
    if (lacks > 0) tasks++
    records += lacks
  }
  return { tasks, records }
}

/** Committed records of a partition from an offset on. Control batches have offsets too, and are none. */
async function recordsFrom({ log }: World, partition: PartitionName, from: number): Promise<number> {
  let count = 0
  for await (const { columns } of batchesOf(log, partition, from)) count += columns.offsets.filter((offset) => offset >= from).length
  return count
}

/** Committed batches of a partition, from the one with an offset to its end. */
export async function* batchesOf(log: Log, partition: PartitionName, from = 0): AsyncGenerator<RecordBatch> {
  const until = (await log.offsets([partition], 'high')).get(partition) ?? 0
  const reader = log.reader('committed')
  try {
    reader.assign(new Map([[partition, from]]))
    for (let at = from; at < until; ) {
      for (const fetched of await reader.poll({ bytes: 1024 * 1024, waitMs: 100 })) {
        if (fetched.kind !== 'batches')
          throw fetched.kind === 'failed' ? fetched.error : new Error(`${partition} cannot be read from ${at}`)
        yield* fetched.batches
        at = fetched.next
      }
    }
  } finally {
    await reader.close()
  }
}
