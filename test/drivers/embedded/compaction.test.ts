import { describe, expect, it } from 'vitest'
import { nativeCodecs } from '../../../src/drivers/codecs/index.ts'
import type { EmbeddedLog } from '../../../src/drivers/embedded/index.ts'
import { KeyTable } from '../../../src/drivers/embedded/key-table.ts'
import { type RecordBatch, readBatches } from '../../../src/ports/record-batch/index.ts'
import type { SimulatedDisk } from '../../../src/testing/disk.ts'
import { keyed, manualClock, open, quickDisk, readAll, type Seen, seededRandom, slowDisk } from './kit.ts'

const TOPIC = { name: 'c', partitions: 1, cleanup: 'compact', retentionMs: -1, tombstoneMs: 10_000 } as const
const SMALL = { segmentBytes: 1_024 } as const

/** Rounds of the same keys, a batch each: updates, deletes, and aborted transactions between them. */
async function fill(log: EmbeddedLog, rounds: number, from = 0): Promise<void> {
  const client = log.client()
  await client.ensure([TOPIC])
  const [writer, plain] = [await client.writer('w'), await client.plainWriter()]
  for (let round = from; round < from + rounds; round++) {
    const entries = [0, 1, 2, 3].map((i) => {
      const key = `key ${(round * 3 + i * 2) % 11}`
      return [key, (round + i) % 6 === 0 ? null : `${round} ${i} ${'x'.repeat(40)}`] as const
    })
    if (round % 4 === 1) {
      await writer.append('c/0', keyed(...entries.map(([key]) => [key, `aborted ${round}`] as const)))
      await writer.abort()
    }
    if (round % 2 === 0) await plain.append('c/0', keyed(...entries))
    else {
      await writer.append('c/0', keyed(...entries))
      await writer.commit([])
    }
  }
  // The control batch of the last commit is written with this one.
  await plain.append('c/0', keyed(['end', `${from}`]))
  await plain.close()
}

function lastOfEachKey(records: readonly Seen[]): Map<string | null, Seen> {
  return new Map(records.map((record) => [record.key, record]))
}

/** The batches of every segment, by the offset that its file begins with. */
function segments(disk: SimulatedDisk): Map<number, RecordBatch[]> {
  const found = new Map<number, RecordBatch[]>()
  for (const [path, bytes] of disk.files()) {
    const name = /(\d{20})\.log$/.exec(path)
    if (name === null) continue
    const { batches, consumed } = readBatches(bytes, nativeCodecs)
    expect(consumed).toBe(bytes.length)
    found.set(Number(name[1]), batches)
  }
  return found
}

