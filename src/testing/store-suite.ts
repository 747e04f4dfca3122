/**
 * What every state driver promises, as tests. A driver passes them all or it is not a state driver: there is nothing to skip.
 * What they cannot show is what only one kind of storage has: that rows survive a killed process, a full disk, a power cut.
 *
 * @example
 * import { storeSuite } from 'tidemark/testing'
 * import { myState } from './my-state.ts'
 * storeSuite({ name: 'my state', make: async () => ({ driver: myState(), cleanup: async () => {} }) })
 */
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { codeOf } from '../base/errors.ts'
import type { StateDriver, StateId, StoreBatch, TaskStore } from '../ports/store.ts'
import { compareWithMap } from './store-suite-model.ts'

export interface StoreSuiteOptions {
  /** Heads the tests. */
  readonly name: string
  /** A driver without any state; called before each test, and `cleanup` after it. Stores that a test left open are closed by then. */
  readonly make: () => Promise<{ readonly driver: StateDriver; cleanup(): Promise<void> }>
  /** How many seeds the comparison with a sorted map runs over, default 20. Seeds are 1, 2, 3 and so on; a failure names its seed. */
  readonly seeds?: number | undefined
}

const ID: StateId = { app: 'suite', stage: 'orders', generation: 1, partition: 0 }
const END = undefined
const ALL = { from: Buffer.alloc(0), to: END, limit: 1_000_000 }

const text = (value: string): Buffer => Buffer.from(value, 'latin1')
const rows = (...pairs: (readonly [key: string, value: string | null])[]): StoreBatch => ({
  keys: pairs.map(([key]) => text(key)),
  values: pairs.map(([, value]) => (value === null ? null : text(value))),
})
const readable = (entries: readonly (readonly [Buffer, Buffer])[]): string[] =>
  entries.map(([key, value]) => `${key.toString('latin1')}=${value.toString('latin1')}`)
/** Everything in a store, as `key=value`. */
const contents = async (store: TaskStore): Promise<string[]> => readable(await store.range(ALL))
/** The code that a promise is rejected with, or what else happened. */
const refusal = async (work: Promise<unknown>): Promise<string> =>
  work.then(
    () => 'not refused',
    (error: unknown) => codeOf(error) ?? (error instanceof TypeError ? 'TypeError' : String(error)),
  )

