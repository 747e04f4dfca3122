/** `tidemark run` on a real broker, as a process: what a person is told when the broker is not there, goes away, and comes back. */
import { cpSync, mkdirSync } from 'node:fs'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { type KafkaCluster, startKafka } from '../../src/testing/broker/index.ts'
import { freePorts } from '../../src/testing/broker/ports.ts'
import { describeUnless, whyNotStarted } from '../kafka/shared.ts'
import { Command, inProcess, ROOT, SHOP, temporary } from './tidemark.ts'

const SHOP_HERE = join(ROOT, SHOP)

test('a broker that is not there is told within two seconds, and in the end with what to do', async () => {
  const [port] = await freePorts(1)
  const command = new Command(['run', SHOP, '--brokers', `127.0.0.1:${port}`])
  await command.wrote(new RegExp(`no broker answers yet at 127\\.0\\.0\\.1:${port}; they are tried for some seconds`))
  const { code, out, err } = await command.ended()
  expect([code, out]).toEqual([1, ''])
  expect(err).toMatch(/BROKER_UNREACHABLE: no broker answered .*\n.*ECONNREFUSED.*\nhint: Nothing listens there\./)
})

/** A working folder with the schemas of the shop, and its topics on a broker. */
async function shopOn(kafka: KafkaCluster): Promise<{ working: string; brokers: readonly string[] }> {
  const working = temporary()
  await inProcess(['dev', SHOP, '--dir', join(working, 'first'), '--once'])
  mkdirSync(join(working, 'schemas'))
  cpSync(join(working, 'first', 'schemas.json'), join(working, 'schemas', 'catalogue.json'))
  const brokers = ['--brokers', kafka.brokers.join(',')]
  expect(await new Command(['topics', 'apply', SHOP_HERE, ...brokers], working).ended()).toMatchObject({ code: 0 })
  return { working, brokers }
}

describeUnless(await whyNotStarted(), 'a worker', () => {
  test('says soon that its broker is gone and since when, prints no lag that it does not know, and goes on when it is back', {
    timeout: 180_000,
  }, async () => {
    const kafka = await startKafka()
    try {
      const { working, brokers } = await shopOn(kafka)
      const worker = new Command(['run', SHOP_HERE, '--port', '0', ...brokers], working)
      await worker.wrote(/lag 0 /)
      await kafka.nodes[0]?.kill()
      await worker.wrote(/warning: no broker answers since \d\d:\d\d:\d\d; what is committed is safe/)
      const until = worker.out.length
      await worker.wrote(/no broker answers since \d\d:\d\d:\d\d {2}(.*\n){4}/)
      expect(worker.out.slice(until)).toMatch(/lag unknown/)
      expect(worker.out.slice(until)).not.toMatch(/lag \d/)
      await kafka.nodes[0]?.start()
      await worker.wrote(/note: a broker answers again, after [\d.]+ s/)
      await worker.wrote(/answers again(.*\n)+.*lag 0 /)
      worker.signal('SIGTERM')
      expect((await worker.ended()).code).toBe(0)
    } finally {
      await kafka.stop()
    }
  })

  test('that was killed says at its next start where it goes on, what it restored, and how long that took', {
    timeout: 180_000,
  }, async () => {
    const kafka = await startKafka()
    try {
      const { working, brokers } = await shopOn(kafka)
      const words = ['run', SHOP_HERE, '--port', '0', '--feed', ...brokers]
      const first = new Command([...words, '--pause-at', '50'], working)
      await first.wrote(/feed 50\/200 .* applied 50 /)
      expect(first.out).not.toContain('goes on from')
      first.signal('SIGKILL')
      await first.ended()
      const second = new Command([...words, '--once'], working)
      await second.wrote(/^goes on from \d+ committed records, restored \d+ rows in [\d,]+ ms$/m)
      expect((await second.ended()).code).toBe(0)
    } finally {
      await kafka.stop()
    }
  })
})
