/** The retail topology on a real broker: the same rows and the same hashes as on the embedded log, also when it is killed in the middle. */
import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { join } from 'node:path'
import { execPath } from 'node:process'
import { createInterface } from 'node:readline'
import { afterEach, beforeEach, expect, test } from 'vitest'
import { kafka } from '../../src/drivers/kafka/index.ts'
import { describeUnless, type OwnKafka, startOwn, whyNoneOwn } from '../kafka/shared.ts'
import { APPLIED, inFolder, RIGHT, Session } from './rig.ts'

describeUnless(await whyNoneOwn(), 'the retail topology on Kafka', () => {
  let cluster: OwnKafka
  // Its topics have names of their own, so every test has a broker of its own.
  beforeEach(async () => {
    cluster = await startOwn()
  })
  afterEach(() => cluster.stop())
  const begin = (dir: string, seed: string): Promise<Session> => Session.begin(dir, { seed }, kafka({ brokers: cluster.brokers }))

  test('has the rows and hashes of the embedded log from the same seed, and a second run applies nothing', {
    timeout: 240_000,
  }, async () => {
    await inFolder(async (dir) => {
      const first = await begin(dir, '3')
      const check = await first.finish()
      expect(check.figures).toMatchObject(RIGHT)
      expect([first.count('applied'), await first.factsInRows(), first.count('parked')]).toEqual([APPLIED, APPLIED, 0])
      await first.close()
      const second = await begin(dir, '3')
      expect((await second.finish()).figures).toMatchObject(RIGHT)
      expect([second.count('records_in'), second.count('applied')]).toEqual([0, 0])
      // Each task looks at the marker that ends its last transaction, and at nothing else.
      expect(second.count('restored')).toBeLessThanOrEqual(second.running.app.tasks.length)
      await second.close()
    })
    await inFolder(async (dir) => {
      // Another machine: everything comes back from the changelogs.
      const third = await begin(dir, '3')
      expect((await third.finish()).figures).toMatchObject(RIGHT)
      expect(third.count('applied')).toBe(0)
      expect(third.count('restored')).toBeGreaterThan(2_504)
      await third.close()
    })
  })

  test('killed again and again it loses nothing and applies nothing twice', { timeout: 300_000 }, async () => {
    await inFolder(async (dir) => {
      for (const rows of [1_000, 3_000, 5_000, 7_000]) await killedAt(dir, rows, cluster.brokers[0] as string)
      const last = await begin(dir, '5')
      const { figures } = await last.finish()
      expect(figures).toMatchObject(RIGHT)
      expect(await last.factsInRows()).toBe(APPLIED)
      await last.close()
    })
  })
})

/** Starts the program in a process of its own and kills it as soon as its feed has gone through so many rows. */
async function killedAt(dir: string, rows: number, broker: string): Promise<void> {
  const child: ChildProcess = spawn(execPath, [join(import.meta.dirname, 'retail-child.ts'), dir, '5', broker], {
    stdio: ['ignore', 'pipe', 'inherit'],
  })
  const ended = once(child, 'exit')
  let seen = 0
  for await (const line of createInterface({ input: child.stdout as NodeJS.ReadableStream })) {
    seen = Number(line)
    if (seen >= rows) child.kill('SIGKILL')
  }
  const [, signal] = (await ended) as [number | null, NodeJS.Signals | null]
  expect([signal, seen < 10_000]).toEqual(['SIGKILL', true])
}