/** Declares the tests under vitest. */
export function storeSuite({ name, make, seeds = 20 }: StoreSuiteOptions): void {
  describe(`state driver: ${name}`, () => {
    let driver: StateDriver
    let cleanup: () => Promise<void>
    let opened: TaskStore[]
    const open = async (id: StateId = ID): Promise<TaskStore> => {
      const store = await driver.open(id)
      opened.push(store)
      return store
    }

    beforeEach(async () => {
      opened = []
      const made = await make()
      driver = made.driver
      cleanup = () => made.cleanup()
    })
    afterEach(async () => {
      for (const store of opened) await store.close()
      await cleanup()
    })

    describe('a batch', () => {
      it('is read back once its write has resolved, and what was never written is undefined', async () => {
        const store = await open()
        expect(store.get(text('a'))).toBeUndefined()
        await store.write(rows(['a', '1'], ['b', '2']))
        expect(store.get(text('a'))).toEqual(text('1'))
        expect(store.get(text('b'))).toEqual(text('2'))
        expect(store.get(text('ab'))).toBeUndefined()
      })

      it('replaces and deletes, and deletes what is not there without complaint', async () => {
        const store = await open()
        await store.write(rows(['a', '1'], ['b', '2'], ['c', '3']))
        await store.write(rows(['a', 'one'], ['b', null], ['never', null]))
        expect(await contents(store)).toEqual(['a=one', 'c=3'])
        expect(store.get(text('b'))).toBeUndefined()
      })

      it('lets the last write of a key win', async () => {
        const store = await open()
        await store.write(rows(['a', '1'], ['a', '2'], ['b', '1'], ['b', null], ['c', null], ['c', '3']))
        expect(await contents(store)).toEqual(['a=2', 'c=3'])
      })

      it('may be empty', async () => {
        const store = await open()
        await store.write(rows(['a', '1']))
        await store.write(rows())
        await store.write(rows(), { durable: true })
        expect(await contents(store)).toEqual(['a=1'])
      })

      it('may be asked to survive a power cut, and is then read back like any other', async () => {
        const store = await open()
        await store.write(rows(['a', '1']), { durable: true })
        await store.write(rows(['b', '2']), { durable: false })
        expect(await contents(store)).toEqual(['a=1', 'b=2'])
      })

      it('belongs to its caller again as soon as write has returned, before it resolves', async () => {
        const store = await open()
        const arena = Buffer.alloc(4000)
        const keys: Buffer[] = []
        const values: Buffer[] = []
        for (let i = 0; i < 1000; i++) {
          arena.writeUInt32BE(i, i * 4)
          keys.push(arena.subarray(i * 4, i * 4 + 4))
          values.push(arena.subarray(i * 4 + 2, i * 4 + 4))
        }
        const writing = store.write({ keys, values })
        arena.fill(0xee)
        keys.fill(text('other'))
        values.fill(text('other'))
        await writing
        const found = await store.range(ALL)
        expect(found.map(([key, value]) => [key.readUInt32BE(), value.readUInt16BE()])).toEqual(
          Array.from({ length: 1000 }, (_, i) => [i, i]),
        )
      })

      it('is refused, and nothing of it written, when its columns differ in length', async () => {
        const store = await open()
        expect(await refusal(store.write({ keys: [text('a'), text('b')], values: [text('1')] }))).toBe('TypeError')
        expect(await refusal(store.write({ keys: [text('a')], values: [text('1'), text('2')] }))).toBe('TypeError')
        expect(await contents(store)).toEqual([])
        await store.write(rows(['c', '3']))
        expect(await contents(store)).toEqual(['c=3'])
      })

      it('is refused while another is being written, which is not disturbed', async () => {
        const store = await open()
        const first = store.write(rows(['a', '1']))
        expect(await refusal(store.write(rows(['a', '2'])))).toBe('TypeError')
        await first
        await store.write(rows(['b', '3']))
        expect(await contents(store)).toEqual(['a=1', 'b=3'])
      })
    })

    describe('a read', () => {
      it('gives bytes that belong to the caller, from get and from range', async () => {
        const store = await open()
        await store.write(rows(['a', 'first'], ['b', 'second']))
        store.get(text('a'))?.fill(0)
        for (const [key, value] of await store.range(ALL)) {
          key.fill(0xff)
          value.fill(0xff)
        }
        expect(store.get(text('a'))).toEqual(text('first'))
        expect(await contents(store)).toEqual(['a=first', 'b=second'])
      })

      it('takes plain byte arrays and views into larger buffers', async () => {
        const store = await open()
        const large = text('...key...value...')
        await store.write({ keys: [large.subarray(3, 6)], values: [new Uint8Array(large.subarray(9, 14))] })
        expect(store.get(new Uint8Array(text('key')))).toEqual(text('value'))
        expect(readable(await store.range({ from: new Uint8Array(text('k')), to: new Uint8Array(text('l')), limit: 9 }))).toEqual([
          'key=value',
        ])
      })
    })

    describe('a range', () => {
      it('is in byte order, with 0x00 and 0xff like any other byte and a prefix before what it starts', async () => {
        const store = await open()
        const sorted = [
          '',
          '\x00',
          '\x00\x00',
          '\x00\xff',
          '\x01',
          'a',
          'a\x00',
          'a\x00\x01',
          'a\x01',
          'aa',
          'b',
          '\x7f',
          '\x80',
          '\xfe\xff',
          '\xff',
          '\xff\x00',
          '\xff\xff',
        ]
        const shuffled = sorted.map((_, i) => sorted[(i * 7) % sorted.length] as string)
        await store.write(rows(...shuffled.map((key) => [key, `<${key}>`] as const)))
        expect(await contents(store)).toEqual(sorted.map((key) => `${key}=<${key}>`))
      })

      it('starts at its first key, ends before its last, and is empty when they are equal or crossed', async () => {
        const store = await open()
        await store.write(rows(['a', '1'], ['b', '2'], ['c', '3'], ['d', '4']))
        const range = async (from: string, to: string | undefined, limit = 99): Promise<string[]> =>
          readable(await store.range({ from: text(from), to: to === undefined ? END : text(to), limit }))
        expect(await range('b', 'd')).toEqual(['b=2', 'c=3'])
        expect(await range('aa', 'cc')).toEqual(['b=2', 'c=3'])
        expect(await range('c', undefined)).toEqual(['c=3', 'd=4'])
        expect(await range('', 'b')).toEqual(['a=1'])
        expect(await range('', '')).toEqual([])
        expect(await range('b', 'b')).toEqual([])
        expect(await range('d', 'a')).toEqual([])
        expect(await range('e', undefined)).toEqual([])
      })

      it('has at most so many entries as asked for, and pages join without a seam', async () => {
        const store = await open()
        const keys = Array.from({ length: 2500 }, (_, i) => String(i).padStart(5, '0'))
        await store.write(rows(...keys.map((key) => [key, 'x'.repeat(200)] as const)))
        expect(await store.range({ ...ALL, limit: 0 })).toEqual([])
        expect((await store.range({ ...ALL, limit: 2 ** 40 })).length).toBe(2500)
        for (const limit of [1, 999, 1000, 1001, 2499, 2500, 2501]) {
          expect((await store.range({ ...ALL, limit })).map(([key]) => key.toString())).toEqual(keys.slice(0, limit))
        }
        const paged: string[] = []
        for (let from = ALL.from; ; ) {
          const page = await store.range({ from, to: text('02000'), limit: 300 })
          paged.push(...page.map(([key]) => key.toString()))
          const last = page.at(-1)
          if (last === undefined) break
          from = Buffer.concat([last[0], Buffer.alloc(1)])
        }
        expect(paged).toEqual(keys.slice(0, 2000))
        expect(await refusal(store.range({ ...ALL, limit: -1 }))).toBe('TypeError')
        expect(await refusal(store.range({ ...ALL, limit: Number.NaN }))).toBe('TypeError')
      })

      it('is from one moment: it holds all of a batch that is written meanwhile, or nothing of it', async () => {
        const store = await open()
        const keys = Array.from({ length: 3000 }, (_, i) => text(String(i).padStart(5, '0')))
        await store.write({ keys, values: keys.map(() => text('0')) })
        for (let round = 1; round <= 10; round++) {
          // Halves of the keys are deleted and put back in turn, so a mixture would show in the count as well as in the values.
          const values = keys.map((_, i) => (i % 2 === round % 2 ? null : text(String(round))))
          const before = store.range(ALL)
          const writing = store.write({ keys, values })
          const during = store.range(ALL)
          await writing
          const after = store.range(ALL)
          const shapes = (await Promise.all([before, during, after])).map((found) =>
            [...new Set(found.map(([, value]) => value.toString()))].join(),
          )
          expect(shapes[0], `round ${round}, before`).toBe(String(round - 1))
          expect([String(round - 1), String(round)], `round ${round}, during`).toContain(shapes[1])
          expect(shapes[2], `round ${round}, after`).toBe(String(round))
        }
      })
    })

    describe('sizes', () => {
      it('keeps an empty key, which is before all others, and an empty value, which is not a delete', async () => {
        const store = await open()
        await store.write(rows(['', 'of the empty key'], ['a', '']))
        expect(store.get(text(''))).toEqual(text('of the empty key'))
        expect(store.get(text('a'))).toEqual(text(''))
        expect(await contents(store)).toEqual(['=of the empty key', 'a='])
        await store.write(rows(['', null]))
        expect(await contents(store)).toEqual(['a='])
      })

      it('keeps keys of 1 MiB and values of 10 MiB', async () => {
        const id = ID
        const store = await open(id)
        const key = Buffer.alloc(1024 * 1024, 'k')
        const longer = Buffer.concat([key, Buffer.of(0)])
        const value = Buffer.alloc(10 * 1024 * 1024, 'some bytes, ')
        await store.write({ keys: [longer, key], values: [text('short'), value] })
        await store.close()
        const again = await open(id)
        expect(again.get(key)?.equals(value)).toBe(true)
        const found = await again.range(ALL)
        expect(found.map(([k, v]) => [k.length, v.length])).toEqual([
          [key.length, value.length],
          [longer.length, 5],
        ])
      })
    })

    describe('a store', () => {
      it('holds after it was closed and opened again what it held before', async () => {
        const first = await open()
        await first.write(rows(['a', '1'], ['b', '2']))
        await first.write(rows(['b', null], ['c', '3']))
        await first.close()
        const second = await open()
        expect(await contents(second)).toEqual(['a=1', 'c=3'])
        await second.write(rows(['d', '4']))
        await second.close()
        expect(await contents(await open())).toEqual(['a=1', 'c=3', 'd=4'])
      })

      it('finishes a batch that is being written when it is closed', async () => {
        const store = await open()
        const writing = store.write(rows(['a', '1'], ['b', '2']))
        await store.close()
        await writing
        expect(await contents(await open())).toEqual(['a=1', 'b=2'])
      })

      it('ends a range that is under way when it is closed, in full or with STORE_CLOSED', async () => {
        const store = await open()
        await store.write({
          keys: Array.from({ length: 5000 }, (_, i) => Buffer.from(String(i))),
          values: Array.from({ length: 5000 }, () => Buffer.alloc(500)),
        })
        const reading = refusal(store.range(ALL).then((found) => expect(found.length).toBe(5000)))
        await store.close()
        expect(['not refused', 'STORE_CLOSED']).toContain(await reading)
      })

      it('refuses all use after it was closed, and is closed twice without complaint', async () => {
        const store = await open()
        await store.write(rows(['a', '1']))
        await store.close()
        await store.close()
        expect(await refusal((async () => store.get(text('a')))())).toBe('STORE_CLOSED')
        expect(await refusal(store.range(ALL))).toBe('STORE_CLOSED')
        expect(await refusal(store.write(rows(['a', '2'])))).toBe('STORE_CLOSED')
        expect(await contents(await open())).toEqual(['a=1'])
      })

      it('cannot be opened twice at a time, and the first is not disturbed', async () => {
        const first = await open()
        await first.write(rows(['a', '1']))
        expect(await refusal(open())).toBe('STORE_LOCKED')
        expect(await refusal(open())).toBe('STORE_LOCKED')
        await first.write(rows(['b', '2']))
        expect(await contents(first)).toEqual(['a=1', 'b=2'])
        await first.close()
        expect(await contents(await open())).toEqual(['a=1', 'b=2'])
      })

      it('shares nothing with another app, stage, generation or partition, even when all are written at once', async () => {
        const ids: StateId[] = [
          ID,
          { ...ID, partition: 1 },
          { ...ID, generation: 2 },
          { ...ID, stage: 'orders-g1' },
          { ...ID, app: 'suite2' },
        ]
        const stores = await Promise.all(ids.map((id) => open(id)))
        await Promise.all(stores.map((store, i) => store.write(rows(['a', `of ${i}`], [`only ${i}`, 'x']))))
        for (const [i, store] of stores.entries()) expect(await contents(store)).toEqual([`a=of ${i}`, `only ${i}=x`])
      })
    })

    describe('the driver', () => {
      it('lists what was opened and not removed, by app', async () => {
        expect(await driver.list('suite')).toEqual([])
        const ids: StateId[] = [
          ID,
          { ...ID, partition: 10 },
          { ...ID, partition: 2 },
          { ...ID, generation: 2 },
          { ...ID, stage: 'orders-g1' },
        ]
        for (const id of [...ids, { ...ID, app: 'suite2' }]) await (await open(id)).close()
        const listed = await driver.list('suite')
        expect(listed).toEqual(expect.arrayContaining(ids))
        expect(listed.length).toBe(ids.length)
        await driver.destroy(ids[1] as StateId)
        await driver.quarantine(ids[2] as StateId)
        expect((await driver.list('suite')).length).toBe(ids.length - 2)
        expect(await driver.list('suite2')).toEqual([{ ...ID, app: 'suite2' }])
      })

      for (const deed of ['destroy', 'quarantine'] as const) {
        it(`makes a store empty by ${deed}, and no other`, async () => {
          const other = { ...ID, partition: 1 }
          for (const id of [ID, other]) {
            const store = await open(id)
            await store.write(rows(['a', '1']))
            await store.close()
          }
          await driver[deed](ID)
          const emptied = await open(ID)
          expect(await contents(emptied)).toEqual([])
          await emptied.write(rows(['b', '2']))
          await emptied.close()
          await driver[deed](ID)
          await driver[deed](ID)
          expect(await contents(await open(ID))).toEqual([])
          expect(await contents(await open(other))).toEqual(['a=1'])
        })

        it(`refuses to ${deed} a store that is open`, async () => {
          const store = await open()
          await store.write(rows(['a', '1']))
          expect(await refusal(driver[deed](ID))).toBe('STORE_LOCKED')
          await store.write(rows(['b', '2']))
          await store.close()
          expect(await contents(await open())).toEqual(['a=1', 'b=2'])
        })
      }
    })

    it('answers every get and range as a sorted map would, over random batches, reopenings and emptyings', async () => {
      for (let seed = 1; seed <= seeds; seed++) await compareWithMap(driver, { ...ID, partition: seed }, seed)
    })
  })
}
