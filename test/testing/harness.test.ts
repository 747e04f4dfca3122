/** The harness tells a program without the compiler what it is given wrong, before anything runs. */
import { expect, test } from 'vitest'
import { text, topology } from '#tidemark'
import { CRASH, harness, simulate } from '#tidemark/testing'
import { click, clicks, Item, Sum, summed } from '../fixtures/plain.ts'

const counting = topology('counting', (flow) => [
  flow
    .stream('in', { key: text, value: Item }, { partitions: 1 })
    .dedupe('once', { id: (value) => value.note })
    .project('sums', { row: Sum, identity: 'once', fold: summed }),
])
const refused = (message: string, hint: unknown = expect.stringMatching(/\.$/)): unknown =>
  expect.objectContaining({ name: 'TidemarkError', code: 'OPTION_INVALID', message, hint })

test.each<[given: unknown[], message: string, hint?: string]>([
  [[], 'what harness() is given is undefined, where a topology is meant'],
  [['counting'], 'what harness() is given is "counting", where a topology is meant'],
  [[counting, null], 'harness() is null, where options are meant'],
  [[counting, { seed: 'seven' }], 'seed of harness() is "seven"'],
  [[counting, { after: 'first' }], 'after of harness() is "first", where a harness is meant'],
])('a harness is made of a topology and options that it knows: %#', (given, message) => {
  expect(() => harness(...(given as [typeof counting]))).toThrow(refused(message))
})

test('an unknown option of a harness is refused with the one that was meant, which is not passed over', () => {
  expect(() => harness(counting, { sed: 7 } as object)).toThrow(
    refused('harness() has no option "sed"', expect.stringMatching(/^Did you mean "seed"\? It has seed, schemas, after, /)),
  )
  expect(() => harness(counting, { commitInterval: '1s' } as object)).toThrow(
    refused('harness() has no option "commitInterval"', expect.stringMatching(/^Did you mean "commitIntervalMs"\?/)),
  )
})

test('what a harness is fed, sent and asked is refused in words where it is of another kind', async () => {
  const run = harness(counting)
  for (const [asked, message] of [
    [() => run.feed('clicks' as never, []), 'what feed() is given first is "clicks", where a contract is meant'],
    [() => run.feed(clicks, 'x' as never), 'what "clicks" is fed is "x", where a list of facts is meant'],
    [
      () => run.feed(clicks, [(CRASH as unknown as Record<string, undefined>).afterApend] as never),
      'what "clicks" is fed is undefined, where a fact or a crash is meant',
    ],
    [
      () => run.feed(clicks, [{ ...click('u', 'x'), sequnce: 2 }] as never),
      'what is said about a fact of "clicks" has no option "sequnce"',
    ],
    [() => run.send('in', { key: 'k' } as never), 'what is sent to "in" is {"key":"k"}, where a list of records is meant'],
    [() => run.send('in', [{ kee: 'k' }] as never), 'a record for "in" has no option "kee"'],
    [() => run.put('in', 'Item' as never, []), 'what "in" is put by is "Item", where a schema is meant'],
    [() => run.put('in', Item, {} as never), 'what is put to "in" is {}, where a list is meant'],
    [() => run.replay('sums', { swich: 'always' } as never), 'replay() has no option "swich"'],
    [() => run.verify({ repare: true } as never), 'verify() has no option "repare"'],
    [async () => (await run.view('sums')).page({ prefx: 'k' } as never), 'page() has no option "prefx"'],
    [async () => (await run.view('sums')).page({ limit: 'ten' } as never), 'limit of page() is "ten", where a number of rows is meant'],
    [async () => (await run.view('sums')).page({ prefix: 5 } as never), 'prefix of page() is 5, where a text is meant'],
  ] as const)
    await expect(asked(), message).rejects.toEqual(refused(message))
  await run.close()
})

test('a simulation refuses what is no topology, and settings that it does not know, before it begins', async () => {
  const feed = (): [] => []
  for (const [given, message] of [
    [['counting', { seed: 1, feed }], 'what simulate() is given is "counting", where a topology is meant'],
    [[counting], 'simulate() is undefined, where options are meant'],
    [[counting, { seed: '1', feed }], 'seed of simulate() is "1"'],
    [[counting, { seed: 1 }], 'feed of simulate() is undefined, where a function is meant'],
    [[counting, { seed: 1, feed, fault: [] }], 'simulate() has no option "fault"'],
    [[counting, { seed: 1, feed, settings: { worker: 2 } }], 'settings of simulate() has no option "worker"'],
  ] as const)
    await expect(simulate(...(given as never as Parameters<typeof simulate>)), message).rejects.toEqual(refused(message))
})