describe('compaction', () => {
  it('keeps the last record of every key in closed segments, drops aborted ones, and touches the last segment not at all', async () => {
    const disk = quickDisk()
    const log = await open(disk, SMALL)
    await fill(log, 40)
    const before = await readAll(log.client(), 'c/0')
    const files = segments(disk)
    const active = Math.max(...files.keys())
    const [report] = await log.compact('c')
    expect(report?.bytesAfter).toBeLessThan((report?.bytesBefore ?? 0) / 2)
    const after = await readAll(log.client(), 'c/0')
    expect(lastOfEachKey(after)).toEqual(lastOfEachKey(before))
    const offsets = new Map(before.map((record) => [record.offset, record]))
    for (const record of after) expect(record).toEqual(offsets.get(record.offset))
    const closed = after.filter(({ offset }) => offset < active)
    expect(new Set(closed.map(({ key }) => key)).size).toBe(closed.length)
    const uncommitted = await readAll(log.client(), 'c/0', 'uncommitted')
    expect(uncommitted.filter(({ offset, value }) => offset < active && value?.startsWith('aborted'))).toEqual([])
    expect(segments(disk).get(active)).toEqual(files.get(active))
    // Files that have become small are made one by the next compaction.
    await fill(log, 4, 40)
    await log.compact('c')
    expect(segments(disk).size).toBeLessThan(files.size / 2)
    await log.close()
  })

  it('lets an aborted record replace nothing, and keeps none of it', async () => {
    const disk = quickDisk()
    const log = await open(disk, SMALL)
    const client = log.client()
    await client.ensure([TOPIC])
    const [writer, plain] = [await client.writer('w'), await client.plainWriter()]
    await plain.append('c/0', keyed(['a', 'kept'], ['b', 'kept too']))
    await writer.append('c/0', keyed(['a', 'aborted'], ['only', 'aborted']))
    await plain.append('c/0', keyed(['b', 'newer']))
    await writer.append('c/0', keyed(['b', 'aborted']))
    await writer.abort()
    for (let i = 0; i < 10; i++) await plain.append('c/0', keyed([`filler ${i}`, 'x'.repeat(200)]))
    await log.compact('c')
    const all = await readAll(client, 'c/0', 'uncommitted')
    expect(all.filter(({ key }) => key?.length === 1 || key === 'only')).toMatchObject([
      { offset: 0, key: 'a', value: 'kept' },
      { offset: 4, key: 'b', value: 'newer' },
    ])
    await log.close()
  })

  it('keeps batches where they were, smaller, and an empty one where a file would else not reach its end', async () => {
    const disk = quickDisk()
    const log = await open(disk, SMALL)
    await fill(log, 40)
    const original = new Map([...segments(disk).values()].flat().map((batch) => [batch.baseOffset, batch]))
    await log.compact('c')
    const files = [...segments(disk)].sort(([a], [b]) => a - b)
    let emptied = 0
    for (const [i, [, batches]] of files.entries()) {
      for (const batch of batches) {
        const first = original.get(batch.baseOffset) as RecordBatch
        expect([batch.lastOffset, batch.baseTimestamp, batch.producerId, batch.producerEpoch, batch.baseSequence]).toEqual([
          first.lastOffset,
          first.baseTimestamp,
          first.producerId,
          first.producerEpoch,
          first.baseSequence,
        ])
        expect(batch.count).toBeLessThanOrEqual(first.count)
        if (batch.count === 0) emptied++
        // The ends of aborted transactions stay, those of committed ones go unless a file ends with them.
        if (batch.controlType === 'commit' && i < files.length - 1) expect(batch).toBe(batches.at(-1))
      }
      const next = files[i + 1]
      if (next !== undefined) expect((batches.at(-1)?.lastOffset as number) + 1).toBe(next[0])
    }
    expect(emptied).toBeLessThanOrEqual(files.length)
    await log.close()
  })

  it('keeps a tombstone for its time after a compaction first saw it, also over a restart, and the key stays deleted', async () => {
    const disk = quickDisk()
    const clock = manualClock()
    let log = await open(disk, { ...SMALL, clock })
    const client = log.client()
    await client.ensure([TOPIC])
    const writer = await client.plainWriter()
    await writer.append('c/0', keyed(['gone', 'value'], ['kept', 'value']))
    await writer.append('c/0', keyed(['gone', null]))
    const fillers = async (name: string): Promise<void> => {
      const filler = await log.client().plainWriter()
      for (let i = 0; i < 12; i++) await filler.append('c/0', keyed([`${name} ${i}`, 'x'.repeat(200)]))
    }
    const tombstones = async (): Promise<string[]> =>
      (await readAll(log.client(), 'c/0')).filter(({ value }) => value === null).map(({ key }) => key as string)
    await fillers('a')
    await log.compact('c')
    expect((await readAll(log.client(), 'c/0')).filter(({ key }) => key === 'gone')).toMatchObject([{ value: null }])
    await clock.advance(9_000)
    await fillers('b')
    await log.compact('c')
    expect(await tombstones()).toEqual(['gone'])
    await log.close()
    log = await open(disk, { ...SMALL, clock })
    await clock.advance(1_001)
    await fillers('c')
    await log.compact('c')
    expect(await tombstones()).toEqual([])
    const left = (await readAll(log.client(), 'c/0')).filter(({ key }) => key === 'gone' || key === 'kept')
    expect(left).toMatchObject([{ key: 'kept', value: 'value' }])
    await log.close()
  })

  it('takes several passes where the keys of one do not fit, with the same outcome', async () => {
    const outcomes: Seen[][] = []
    for (const compactionBytes of [1_024, 32 * 1024 * 1024]) {
      const disk = quickDisk()
      const log = await open(disk, { ...SMALL, compactionBytes })
      const client = log.client()
      await client.ensure([TOPIC])
      const writer = await client.plainWriter()
      for (let round = 0; round < 60; round++) {
        await writer.append(
          'c/0',
          keyed(...Array.from({ length: 5 }, (_, i) => [`some long key ${(round * 7 + i) % 90}`, `${round}`] as const)),
        )
      }
      const [report] = await log.compact('c')
      if (compactionBytes === 1_024) expect(report?.passes).toBeGreaterThan(2)
      else expect(report?.passes).toBe(1)
      outcomes.push(await readAll(client, 'c/0'))
      await log.close()
    }
    expect(outcomes[0]).toEqual(outcomes[1])
  })

  it('begins by itself when more than half of the closed segments is new', async () => {
    const disk = quickDisk()
    const clock = manualClock()
    const log = await open(disk, { ...SMALL, clock })
    const sizes: number[] = []
    for (let i = 0; i < 10; i++) {
      await fill(log, 20, i * 20)
      await clock.advance(1_000)
      for (let turn = 0; turn < 300; turn++) await clock.turn()
      sizes.push([...segments(disk).values()].flat().reduce((sum, { bytes }) => sum + bytes.length, 0))
    }
    expect(Math.max(...sizes)).toBeLessThan(10_000)
    await log.close()
  })

  it('does not look beyond an open transaction, and goes on when that has ended', async () => {
    const disk = quickDisk()
    const log = await open(disk, SMALL)
    const client = log.client()
    await client.ensure([TOPIC])
    const [writer, plain] = [await client.writer('open'), await client.plainWriter()]
    await plain.append('c/0', keyed(['a', 'first']))
    await writer.append('c/0', keyed(['a', 'of the open one']))
    for (let i = 0; i < 20; i++) await plain.append('c/0', keyed(['a', `${i} ${'x'.repeat(100)}`]))
    await log.compact('c')
    expect(await readAll(client, 'c/0', 'uncommitted')).toHaveLength(22)
    await writer.abort()
    await log.compact('c')
    expect((await readAll(client, 'c/0')).length).toBeLessThan(12)
    expect(lastOfEachKey(await readAll(client, 'c/0')).get('a')?.value).toMatch(/^19/)
    await log.close()
  })

  it('happens under readers without their noticing, wherever they stand', async () => {
    for (let seed = 1; seed <= 12; seed++) {
      const log = await open(slowDisk(seededRandom(seed)), SMALL)
      await fill(log, 40)
      const client = log.client()
      const before = await readAll(client, 'c/0')
      const known = new Set(before.map(({ offset }) => offset))
      const last = [...lastOfEachKey(before).values()].map(({ offset }) => offset)
      const high = (await client.offsets(['c/0'], 'high')).get('c/0') as number
      const compacting = log.compact('c')
      const reading = [0, 17, 50, 90, 120].map(async (from) => {
        const reader = client.reader('committed')
        reader.assign(new Map([['c/0', from]]))
        const seen: number[] = []
        for (let next = from; next < high; ) {
          for (const fetched of await reader.poll({ bytes: 1, waitMs: 1_000 })) {
            if (fetched.kind !== 'batches') throw new Error(JSON.stringify(fetched))
            for (const batch of fetched.batches)
              for (let i = 0; i < batch.count; i++) if (batch.offset(i) >= next) seen.push(batch.offset(i))
            next = fetched.next
          }
        }
        expect(seen.filter((offset) => !known.has(offset))).toEqual([])
        expect(seen).toEqual([...seen].sort((x, y) => x - y))
        expect(seen).toEqual(expect.arrayContaining(last.filter((offset) => offset >= from)))
      })
      await Promise.all([compacting, ...reading])
      await log.close()
    }
  })

  for (const fault of ['crash', 'power cut'] as const) {
    it(`may meet a ${fault} at any disk operation: every key is as it was`, async () => {
      let operations = 0
      for (let at = 1; ; at++) {
        const disk = slowDisk(seededRandom(at))
        let log = await open(disk, SMALL)
        await fill(log, 36)
        const before = await readAll(log.client(), 'c/0')
        await log.close()
        const start = disk.ended
        const struck = new Promise<boolean>((resolve) => {
          disk.before = (operation) => {
            if (operation < start + at) return false
            if (fault === 'crash') disk.crash()
            else disk.powerCut()
            resolve(false)
            return true
          }
        })
        const compacted = open(disk, SMALL).then(async (again) => {
          await again.compact('c')
          await again.close()
          return true
        })
        const ended = await Promise.race([struck, compacted])
        disk.before = () => false
        if (ended) break
        operations = at
        try {
          log = await open(disk, SMALL)
          const after = await readAll(log.client(), 'c/0')
          expect(lastOfEachKey(after)).toEqual(lastOfEachKey(before))
          const offsets = new Map(before.map((record) => [record.offset, record]))
          for (const record of after) expect(record).toEqual(offsets.get(record.offset))
          await fill(log, 2, 36)
          await log.compact('c')
          expect(lastOfEachKey(await readAll(log.client(), 'c/0'))).toEqual(
            lastOfEachKey([...before, ...(await readAll(log.client(), 'c/0'))]),
          )
          await log.close()
          expect([...disk.files().keys()].filter((path) => /\.(swap|cleaned)$/.test(path))).toEqual([])
        } catch (cause) {
          throw new Error(`after a ${fault} at operation ${at}`, { cause })
        }
      }
      expect(operations).toBeGreaterThan(40)
    })
  }

  it('that made several files one leaves a crash where to begin', async () => {
    const disk = quickDisk()
    const clock = manualClock()
    let log = await open(disk, { ...SMALL, clock })
    const client = log.client()
    await client.ensure([TOPIC])
    const [writer, plain] = [await client.writer('w'), await client.plainWriter()]
    const large = (): Promise<unknown> => writer.append('c/0', keyed(['large', 'x'.repeat(900)]))
    // Small files between such whose content is aborted, and so becomes small too.
    for (let i = 0; i < 4; i++) {
      await plain.append('c/0', keyed([`small ${i}`, `${i}`]))
      await large()
      await writer.abort()
    }
    await plain.append('c/0', keyed(['small', 'last']))
    await log.compact('c')
    const files = segments(disk).size
    // What is decided now ends where a file ends: in the next one there is an open transaction only.
    await large()
    await log.compact('c')
    expect(segments(disk).size).toBeLessThan(files - 4)
    await clock.advance(1_000)
    for (let turn = 0; turn < 20; turn++) await clock.turn()
    disk.crash()
    log = await open(disk, SMALL)
    const again = await log.client().plainWriter()
    await again.append('c/0', keyed(['and', 'on']))
    const keys = (await readAll(log.client(), 'c/0')).map(({ key }) => key)
    expect(keys).toEqual(['small 0', 'small 1', 'small 2', 'small 3', 'small', 'and'])
    await log.close()
  })

  it('leaves a topic that keeps everything alone', async () => {
    const disk = quickDisk()
    const log = await open(disk, SMALL)
    await log.client().ensure([{ ...TOPIC, name: 'all', cleanup: 'delete' }])
    const writer = await log.client().plainWriter()
    for (let i = 0; i < 30; i++) await writer.append('all/0', keyed(['a', 'x'.repeat(100)]))
    expect(await log.compact('all')).toEqual([{ partition: 'all/0', passes: 0, bytesBefore: 0, bytesAfter: 0 }])
    expect(await readAll(log.client(), 'all/0')).toHaveLength(30)
    await log.close()
  })
})

describe('the table of keys', () => {
  it('tells the last offset of each key, however many and however alike they are', () => {
    const table = new KeyTable(1_000_000)
    const random = seededRandom(7)
    const expected = new Map<string, number>()
    for (let offset = 0; offset < 20_000; offset++) {
      const key = 'k'.repeat(Math.floor(random.unit() * 4)) + Math.floor(random.unit() * 3_000)
      const bytes = Buffer.from(`..${key}..`)
      table.set(bytes, 2, bytes.length - 2, offset)
      expected.set(key, offset)
    }
    expect(table.size).toBe(expected.size)
    for (const [key, offset] of expected) expect(table.get(Buffer.from(key), 0, key.length)).toBe(offset)
    expect(table.get(Buffer.from('absent'), 0, 6)).toBe(-1)
  })
})
