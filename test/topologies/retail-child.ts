/** The retail application with a paced feed in a process of its own, to be killed. Prints how far its feed is, a line a step. */
import { setTimeout as sleep } from 'node:timers/promises'
import { kafka } from '../../src/drivers/kafka/index.ts'
import { Session } from './rig.ts'

const [dir, seed, broker] = process.argv.slice(2) as [string, string, string?]
const session = await Session.begin(dir, { seed, pace: '400000' }, broker === undefined ? undefined : kafka({ brokers: [broker] }))
const fed = session.feed.run(new AbortController().signal)
for (let told = -1; ; await sleep(5)) {
  const { done, total } = session.feed
  if (done !== told) console.log(done)
  told = done
  if (done === total) break
}
await fed
await session.close()
