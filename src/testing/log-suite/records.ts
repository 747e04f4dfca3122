/** Topics, records, positions and reading: what holds without transactions and groups. */
import { TidemarkError } from '../../base/errors.ts'
import { nodeClock } from '../../drivers/node/index.ts'
import type { Compression } from '../../ports/record-batch/index.ts'
import { batchesOf, codeFrom, describe, expect, it, type Kit, recordsOf, TIME } from './kit.ts'

export function recordTests(kit: Kit): void {
  describe('topics', () => {
    it('a topic is made as specified, keeps its id, and describe leaves out what does not exist', async () => {
      const name = kit.name('topic')
      const spec = { name, partitions: 3, cleanup: 'compact', retentionMs: -1, tombstoneMs: 5_000 } as const
      const [made] = await kit.log.ensure([spec])
      expect(made).toMatchObject(spec)
      expect(made?.id).toMatch(/./)
      expect(await kit.log.ensure([spec])).toEqual([made])
      expect(await kit.log.describe([kit.name('absent'), name])).toEqual([made])
      expect((await kit.log.describe()).map((topic) => topic.name)).toContain(name)
    })

    it('a topic that exists with other partitions or another cleanup is refused', async () => {
      const name = await kit.topic({ partitions: 2 })
      const spec = { name, partitions: 2, cleanup: 'delete', retentionMs: -1 } as const
      expect(await codeFrom(kit.log.ensure([{ ...spec, partitions: 3 }]))).toBe('TOPIC_MISMATCH')
      expect(await codeFrom(kit.log.ensure([{ ...spec, cleanup: 'compact' }]))).toBe('TOPIC_MISMATCH')
      expect((await kit.log.describe([name]))[0]?.partitions).toBe(2)
    })

    it('a topic of ours that keeps less than it must is refused, and one of others is theirs', async () => {
      const brief = await kit.topic({ retentionMs: 3_600_000 })
      const spec = { name: brief, partitions: 1, cleanup: 'delete', retentionMs: -1 } as const
      expect(await codeFrom(kit.log.ensure([spec]))).toBe('TOPIC_MISMATCH')
      expect(await kit.log.ensure([{ ...spec, owner: 'theirs' }])).toMatchObject([{ name: brief, retentionMs: 3_600_000 }])
      // Longer is no less.
      expect(await kit.log.ensure([{ ...spec, retentionMs: 60_000 }])).toMatchObject([{ name: brief }])
      const hasty = await kit.topic({ cleanup: 'compact', tombstoneMs: 1_000 })
      const rows = { name: hasty, partitions: 1, cleanup: 'compact', retentionMs: -1, tombstoneMs: 2_000 } as const
      expect(await codeFrom(kit.log.ensure([rows]))).toBe('TOPIC_MISMATCH')
      expect(await kit.log.ensure([{ ...rows, owner: 'theirs' }])).toMatchObject([{ name: hasty, tombstoneMs: 1_000 }])
    })

    it('an unknown topic is named, not made', async () => {
      const name = kit.name('absent')
      const writer = await kit.log.plainWriter()
      expect(await codeFrom(writer.append(`${name}/0`, kit.values('a')))).toBe('TOPIC_UNKNOWN')
      expect(await codeFrom(kit.log.offsets([`${name}/0`], 'high'))).toBe('TOPIC_UNKNOWN')
      expect(await kit.log.describe([name])).toEqual([])
      await writer.close()
    })
  })

  describe('records', () => {
    it('of an append without a transaction whose guard refuses are not written, and the append says why', async () => {
      const partition = `${await kit.topic()}/0`
      const lost = (): never => {
        throw new TidemarkError('MEMBER_LOST', 'the place is lost')
      }
      let asked = 0
      const plain = await kit.log.plainWriter()
      await plain.append(partition, kit.values('before'), () => {
        asked++
      })
      expect(asked).toBe(1)
      expect(await codeFrom(plain.append(partition, kit.values('never'), lost))).toBe('MEMBER_LOST')
      await plain.append(partition, kit.values('after'))
      await plain.close()
      expect(await kit.readValues(partition)).toEqual(['before', 'after'])
    })

    it('come back as they were appended: null keys and values, headers, timestamps', async () => {
      const partition = `${await kit.topic()}/0`
      const headers = [
        { name: 'twice', value: Buffer.from('1') },
        { name: 'twice', value: Buffer.from('2') },
        { name: '', value: null },
      ]
      await kit.append(
        partition,
        kit.batch([
          { key: 'a', value: 'text', time: TIME + 5, headers },
          { key: null, value: 'no key', time: TIME },
          { key: 'no value', value: null, time: TIME + 1 },
          { key: '', value: '', time: 0 },
        ]),
      )
      expect(await kit.read(partition)).toEqual([
        { offset: 0, key: 'a', value: 'text', time: TIME + 5, headers },
        { offset: 1, key: null, value: 'no key', time: TIME, headers: [] },
        { offset: 2, key: 'no value', value: null, time: TIME + 1, headers: [] },
        { offset: 3, key: '', value: '', time: 0, headers: [] },
      ])
    })

    it('may be of any time, also of days to come: times are those of the facts', async () => {
      const partition = `${await kit.topic()}/0`
      const times = [nodeClock.now() + 2 * 86_400_000, 0, nodeClock.now(), Date.UTC(9999, 0)]
      await kit.append(partition, kit.batch(times.map((time) => ({ time }))))
      expect((await kit.read(partition)).map(({ time }) => time)).toEqual(times)
    })

    for (const compression of ['none', 'gzip', 'snappy', 'lz4', 'zstd'] as Compression[]) {
      it(`survive compression ${compression}`, async () => {
        const partition = `${await kit.topic()}/0`
        const entries = Array.from({ length: 500 }, (_, i) => ({ key: `key ${i % 7}`, value: `value ${i} `.repeat(10) }))
        await kit.append(partition, kit.batch(entries, compression))
        expect((await kit.read(partition)).map(({ key, value }) => ({ key, value }))).toEqual(entries)
      })
    }

    it('may be as large as 900 KB', async () => {
      const partition = `${await kit.topic()}/0`
      const large = Buffer.alloc(900_000, 'x')
      await kit.append(partition, kit.values('before'), kit.batch([{ value: large }]), kit.values('after'))
      const values = await kit.readValues(partition, { bytes: 1 })
      expect(values.map((value) => value?.length)).toEqual([6, 900_000, 5])
    })

    it('more than 200,000 of them are read in order, none twice and none missing', async () => {
      const partition = `${await kit.topic()}/0`
      const each = 21_000
      const batches = Array.from({ length: 10 }, (_, batch) =>
        kit.batch(Array.from({ length: each }, (_, i) => ({ key: null, value: String(batch * each + i) }))),
      )
      await kit.append(partition, ...batches)
      const values = await kit.readValues(partition)
      expect(values.length).toBe(10 * each)
      expect(values.findIndex((value, i) => value !== String(i))).toBe(-1)
    })

    it('keep the order of the calls with many appends under way', async () => {
      const topic = await kit.topic({ partitions: 3 })
      const writer = await kit.log.plainWriter()
      const results = await Promise.all(
        Array.from({ length: 300 }, (_, i) => writer.append(`${topic}/${i % 3}`, kit.values(`${i} a`, `${i} b`))),
      )
      for (const [i, { base, next }] of results.entries()) {
        expect(next - base).toBe(2)
        if (i >= 3) expect(base).toBeGreaterThan(results[i - 3]?.base as number)
      }
      for (const partition of [0, 1, 2]) {
        const numbers = Array.from({ length: 100 }, (_, i) => i * 3 + partition)
        expect(await kit.readValues(`${topic}/${partition}`)).toEqual(numbers.flatMap((i) => [`${i} a`, `${i} b`]))
      }
      await writer.close()
    })
  })

  describe('positions', () => {
    it('reading from any offset gives exactly what follows it', async () => {
      const partition = `${await kit.topic()}/0`
      await kit.append(partition, kit.values('0', '1', '2'), kit.values('3'), kit.values('4', '5'))
      const all = await kit.read(partition)
      for (const { offset } of all) {
        expect(await kit.read(partition, { from: offset })).toEqual(all.filter((record) => record.offset >= offset))
      }
    })

    it('the position moves to next with each answer, and assign sets it anew', async () => {
      const partition = `${await kit.topic()}/0`
      await kit.append(partition, kit.values('a'), kit.values('b'), kit.values('c'))
      const reader = kit.log.reader('committed')
      reader.assign(new Map([[partition, 0]]))
      const seen: string[] = []
      let next = 0
      while (next < 3) {
        const got = batchesOf((await kit.poll(reader, 1))[0] as never)
        expect(got.batches[0]?.baseOffset).toBe(next)
        seen.push(...recordsOf(got).map(({ value }) => value as string))
        next = got.next
      }
      expect(seen).toEqual(['a', 'b', 'c'])
      reader.assign(new Map([[partition, 1]]))
      const again = batchesOf((await kit.poll(reader))[0] as never)
      expect(recordsOf(again).map(({ value }) => value)).toEqual(['b', 'c'])
      await reader.close()
    })

    it('a position behind the end is a gap, not other records', async () => {
      const partition = `${await kit.topic()}/0`
      await kit.append(partition, kit.values('a'))
      const reader = kit.log.reader('committed')
      reader.assign(new Map([[partition, 1_000]]))
      const [gap] = await kit.poll(reader)
      expect(gap).toMatchObject({ kind: 'gap', partition, position: 1_000, logStart: 0 })
      await reader.close()
    })

    it('offsets tell the start, the end, and the first record not older than a time', async () => {
      const partition = `${await kit.topic()}/0`
      expect(await kit.log.offsets([partition], 'start')).toEqual(new Map([[partition, 0]]))
      expect(await kit.log.offsets([partition], 'high')).toEqual(new Map([[partition, 0]]))
      const times = [10, 20, 15, 30, 40]
      const [first, second] = [times.slice(0, 3), times.slice(3)].map((part) => kit.batch(part.map((time) => ({ time: TIME + time }))))
      await kit.append(partition, first as never, second as never)
      const high = (await kit.log.offsets([partition], 'high')).get(partition) as number
      expect(high).toBeGreaterThanOrEqual(5)
      expect((await kit.log.offsets([partition], 'stable')).get(partition)).toBe(high)
      for (const [time, offset] of [
        [0, 0],
        [10, 0],
        [11, 1],
        [20, 1],
        [21, 3],
        [40, 4],
        [41, high],
      ] as const) {
        expect((await kit.log.offsets([partition], { time: TIME + time })).get(partition)).toBe(offset)
      }
    })
  })

  describe('polling', () => {
    it('an empty poll answers nothing, and a waiting one hears what comes', async () => {
      const partition = `${await kit.topic()}/0`
      const reader = kit.log.reader('committed')
      reader.assign(new Map([[partition, 0]]))
      expect(await reader.poll({ bytes: 1_000, waitMs: 0 })).toEqual([])
      const waiting = reader.poll({ bytes: 1_000, waitMs: 30_000 })
      await kit.append(partition, kit.values('late'))
      expect((await waiting).flatMap((fetched) => recordsOf(batchesOf(fetched))).map(({ value }) => value)).toEqual(['late'])
      await reader.close()
    })

    it('an unknown partition is answered as failed, and the others are read', async () => {
      const partition = `${await kit.topic()}/0`
      const absent = `${kit.name('absent')}/0`
      await kit.append(partition, kit.values('a'))
      const reader = kit.log.reader('committed')
      reader.assign(
        new Map([
          [absent, 0],
          [partition, 0],
        ]),
      )
      const kinds = new Map<string, string>()
      while (kinds.size < 2) for (const fetched of await kit.poll(reader)) kinds.set(fetched.partition, fetched.kind)
      expect(kinds).toEqual(
        new Map([
          [absent, 'failed'],
          [partition, 'batches'],
        ]),
      )
      await reader.close()
    })

    it('paused partitions are left out until they are not', async () => {
      const topic = await kit.topic({ partitions: 2 })
      await kit.append(`${topic}/0`, kit.values('zero'))
      await kit.append(`${topic}/1`, kit.values('one'))
      const reader = kit.log.reader('committed')
      reader.assign(
        new Map([
          [`${topic}/0`, 0],
          [`${topic}/1`, 0],
        ]),
      )
      reader.pause(new Set([`${topic}/0`]))
      expect((await kit.poll(reader)).map(({ partition }) => partition)).toEqual([`${topic}/1`])
      expect(await reader.poll({ bytes: 1_000, waitMs: 50 })).toEqual([])
      reader.pause(new Set())
      expect((await kit.poll(reader)).map(({ partition }) => partition)).toEqual([`${topic}/0`])
      await reader.close()
    })

    it('however small the budget, every partition has its turn', async () => {
      const topic = await kit.topic({ partitions: 3 })
      for (const partition of [0, 1, 2]) {
        await kit.append(`${topic}/${partition}`, ...Array.from({ length: 5 }, (_, i) => kit.values(`${i}`)))
      }
      const reader = kit.log.reader('committed')
      reader.assign(new Map([0, 1, 2].map((partition) => [`${topic}/${partition}`, 0])))
      const counts = new Map<string, number>()
      let polls = 0
      while ([...counts.values()].reduce((sum, count) => sum + count, 0) < 15) {
        for (const fetched of await kit.poll(reader, 1)) {
          counts.set(fetched.partition, (counts.get(fetched.partition) ?? 0) + recordsOf(batchesOf(fetched)).length)
        }
        if (++polls === 9) expect(counts.size).toBe(3)
      }
      expect([...counts.values()]).toEqual([5, 5, 5])
      await reader.close()
    })

    it('a poll ends by its signal and by the end of the reader', async () => {
      const partition = `${await kit.topic()}/0`
      const reader = kit.log.reader('committed')
      reader.assign(new Map([[partition, 0]]))
      const stop = new AbortController()
      const aborted = reader.poll({ bytes: 1, waitMs: 30_000, signal: stop.signal })
      const reason = new Error('enough')
      stop.abort(reason)
      await expect(aborted).rejects.toBe(reason)
      const closed = codeFrom(reader.poll({ bytes: 1, waitMs: 30_000 }))
      await reader.close()
      expect(await closed).toBe('LOG_CLOSED')
      expect(await codeFrom(reader.poll({ bytes: 1, waitMs: 0 }))).toBe('LOG_CLOSED')
    })

    it('a waiting poll follows a new assignment', async () => {
      const topic = await kit.topic({ partitions: 2 })
      await kit.append(`${topic}/1`, kit.values('there'))
      const reader = kit.log.reader('committed')
      reader.assign(new Map([[`${topic}/0`, 0]]))
      const waiting = reader.poll({ bytes: 1_000, waitMs: 30_000 })
      reader.assign(new Map([[`${topic}/1`, 0]]))
      expect((await waiting).map(({ partition }) => partition)).toEqual([`${topic}/1`])
      await reader.close()
    })
  })
}
