/** `tidemark run`, as a process, on a real broker: what it says it is to its group, and whether it comes back. */
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { describeUnless, type OwnKafka, startOwn, whyNoneOwn } from '../kafka/shared.ts'
import { Command, inProcess, temporary, tidemark } from './tidemark.ts'

const RETAIL = 'topologies/retail'

describe('before it asks a broker', () => {
  test.each([
    [['--dynamic', '--instance', '1'], 'a dynamic worker has no name'],
    [['--session', 'soon'], '--session is not a duration'],
    [['--instance', '~1'], '"~1" is no name for a worker'],
  ])('%j is refused', async (words, sentence) => {
    const { code, err } = await inProcess(['run', RETAIL, '--brokers', '127.0.0.1:1', ...words])
    expect([code, err]).toEqual([64, expect.stringContaining(sentence)])
  })
})

describeUnless(await whyNoneOwn(), 'a worker on Kafka', () => {
  let cluster: OwnKafka
  beforeAll(async () => {
    cluster = await startOwn()
    expect((await inProcess(['topics', 'apply', RETAIL, '--brokers', cluster.brokers.join()])).code).toBe(0)
  }, 120_000)
  afterAll(() => cluster.stop())

  const worker = async (...words: readonly string[]): Promise<Command> => {
    const command = new Command(['run', RETAIL, '--brokers', cluster.brokers.join(), '--port', '0', ...words])
    await command.wrote(/lag 0/)
    return command
  }

  test('with a name is expected back when it is told to end, and leaves when it is interrupted', { timeout: 120_000 }, async () => {
    const dir = temporary()
    const first = await worker('--instance', '0', '--dir', dir, '--session', '20s')
    expect(first.out).toContain(` as instance 0, state in ${dir}`)
    first.signal('SIGTERM')
    const stopped = await first.ended()
    expect([stopped.code, stopped.out]).toEqual([
      0,
      expect.stringContaining('It is expected back: its tasks wait for it until its session ends.'),
    ])
    const second = await worker('--instance', '0', '--dir', dir)
    second.signal('SIGINT')
    expect((await second.ended()).out).toContain('It leaves its group for good.')
  })

  test('without a name leaves whenever it stops, and shares its folder with nobody', { timeout: 120_000 }, async () => {
    const dir = temporary()
    const first = await worker('--dynamic', '--dir', dir)
    expect(first.out).toContain(` as a dynamic member, state in ${dir}`)
    const second = await tidemark('run', RETAIL, '--brokers', cluster.brokers.join(), '--dynamic', '--dir', dir)
    expect([second.code, second.err]).toEqual([75, expect.stringContaining('STORE_LOCKED: another worker has its state in')])
    first.signal('SIGTERM')
    expect((await first.ended()).out).toContain('It leaves its group for good.')
  })
})
