/** Transactions: atomic, fenced, and never half visible. */
import { nodeClock } from '../../drivers/node/index.ts'
import type { Writer } from '../../ports/log.ts'
import { batchesOf, codeFrom, describe, expect, type Kit, recordsOf } from './kit.ts'

const NOBODY = { identity: undefined }

export function transactionTests(kit: Kit): void {
  const test = kit.when('transactions')

  describe('transactions', () => {
    test('become visible in all partitions with the positions, and not before', async () => {
      const topic = await kit.topic({ partitions: 3 })
      const source = `${await kit.topic()}/0`
      const group = kit.name('group')
      const partitions = [0, 1, 2].map((partition) => `${topic}/${partition}`)
      const writer = await kit.log.writer(kit.name('writer'))
      await Promise.all(partitions.map((partition) => writer.append(partition, kit.values('a', 'b'))))
      expect(await kit.log.offsets(partitions, 'stable')).toEqual(new Map(partitions.map((partition) => [partition, 0])))
      for (const partition of partitions) expect(await kit.readValues(partition, { isolation: 'uncommitted' })).toEqual(['a', 'b'])
      expect(await kit.log.committed(group, [source])).toEqual(new Map())
      expect(await writer.commit([{ group, ...NOBODY, positions: new Map([[source, 7]]) }])).toEqual({ kind: 'committed' })
      for (const partition of partitions) expect(await kit.readValues(partition)).toEqual(['a', 'b'])
      expect(await settled(kit, group, source)).toBe(7)
      await writer.close()
    })

    test('follow each other in one writer, and a commit of nothing is one', async () => {
      const partition = `${await kit.topic()}/0`
      const writer = await kit.log.writer(kit.name('writer'))
      expect(await writer.commit([])).toEqual({ kind: 'committed' })
      for (const value of ['1', '2', '3']) {
        await writer.append(partition, kit.values(value))
        expect(await writer.commit([])).toEqual({ kind: 'committed' })
      }
      expect(await kit.readValues(partition)).toEqual(['1', '2', '3'])
      await writer.close()
    })

    test('that are aborted stay invisible, with their positions, and the writer goes on', async () => {
      const partition = `${await kit.topic()}/0`
      const writer = await kit.log.writer(kit.name('writer'))
      await writer.append(partition, kit.values('kept 1'))
      await writer.commit([])
      await writer.append(partition, kit.values('dropped'))
      await writer.abort()
      await writer.append(partition, kit.values('kept 2'))
      await writer.commit([])
      expect(await kit.readValues(partition)).toEqual(['kept 1', 'kept 2'])
      expect(await kit.readValues(partition, { isolation: 'uncommitted' })).toEqual(['kept 1', 'dropped', 'kept 2'])
      await writer.close()
    })

    for (const [first, second] of [
      ['commit', 'commit'],
      ['commit', 'abort'],
      ['abort', 'commit'],
      ['abort', 'abort'],
    ] as const) {
      test(`of two writers and plain records may interleave (${first} of the first, ${second} of the second)`, async () => {
        const partition = `${await kit.topic()}/0`
        const [one, two] = [await kit.log.writer(kit.name('one')), await kit.log.writer(kit.name('two'))]
        const plain = await kit.log.plainWriter()
        await one.append(partition, kit.values('one a'))
        await two.append(partition, kit.values('two a'))
        await plain.append(partition, kit.values('plain'))
        await one.append(partition, kit.values('one b'))
        await two.append(partition, kit.values('two b'))
        await end(two, second)
        // The first one is open and comes first, so nothing can be seen yet.
        expect((await kit.log.offsets([partition], 'stable')).get(partition)).toBe(0)
        await plain.append(partition, kit.values('plain b'))
        await end(one, first)
        const expected = ['one a', 'two a', 'plain', 'one b', 'two b', 'plain b'].filter(
          (value) => !(first === 'abort' && value.startsWith('one')) && !(second === 'abort' && value.startsWith('two')),
        )
        expect(await kit.readValues(partition)).toEqual(expected)
        for (const writer of [one, two, plain]) await writer.close()
      })
    }

    test('that are aborted and larger than an answer are passed over whole', async () => {
      const partition = `${await kit.topic()}/0`
      const writer = await kit.log.writer(kit.name('writer'))
      const filler = 'x'.repeat(50_000)
      for (let i = 0; i < 40; i++) await writer.append(partition, kit.values(`${i} ${filler}`))
      await writer.abort()
      await writer.append(partition, kit.values('after'))
      await writer.commit([])
      expect(await kit.readValues(partition, { bytes: 60_000 })).toEqual(['after'])
      await writer.close()
    })

    test('reading may begin anywhere inside aborted ones, also where two of them overlap', async () => {
      const partition = `${await kit.topic()}/0`
      const [one, two] = [await kit.log.writer(kit.name('one')), await kit.log.writer(kit.name('two'))]
      await one.append(partition, kit.values('one 1'))
      await two.append(partition, kit.values('two 1'))
      await kit.append(partition, kit.values('plain 1'))
      await one.append(partition, kit.values('one 2'))
      await two.append(partition, kit.values('two 2'))
      // They are ended in the other order than they began.
      await two.abort()
      await kit.append(partition, kit.values('plain 2'))
      await one.append(partition, kit.values('one 3'))
      await one.abort()
      await one.append(partition, kit.values('one kept'))
      await one.commit([])
      await two.append(partition, kit.values('two kept'))
      await two.commit([])
      const all = await kit.read(partition)
      expect(all.map(({ value }) => value)).toEqual(['plain 1', 'plain 2', 'one kept', 'two kept'])
      const high = (await kit.log.offsets([partition], 'high')).get(partition) as number
      for (let from = 0; from < high; from++) {
        for (const bytes of [1, 1_000_000]) {
          const read = await kit.read(partition, { from, bytes })
          expect(read).toEqual(all.filter(({ offset }) => offset >= from))
        }
      }
      for (const writer of [one, two]) await writer.close()
    })

    test('two aborted ones of one writer in one answer are both passed over', async () => {
      const partition = `${await kit.topic()}/0`
      const writer = await kit.log.writer(kit.name('writer'))
      for (const round of ['1', '2']) {
        await writer.append(partition, kit.batch([{ key: Buffer.alloc(4).toString('latin1'), value: `dropped ${round}` }]))
        await writer.append(partition, kit.values(`dropped ${round} too`))
        await writer.abort()
      }
      await writer.append(partition, kit.values('kept'))
      await writer.commit([])
      expect(await kit.readValues(partition)).toEqual(['kept'])
      await writer.close()
    })
  })

  describe('fencing', () => {
    test('a new writer of an id ends the open transaction of the old one, whose appends and commits are refused', async () => {
      const partition = `${await kit.topic()}/0`
      const id = kit.name('writer')
      const other = await kit.fixture.connect()
      const old = await kit.log.writer(id)
      await old.append(partition, kit.values('of the old one'))
      const fresh = await other.writer(id)
      expect(await codeFrom(old.append(partition, kit.values('too late')))).toBe('WRITER_FENCED')
      expect((await old.commit([])).kind).toBe('fenced')
      await fresh.append(partition, kit.values('of the new one'))
      expect(await fresh.commit([])).toEqual({ kind: 'committed' })
      expect(await kit.readValues(partition)).toEqual(['of the new one'])
      await old.close()
      await other.close()
    })

    test('a new writer of an id ends the open transaction of an old one that is never heard of again', async () => {
      const partition = `${await kit.topic()}/0`
      const id = kit.name('writer')
      const silent = await kit.log.writer(id)
      await silent.append(partition, kit.values('of the silent one'))
      await kit.append(partition, kit.values('plain'))
      const fresh = await kit.log.writer(id)
      expect(await kit.readValues(partition)).toEqual(['plain'])
      await fresh.append(partition, kit.values('of the new one'))
      expect(await fresh.commit([])).toEqual({ kind: 'committed' })
      expect(await kit.readValues(partition)).toEqual(['plain', 'of the new one'])
      for (const writer of [silent, fresh]) await writer.close()
    })

    test('a fenced commit moves no positions', async () => {
      const source = `${await kit.topic()}/0`
      const id = kit.name('writer')
      const group = kit.name('group')
      const old = await kit.log.writer(id)
      await old.append(source, kit.values('x'))
      const fresh = await kit.log.writer(id)
      expect((await old.commit([{ group, ...NOBODY, positions: new Map([[source, 9]]) }])).kind).toBe('fenced')
      expect(await settled(kit, group, source)).toBeUndefined()
      for (const writer of [old, fresh]) await writer.close()
    })

    test('a commit that meets the next writer of its id is decided: visible with its positions, or neither', async () => {
      const partition = `${await kit.topic()}/0`
      const group = kit.name('group')
      const id = kit.name('writer')
      const kinds: string[] = []
      const visible: string[] = []
      let writer = await kit.log.writer(id)
      for (let round = 0; round < 10; round++) {
        await writer.append(partition, kit.values(`${round}`))
        const commit = writer.commit([{ group, ...NOBODY, positions: new Map([[partition, round + 1]]) }])
        // In some rounds the commit has a head start of some turns.
        for (let turn = 0; turn < round; turn++) await Promise.resolve()
        const next = await kit.log.writer(id)
        const { kind } = await commit
        kinds.push(kind)
        if (kind === 'committed') visible.push(`${round}`)
        else if (kind !== 'in-doubt') expect(kind).toBe('fenced')
        const values = await kit.readValues(partition)
        if (kind === 'in-doubt' && values.length > visible.length) visible.push(`${round}`)
        expect(values).toEqual(visible)
        expect(await settled(kit, group, partition)).toBe(visible.length === 0 ? undefined : Number(visible.at(-1)) + 1)
        await writer.close()
        writer = next
      }
      expect(kinds).toHaveLength(10)
      await writer.close()
    })

    test('fence ends the open transactions of dead writers and leaves the living alone', async () => {
      const partition = `${await kit.topic()}/0`
      const prefix = kit.name('app')
      const [dead, live, foreign] = [
        await kit.log.writer(`${prefix}-dead`),
        await kit.log.writer(`${prefix}-live`),
        await kit.log.writer(kit.name('other')),
      ]
      await dead.append(partition, kit.values('dead'))
      await live.append(partition, kit.values('live'))
      await foreign.append(partition, kit.values('foreign'))
      await kit.log.fence(prefix, new Set([`${prefix}-live`]))
      expect((await dead.commit([])).kind).toBe('fenced')
      expect((await live.commit([])).kind).toBe('committed')
      expect((await foreign.commit([])).kind).toBe('committed')
      expect(await kit.readValues(partition)).toEqual(['live', 'foreign'])
      for (const writer of [dead, live, foreign]) await writer.close()
    })

    test('a writer that is closed with an open transaction leaves nothing behind that readers wait for', async () => {
      const partition = `${await kit.topic()}/0`
      const id = kit.name('writer')
      const writer = await kit.log.writer(id)
      await writer.append(partition, kit.values('left'))
      await writer.close()
      const next = await kit.log.writer(id)
      await kit.append(partition, kit.values('plain'))
      expect(await kit.readValues(partition)).toEqual(['plain'])
      await next.close()
    })

    test('an append to an unknown topic is refused, and with it the whole transaction: what else is lost with it is told that, and not of the topic', async () => {
      const partition = `${await kit.topic()}/0`
      const writer = await kit.log.writer(kit.name('writer'))
      await writer.append(partition, kit.values('never seen'))
      const refused = codeFrom(writer.append(`${kit.name('absent')}/0`, kit.values('a')))
      const beside = codeFrom(writer.append(partition, kit.values('beside it')))
      expect(await refused).toBe('TOPIC_UNKNOWN')
      // It may have been written before the other failed.
      expect(['no error', 'COMMIT_ABORTED']).toContain(await beside)
      expect(await codeFrom(writer.append(partition, kit.values('too late')))).toBe('COMMIT_ABORTED')
      expect((await writer.commit([])).kind).toBe('aborted')
      await kit.append(partition, kit.values('seen'))
      expect(await kit.readValues(partition)).toEqual(['seen'])
      await writer.close()
    })

    test('a commit that is asked for right behind its appends has them all, and their positions', async () => {
      const topic = await kit.topic({ partitions: 2 })
      const source = `${await kit.topic()}/0`
      const group = kit.name('group')
      const writer = await kit.log.writer(kit.name('writer'))
      for (const round of [1, 2, 3]) {
        const sent = ['a', 'b', 'c'].map((value, i) => writer.append(`${topic}/${i % 2}`, kit.values(`${value}${round}`)))
        expect(await writer.commit([{ group, ...NOBODY, positions: new Map([[source, round]]) }])).toEqual({ kind: 'committed' })
        await Promise.all(sent)
      }
      expect(await kit.readValues(`${topic}/0`)).toEqual(['a1', 'c1', 'a2', 'c2', 'a3', 'c3'])
      expect(await kit.readValues(`${topic}/1`)).toEqual(['b1', 'b2', 'b3'])
      expect(await settled(kit, group, source)).toBe(3)
      await writer.close()
    })

    test('a commit that is asked for right behind an append that fails commits nothing, and no positions', async () => {
      const partition = `${await kit.topic()}/0`
      const source = `${await kit.topic()}/0`
      const group = kit.name('group')
      const writer = await kit.log.writer(kit.name('writer'))
      const sent = [writer.append(partition, kit.values('never seen')), writer.append(`${kit.name('absent')}/0`, kit.values('a'))]
      const outcome = writer.commit([{ group, ...NOBODY, positions: new Map([[source, 9]]) }])
      expect((await Promise.allSettled(sent)).map(({ status }) => status).at(-1)).toBe('rejected')
      expect((await outcome).kind).toBe('aborted')
      await writer.close()
      const next = await kit.log.writer(writer.id)
      await next.append(partition, kit.values('seen'))
      expect(await next.commit([{ group, ...NOBODY, positions: new Map([[source, 1]]) }])).toEqual({ kind: 'committed' })
      expect(await kit.readValues(partition)).toEqual(['seen'])
      expect(await settled(kit, group, source)).toBe(1)
      await next.close()
    })
  })

  describe('committed positions', () => {
    test('are the last ones committed, group by group, and never made up', async () => {
      const topic = await kit.topic({ partitions: 2 })
      const [zero, one] = [`${topic}/0`, `${topic}/1`]
      const [group, other] = [kit.name('group'), kit.name('group')]
      const writer = await kit.log.writer(kit.name('writer'))
      await writer.append(zero, kit.values('a'))
      await writer.commit([
        {
          group,
          ...NOBODY,
          positions: new Map([
            [zero, 1],
            [one, 5],
          ]),
        },
        { group: other, ...NOBODY, positions: new Map([[one, 3]]) },
      ])
      await writer.append(zero, kit.values('b'))
      await writer.commit([{ group, ...NOBODY, positions: new Map([[zero, 2]]) }])
      expect([await settled(kit, group, zero), await settled(kit, group, one)]).toEqual([2, 5])
      expect([await settled(kit, other, zero), await settled(kit, other, one)]).toEqual([undefined, 3])
      await kit.log.commitPositions({ group, ...NOBODY, positions: new Map([[one, 4]]) })
      expect(await settled(kit, group, one)).toBe(4)
      await writer.close()
    })

    test('while a transaction that carries them ends are the old ones, the new ones, or unstable', async () => {
      const partition = `${await kit.topic()}/0`
      const group = kit.name('group')
      const writer = await kit.log.writer(kit.name('writer'))
      const seen = new Set<unknown>()
      for (let round = 1; round <= 20; round++) {
        await writer.append(partition, kit.values(`${round}`))
        const end = { over: false }
        const commit = writer.commit([{ group, ...NOBODY, positions: new Map([[partition, round]]) }]).finally(() => {
          end.over = true
        })
        while (!end.over) {
          const positions = await kit.log.committed(group, [partition])
          const position = positions === 'unstable' ? positions : (positions.get(partition) ?? 0)
          seen.add(typeof position === 'string' ? position : position - round)
          await nodeClock.turn()
        }
        await commit
      }
      for (const each of seen) expect(['unstable', -1, 0]).toContain(each)
      await writer.close()
    })
  })

  describe('answers for committed records', () => {
    test('carry the ends of the partition, and a position that passes what is not shown', async () => {
      const partition = `${await kit.topic()}/0`
      const writer = await kit.log.writer(kit.name('writer'))
      await writer.append(partition, kit.values('dropped'))
      await writer.abort()
      await kit.append(partition, kit.values('plain'))
      await writer.append(partition, kit.values('open'))
      const reader = kit.log.reader('committed')
      reader.assign(new Map([[partition, 0]]))
      const values: (string | null)[] = []
      let next = 0
      const stable = (await kit.log.offsets([partition], 'stable')).get(partition) as number
      while (next < stable) {
        const got = batchesOf((await kit.poll(reader))[0] as never)
        for (const batch of got.batches) expect([batch.control, batch.count > 0]).toEqual([false, true])
        values.push(...recordsOf(got).map(({ value }) => value))
        next = got.next
        expect(got.next).toBeLessThanOrEqual(got.stable)
        expect(got.stable).toBeLessThan(got.high)
        expect(got.logStart).toBe(0)
      }
      expect(values).toEqual(['plain'])
      expect(await reader.poll({ bytes: 1_000, waitMs: 50 })).toEqual([])
      await reader.close()
      await writer.close()
    })
  })
}

async function end(writer: Writer, how: 'commit' | 'abort'): Promise<void> {
  if (how === 'abort') return writer.abort()
  expect(await writer.commit([])).toEqual({ kind: 'committed' })
}

/** The committed position, once no transaction is about to change it. */
async function settled(kit: Kit, group: string, partition: string): Promise<number | undefined> {
  for (let tries = 0; tries < 1_000; tries++) {
    const positions = await kit.log.committed(group, [partition])
    if (positions !== 'unstable') return positions.get(partition)
    await nodeClock.turn()
  }
  throw new Error(`the position of ${partition} in ${group} stays unstable`)
}
