/** What a broker owes an idempotent producer whose answers get lost. No client of this process can lose one, so batches are handed in by hand. */
import { describe, expect, it } from 'vitest'
import { nativeCodecs } from '../../../src/drivers/codecs/index.ts'
import { Broker } from '../../../src/drivers/embedded/broker.ts'
import type { Partition } from '../../../src/drivers/embedded/partition.ts'
import { DEFAULT_LIMITS, stampBatch } from '../../../src/ports/record-batch/index.ts'
import { codeFrom, FOLDER, manualClock, quickDisk, seededRandom, values } from './kit.ts'

async function start(): Promise<{ broker: Broker; send: (sequence: number, texts: string[], epoch?: number) => Promise<unknown> }> {
  const broker = await Broker.open({
    folder: FOLDER,
    fs: quickDisk().fs,
    clock: manualClock(),
    random: seededRandom(1),
    codecs: nativeCodecs,
    limits: DEFAULT_LIMITS,
    fsync: 'interval',
    segmentBytes: 1024 * 1024,
    journalBytes: 1024 * 1024,
    compactionBytes: 1024 * 1024,
  })
  await broker.ensure([{ name: 'a', partitions: 1, cleanup: 'delete', retentionMs: -1 }])
  const partition = broker.partition('a/0') as Partition
  return {
    broker,
    send: async (baseSequence, texts, producerEpoch = 0) => {
      const batch = values(...texts)
      stampBatch(batch, { producerId: 7, producerEpoch, baseSequence, transactional: false }, nativeCodecs)
      return broker.appends.produce(partition, batch.bytes, undefined)
    },
  }
}

describe('sequences', () => {
  it('a batch that comes again is written once and answered with its old offsets, as long as it is one of the last five', async () => {
    const { broker, send } = await start()
    const first = await send(0, ['0', '1', '2'])
    expect(first).toEqual({ base: 0, next: 3 })
    expect(await send(0, ['0', '1', '2'])).toEqual(first)
    for (let i = 3; i < 7; i++) await send(i, [String(i)])
    expect(await send(0, ['0', '1', '2'])).toEqual(first)
    await send(7, ['7'])
    expect(await codeFrom(send(0, ['0', '1', '2']))).toBe('SEQUENCE_BROKEN')
    expect(await send(7, ['7'])).toEqual({ base: 7, next: 8 })
    expect((await broker.offsets(['a/0'], 'high')).get('a/0')).toBe(8)
    await broker.close()
  })

  it('a batch that comes again while it is being written is written once', async () => {
    const { broker, send } = await start()
    const [one, two] = await Promise.all([send(0, ['a']), send(0, ['a'])])
    expect(one).toEqual(two)
    expect((await broker.offsets(['a/0'], 'high')).get('a/0')).toBe(1)
    await broker.close()
  })

  it('gaps, other counts under a known number, and older epochs are refused', async () => {
    const { broker, send } = await start()
    await send(0, ['0', '1'])
    expect(await codeFrom(send(3, ['3']))).toBe('SEQUENCE_BROKEN')
    expect(await codeFrom(send(0, ['0']))).toBe('SEQUENCE_BROKEN')
    expect(await codeFrom(send(5, ['of the next epoch'], 1))).toBe('SEQUENCE_BROKEN')
    await send(0, ['of the next epoch'], 1)
    expect(await codeFrom(send(2, ['2'], 0))).toBe('WRITER_FENCED')
    await broker.close()
  })

  it('a producer that is not known may begin anywhere, and numbers go on at 0 after the largest', async () => {
    const { broker, send } = await start()
    await send(2 ** 31 - 2, ['a', 'b'])
    await send(0, ['c'])
    expect(await send(2 ** 31 - 2, ['a', 'b'])).toEqual({ base: 0, next: 2 })
    await broker.close()
  })
})
