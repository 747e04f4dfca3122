/** A replay that ends before its time: what it had made is in nobody's way, and does not stay. */
import { expect, test } from 'vitest'
import { text, topology } from '#tidemark'
import { harness } from '#tidemark/testing'
import { Item, item } from '../fixtures/plain.ts'

const latest = topology('latest', (flow) => [
  flow
    .inbox('all', [flow.stream('in', { key: text, value: Item }, { partitions: 2 })])
    .project('last', { row: Item, gate: { version: (v) => v.n }, fold: (_row, v) => v }),
])

test('state of a replay that ended in the middle is removed by the next replay, whose outcome it does not touch', async () => {
  const run = harness(latest)
  await run.put('in', Item, [
    ['a', item(1), run.clock.now()],
    ['b', item(2), run.clock.now()],
  ])
  const before = await run.stateHash('last')
  const stop = new AbortController()
  await expect(run.replay('last', { signal: stop.signal, onProgress: () => stop.abort() })).rejects.toThrow()
  const generations = async (): Promise<number[]> => (await run.state.list('latest')).map(({ generation }) => generation)
  expect(new Set(await generations())).toEqual(new Set([1, 2]))

  const replayed = await run.replay('last')
  expect(replayed).toMatchObject({ equal: true, switched: true, generation: { live: 1, rebuilt: 3 } })
  expect(new Set(await generations())).toEqual(new Set([3]))
  expect(await run.stateHash('last')).toBe(before)
  await run.close()
})
