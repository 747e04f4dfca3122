/** What is told of partitions that stand still: of a log that answers as brokers do. */
import { expect, test } from 'vitest'
import type { TidemarkError } from '../../src/base/errors.ts'
import type { HangingTransaction, Log, OffsetAt } from '../../src/ports/log.ts'
import type { TelemetryEvent } from '../../src/ports/telemetry.ts'
import { STALL_MS, Stalls, TRANSACTION_MS_MAX } from '../../src/runtime/stalls.ts'
import { manualClock } from '../../src/testing/index.ts'

const HANGS: HangingTransaction = { partition: 'out/1', offset: 40, producerId: 7, producerEpoch: 3, writer: 'app-worker/0' }

/** What the log answers, and what came of it. */
function watched() {
  const clock = manualClock()
  const answers = {
    high: new Map([
      ['in/0', 10],
      ['out/1', 60],
    ]),
    stable: new Map([
      ['in/0', 10],
      ['out/1', 40],
    ]),
    committed: new Map() as ReadonlyMap<string, number> | 'unstable',
    hanging: [] as readonly HangingTransaction[],
  }
  const asked: (readonly string[])[] = []
  const events: TelemetryEvent[] = []
  const own: TidemarkError[] = []
  const log = {
    manifest: { hanging: true },
    offsets: (_: readonly string[], at: OffsetAt) => Promise.resolve(at === 'stable' ? answers.stable : answers.high),
    committed: () => Promise.resolve(answers.committed),
    hanging: (partitions: readonly string[]) => {
      asked.push(partitions)
      return Promise.resolve(answers.hanging)
    },
  }
  const stalls = new Stalls({
    world: { log: log as unknown as Log, clock, telemetry: { count: () => {}, event: (event) => void events.push(event) } },
    group: 'app',
    writer: 'app-worker/0',
    inputs: ['in/0'],
    written: ['out/1'],
    onOwn: (error) => void own.push(error),
  })
  /** Time passes; it looks every five seconds. */
  const pass = async (ms: number): Promise<void> => {
    for (let left = ms; left > 0; left -= 5_000) {
      await stalls.look()
      await clock.advance(5_000)
    }
    await stalls.look()
  }
  return { answers, asked, events, own, stalls, pass }
}

test('a partition that stands still for longer than any transaction of ours is asked about, and what hangs there is told once', async () => {
  const { answers, asked, events, own, stalls, pass } = watched()
  answers.hanging = [HANGS]
  await pass(STALL_MS - 5_000)
  expect([asked, stalls.hanging]).toEqual([[], []])
  await pass(15_000)
  expect(asked[0]).toEqual(['out/1'])
  const [error] = stalls.hanging
  expect(error?.code).toBe('TRANSACTION_HANGING')
  expect(error?.message).toMatch(/^a transaction without an end holds up out\/1 at offset 40 since .*Z \(30 s\)$/)
  expect(error?.detail).toContain('Producer 7, epoch 3, of writer "app-worker/0".')
  expect(error?.hint).toContain('kafka-transactions.sh --bootstrap-server ... abort --topic out --partition 1 --start-offset 40 ')
  expect(events).toEqual([{ kind: 'warning', error }])
  // It is its own, so its next writer may end it.
  expect(own).toEqual([error])
})

test('a writer that was just opened is opened once more when something of its own hangs, and for nobody else', async () => {
  const { answers, asked, events, stalls } = watched()
  expect(await stalls.left()).toBe(false)
  answers.hanging = [{ ...HANGS, writer: 'app-worker/1' }]
  expect([await stalls.left(), events]).toEqual([false, []])
  answers.hanging = [HANGS]
  expect([await stalls.left(), events]).toMatchObject([true, [{ kind: 'warning', error: { code: 'TRANSACTION_HANGING' } }]])
  expect(asked[0]).toEqual(['in/0', 'out/1'])
})

test('one that only takes long is not told', async () => {
  const { asked, events, stalls, pass } = watched()
  await pass(10 * STALL_MS)
  expect(asked.length).toBeGreaterThan(1)
  expect([events, stalls.hanging]).toEqual([[], []])
})

test('one that moves on is not asked about, however much is open behind it', async () => {
  const { answers, asked, pass } = watched()
  for (let offset = 40; offset < 60; offset++) {
    answers.stable.set('out/1', offset)
    await pass(10_000)
  }
  expect(asked).toEqual([])
})

test('what was ended is not told any more', async () => {
  const { answers, stalls, pass } = watched()
  answers.hanging = [HANGS]
  await pass(STALL_MS + 5_000)
  expect(stalls.hanging).toHaveLength(1)
  answers.stable.set('out/1', 60)
  await pass(5_000)
  expect(stalls.hanging).toEqual([])
})

test('of a producer that the log does not show, only time tells that it hangs: no transaction may be open for so long', async () => {
  const { answers, own, stalls, pass } = watched()
  answers.hanging = [{ ...HANGS, writer: undefined }]
  await pass(TRANSACTION_MS_MAX - 5_000)
  expect(stalls.hanging).toEqual([])
  await pass(10_000)
  expect(stalls.hanging[0]?.detail).toContain('of a writer that no coordinator shows')
  expect(own).toEqual([])
})

test('positions of the group that stay undecided are asked about, and what hangs among those of other groups is not ours', async () => {
  const { answers, asked, stalls, pass } = watched()
  const positions = { ...HANGS, partition: '__consumer_offsets/3' }
  answers.hanging = [positions]
  await pass(STALL_MS + 10_000)
  expect(stalls.hanging).toEqual([])
  answers.committed = 'unstable'
  await pass(STALL_MS + 5_000)
  expect(stalls.hanging[0]?.message).toContain('__consumer_offsets/3')
  expect(asked.at(-1)).toEqual(['out/1'])
})
