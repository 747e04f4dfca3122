/** What is kept and what goes: trimming, compaction, and the end of the process. */
import { codeFrom, describe, expect, it, type Kit, type Read } from './kit.ts'

export function keepingTests(kit: Kit): void {
  describe('trimming', () => {
    const test = kit.when('trim')

    test('moves the start: what lies before is a gap, what follows stays', async () => {
      const partition = `${await kit.topic()}/0`
      await kit.append(partition, ...Array.from({ length: 10 }, (_, i) => kit.values(`${i} a`, `${i} b`)))
      await kit.log.trim(partition, 7)
      expect(await kit.log.offsets([partition], 'start')).toEqual(new Map([[partition, 7]]))
      const reader = kit.log.reader('committed')
      for (const position of [0, 6]) {
        reader.assign(new Map([[partition, position]]))
        expect(await kit.poll(reader)).toMatchObject([{ kind: 'gap', partition, position, logStart: 7 }])
      }
      await reader.close()
      expect((await kit.read(partition)).map(({ offset }) => offset)).toEqual([7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19])
    })

    test('up to the end leaves an empty partition that goes on', async () => {
      const partition = `${await kit.topic()}/0`
      await kit.append(partition, kit.values('a', 'b'))
      await kit.log.trim(partition, 2)
      expect(await kit.readValues(partition)).toEqual([])
      await kit.append(partition, kit.values('c'))
      expect(await kit.read(partition)).toMatchObject([{ offset: 2, value: 'c' }])
    })

    test('of an unknown topic is refused', async () => {
      expect(await codeFrom(kit.log.trim(`${kit.name('absent')}/0`, 1))).toBe('TOPIC_UNKNOWN')
    })
  })

  describe('compaction', () => {
    const test = kit.when('compaction')

    test('keeps the last record of every key with its offset, and positions are reached from everywhere', async () => {
      const topic = await kit.topic({ cleanup: 'compact' })
      const partition = `${topic}/0`
      const filler = 'x'.repeat(2_000)
      const writer = await kit.log.plainWriter()
      const written: (Read | { key: string; value: string | null })[] = []
      for (let round = 0; round < 40; round++) {
        const entries = Array.from({ length: 25 }, (_, i) => ({
          key: `key ${(round * 7 + i) % 60}`,
          value: round % 5 === 4 && i % 3 === 0 ? null : `${round} ${i} ${filler}`,
        }))
        written.push(...entries)
        await writer.append(partition, kit.batch(entries, round % 2 === 0 ? 'none' : 'gzip'))
      }
      const before = await kit.read(partition)
      await kit.fixture.compact?.(topic)
      const after = await kit.read(partition)
      expect(after.length).toBeLessThan(before.length)
      expect(lastOfEachKey(after)).toEqual(lastOfEachKey(before))
      // What is left was there before, with the same offsets, times and values.
      const known = new Map(before.map((record) => [record.offset, record]))
      for (const record of after) expect(record).toEqual(known.get(record.offset))
      const high = (await kit.log.offsets([partition], 'high')).get(partition) as number
      for (let from = 0; from < high; from += 37) {
        expect(await kit.read(partition, { from })).toEqual(after.filter(({ offset }) => offset >= from))
      }
      await writer.close()
    })

    test('a record without a key is refused where it could never be compacted', async () => {
      const partition = `${await kit.topic({ cleanup: 'compact' })}/0`
      for (const compression of ['none', 'gzip'] as const) {
        const writer = await kit.log.plainWriter()
        const batch = kit.batch([{ key: 'a' }, { key: null }], compression)
        expect(await codeFrom(writer.append(partition, batch))).toBe('KEY_INVALID')
        await writer.close()
      }
      expect(await kit.readValues(partition)).toEqual([])
    })
  })

  describe('the end of the process', () => {
    const test = kit.when('durable')

    test('takes nothing that was acknowledged: records, positions, topics, aborted transactions', async () => {
      const topic = await kit.topic({ partitions: 2 })
      const [zero, one] = [`${topic}/0`, `${topic}/1`]
      const group = kit.name('group')
      const writer = await kit.log.writer(kit.name('writer'))
      await writer.append(zero, kit.values('kept'))
      await writer.append(one, kit.values('kept too'))
      await writer.commit([{ group, identity: undefined, positions: new Map([[zero, 3]]) }])
      await writer.append(zero, kit.values('dropped'))
      await writer.abort()
      await kit.append(zero, kit.values('plain'))
      await writer.append(one, kit.values('open'))
      const described = await kit.log.describe([topic])
      await kit.fixture.restart?.()
      kit.log = await kit.fixture.connect()
      expect(await kit.log.describe([topic])).toEqual(described)
      expect(await kit.readValues(zero)).toEqual(['kept', 'plain'])
      expect(await kit.readValues(one)).toEqual(['kept too'])
      expect(await kit.log.committed(group, [zero])).toEqual(new Map([[zero, 3]]))
      expect((await kit.log.offsets([one], 'stable')).get(one)).toBe((await kit.log.offsets([one], 'high')).get(one))
    })
  })

  describe('closing', () => {
    it('a closed log refuses every call, and other clients go on', async () => {
      const topic = await kit.topic()
      const client = await kit.fixture.connect()
      const reader = client.reader('committed')
      const writer = await client.plainWriter()
      reader.assign(new Map([[`${topic}/0`, 0]]))
      const waiting = codeFrom(reader.poll({ bytes: 1, waitMs: 30_000 }))
      await client.close()
      await client.close()
      expect(await waiting).toBe('LOG_CLOSED')
      const refused = [
        client.describe(),
        client.plainWriter(),
        client.writer('any'),
        client.offsets([`${topic}/0`], 'high'),
        client.committed('any', [`${topic}/0`]),
        writer.append(`${topic}/0`, kit.values('a')),
      ]
      for (const call of refused) expect(await codeFrom(call)).toBe('LOG_CLOSED')
      await kit.append(`${topic}/0`, kit.values('still'))
      expect(await kit.readValues(`${topic}/0`)).toEqual(['still'])
    })
  })
}

function lastOfEachKey(records: readonly Read[]): Map<string | null, Read> {
  return new Map(records.map((record) => [record.key, record]))
}
