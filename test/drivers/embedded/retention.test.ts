import { describe, expect, it } from 'vitest'
import { nativeCodecs } from '../../../src/drivers/codecs/index.ts'
import { BatchBuilder } from '../../../src/ports/record-batch/index.ts'
import { codeFrom, manualClock, open, quickDisk, readAll, values } from './kit.ts'

describe('retention', () => {
  it('removes whole segments whose records are older than their topic keeps them, and nothing of other topics', async () => {
    const disk = quickDisk()
    const clock = manualClock()
    const log = await open(disk, { clock, segmentBytes: 1_024 })
    const client = log.client()
    await client.ensure([
      { name: 'short', partitions: 1, cleanup: 'delete', retentionMs: 60_000 },
      { name: 'ever', partitions: 1, cleanup: 'delete', retentionMs: -1 },
      { name: 'compacted', partitions: 1, cleanup: 'compact', retentionMs: 60_000 },
    ])
    const writer = await client.plainWriter()
    const append = async (name: string): Promise<void> => {
      const builder = new BatchBuilder({ codecs: nativeCodecs })
      builder.add(clock.now(), Buffer.from(`${clock.mono()}`), Buffer.alloc(200))
      await writer.append(`${name}/0`, builder.finish())
    }
    for (let i = 0; i < 40; i++) {
      for (const name of ['short', 'ever', 'compacted']) await append(name)
      await clock.advance(10_000)
      for (let turn = 0; turn < 20; turn++) await clock.turn()
    }
    const start = (await client.offsets(['short/0'], 'start')).get('short/0') as number
    // The youngest record that was removed is older than a minute; the oldest that is kept need not be younger, but its segment is.
    expect(start).toBeGreaterThan(20)
    expect(start).toBeLessThan(34)
    expect(await readAll(client, 'short/0')).toHaveLength(40 - start)
    expect([...disk.files().keys()].filter((path) => /short-.*\.log$/.test(path)).length).toBeLessThan(7)
    for (const name of ['ever', 'compacted']) expect(await readAll(client, `${name}/0`)).toHaveLength(40)
    await log.close()
  })
})

describe('trimming', () => {
  it('removes whole files, keeps the start over a restart, and is refused beyond what is decided', async () => {
    const disk = quickDisk()
    const clock = manualClock()
    let log = await open(disk, { clock, segmentBytes: 1_024 })
    const client = log.client()
    await client.ensure([{ name: 'a', partitions: 1, cleanup: 'delete', retentionMs: -1 }])
    const writer = await client.plainWriter()
    for (let i = 0; i < 30; i++) await writer.append('a/0', values(`${i} ${'x'.repeat(100)}`))
    const files = (): number => [...disk.files().keys()].filter((path) => path.endsWith('.log')).length
    const before = files()
    await client.trim('a/0', 17)
    // A power cut could still take back what made them superfluous.
    expect(files()).toBe(before)
    await clock.advance(1_000)
    for (let turn = 0; turn < 20; turn++) await clock.turn()
    expect(files()).toBeLessThan(before)
    const transaction = await client.writer('w')
    await transaction.append('a/0', values('open'))
    expect(await codeFrom(client.trim('a/0', 31))).toBe('OPTION_INVALID')
    await client.trim('a/0', 5)
    disk.crash()
    log = await open(disk)
    expect(await log.client().offsets(['a/0'], 'start')).toEqual(new Map([['a/0', 17]]))
    expect(await readAll(log.client(), 'a/0')).toHaveLength(13)
    await log.close()
  })
})
