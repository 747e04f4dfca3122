/** What rows of a projection say of where they come from, deleted ones included, and what a state topic says of them. */
import { describe, expect, test } from 'vitest'
import { context, contract, type Flow, text, topology } from '#tidemark'
import { CRASH, type Harness, harness } from '#tidemark/testing'
import { Item, item, Sum, summed } from '../fixtures/plain.ts'

const items = (flow: Flow) => flow.stream('in', { key: text, value: Item }, { partitions: 1 })

/** The last version wins; a note of "gone" deletes. */
const latest = topology('latest', (flow) => [
  items(flow).project('last', {
    row: Sum,
    gate: { version: (value) => value.n },
    publish: 'last-state',
    fold: (_row, value) => (value.note === 'gone' ? undefined : { total: value.n, notes: value.note }),
  }),
])
const adding = topology('adding', (flow) => [
  items(flow)
    .dedupe('once', { id: (value, fact) => `${fact.key}${value.note}` })
    .project('sums', {
      row: Sum,
      identity: 'once',
      publish: 'sums-state',
      fold: (row, value) => (value.note === 'gone' ? undefined : summed(row, value)),
    }),
])

/** Loses the disk and everything in memory: what a row says then is what the changelog has. */
async function loseDisk(run: Harness<readonly never[]>, app: string): Promise<void> {
  await run.stop()
  for (const id of await run.state.list(app)) await run.state.destroy(id)
}
const ids = async (run: { topic(name: string): Promise<{ headers: Readonly<Record<string, string>> }[]> }, topic: string) =>
  (await run.topic(topic)).map(({ headers }) => headers.ce_id)

describe('a deleted row says which record deleted it (K09)', () => {
  test('in a fold that adds up, after a restart, a lost disk and a rebuild', async () => {
    const run = harness(adding)
    await run.put('in', Item, [['k', item(1, 'a'), 1_000]])
    const before = await run.stateHash('sums')
    await run.put('in', Item, [['k', item(2, 'gone'), 2_000]])
    const [, deletion] = await run.topic('in')
    const appliedAt = run.clock.now()
    const told = { version: 2, at: 2_000, appliedAt, source: { topic: 'in', partition: 0, offset: deletion?.offset }, contractVersion: 0 }
    const read = async (): Promise<unknown> => (await run.view('sums')).get('k')
    expect(await read()).toMatchObject({ value: undefined, row: told })
    await run.restart()
    expect(await read()).toMatchObject({ value: undefined, row: told })
    const live = await run.stateHash('sums')
    await loseDisk(run as never, 'adding')
    expect(await read()).toMatchObject({ value: undefined, row: told })
    expect(await run.stateHash('sums')).toBe(live)
    expect(live).not.toBe(before)
    expect(await run.replay('sums')).toMatchObject({ equal: true, switched: true })
    expect(await read()).toMatchObject({ value: undefined, row: { ...told, appliedAt: run.clock.now() } })
    expect((await run.verify()).problems).toEqual([])
    await run.close()
  })

  test('where the first fact that a gate meets deletes', async () => {
    const run = harness(latest)
    await run.put('in', Item, [['k', item(5, 'gone'), 2_000]])
    const told = { version: 5, at: 2_000, appliedAt: run.clock.now(), source: { topic: 'in', partition: 0, offset: 0 } }
    const read = async (): Promise<unknown> => (await (await run.view('last')).get('k')).row
    expect(await read()).toMatchObject(told)
    await loseDisk(run as never, 'latest')
    expect(await read()).toMatchObject(told)
    await run.close()
  })
})

describe('what is published has an id of its own for each version of each key', () => {
  test('a deletion is told apart from the row that it deletes, and deletions of two keys from each other', async () => {
    const run = harness(latest)
    await run.put('in', Item, [['k', item(1, 'a')]])
    await run.put('in', Item, [['k', item(2, 'gone')]])
    await run.put('in', Item, [['l', item(2, 'gone')]])
    await run.put('in', Item, [['m', item(2, 'gone')]])
    const given = await ids(run, 'last-state')
    expect(given).toEqual(['in/0@0/last/k@1', 'in/0@1/last/k@2', 'in/0@2/last/l@2', 'in/0@3/last/m@2'])
    await run.close()
  })

  test('a consumer that drops repeats by id sees the value, its deletion, and the value that comes after it', async () => {
    const stock = context('latest', { owner: 'stock' })
    const told = contract('last-state', {
      owner: stock,
      version: 1,
      topic: 'last-state',
      partitions: 1,
      key: text,
      exchange: 'state',
      meaning: 'the last item',
      events: { Sum },
    })
    const seen: (number | undefined)[] = []
    const following = topology('following', (flow) => {
      flow
        .source(told)
        .dedupe('once')
        .process('look', {
          rows: Sum,
          value: Sum,
          run: (incoming) => void seen.push(incoming.empty ? undefined : (incoming.value as Sum).total),
        })
        .to('out-step', 'out')
      return []
    })
    const run = harness(latest)
    await run.put('in', Item, [['k', item(1, 'a')]])
    await run.put('in', Item, [['k', item(2, 'gone')]])
    await run.put('in', Item, [['k', item(3, 'c')]])
    await run.close()
    const follower = harness(following, { after: run })
    await follower.settle()
    expect(seen).toEqual([1, undefined, 3])
    expect(follower.count('duplicate')).toBe(0)
    await follower.close()
  })

  test.each(Object.entries(CRASH))('and a crash at %s gives each the id that it had', async (_point, crash) => {
    const publish = async (sentinel: typeof crash | undefined): Promise<(string | undefined)[]> => {
      const run = harness(latest)
      await run.put('in', Item, [['k', item(1, 'a')]], sentinel)
      await run.put('in', Item, [['k', item(2, 'gone')]], sentinel)
      const given = await ids(run, 'last-state')
      await run.close()
      return given
    }
    expect(await publish(crash)).toEqual(await publish(undefined))
  })

  /** Says a key's number again, one second later, under the key's own timer. */
  const reminding = topology('reminding', (flow) => [
    items(flow)
      .process('remind', {
        rows: Item,
        value: Item,
        run: (incoming, scope, out) => {
          const { n, note } = incoming.value as Item
          if (note === 'tick') return
          if (note === 'now') out.fact(incoming.key, item(n, 'now'))
          scope.put(incoming.value)
          scope.wakeAt(incoming.at + 1_000)
        },
        wake: (_timer, scope, out) => out.fact(scope.key, item((scope.get() as Item).n, 'timer')),
      })
      .dedupe('once', { by: 'id' })
      .project('sums', { row: Sum, identity: 'once', publish: 'sums-state', fold: summed }),
  ])

  test('rows that timers made are told apart by key, and say which record moved time, the same in every life (K09)', async () => {
    const run = harness(reminding)
    await run.put('in', Item, [
      ['k', item(1, 'now'), 1_000],
      ['l', item(2), 1_000],
      ['m', item(3), 1_000],
    ])
    await run.put('in', Item, [['tick', item(0, 'tick'), 2_000]])
    const moved = (await run.topic('in')).at(-1)
    const states = await run.topic('sums-state')
    expect(states.map(({ key, headers }) => [key, headers.ce_sequence])).toEqual(
      expect.arrayContaining([
        ['k', '0000000000000001'],
        ['k', '0000000000000002'],
        ['l', '0000000000000001'],
        ['m', '0000000000000001'],
      ]),
    )
    const given = states.map(({ headers }) => headers.ce_id)
    expect(new Set(given).size).toBe(given.length)
    const rows = async (): Promise<unknown[]> => {
      const view = await run.view('sums')
      return Promise.all(['k', 'l', 'm'].map(async (key) => (await view.get(key)).row))
    }
    const source = { topic: 'in', partition: 0, offset: moved?.offset }
    expect(await rows()).toMatchObject([
      { version: 2, source },
      { version: 1, source },
      { version: 1, source },
    ])
    const before = await rows()
    await loseDisk(run as never, 'reminding')
    expect(await rows()).toEqual(before)
    expect(await run.replay('sums')).toMatchObject({ equal: true, switched: true })
    expect(await rows()).toMatchObject([
      { version: 2, source },
      { version: 1, source },
      { version: 1, source },
    ])
    await run.close()
  })
})
