// A process for kill.test.ts to kill and to lock out: opens the log in a folder and commits numbered transactions until it is ended.
//   node kill-writer.ts <folder>
// Prints "open <last committed number>" and then each number once its commit is acknowledged; "refused <code>" when it cannot open.
import { writeSync } from 'node:fs'
import { codeOf, messageOf } from '../../../src/base/errors.ts'
import { nativeCodecs } from '../../../src/drivers/codecs/index.ts'
import { openEmbeddedLog } from '../../../src/drivers/embedded/index.ts'
import { nodeClock, nodeFs, nodeRandom } from '../../../src/drivers/node/index.ts'
import { values } from './kit.ts'

const folder = process.argv[2] as string
const say = (line: string | number): number => writeSync(1, `${line}\n`)

try {
  const log = await openEmbeddedLog({
    folder,
    fs: nodeFs,
    clock: nodeClock,
    random: nodeRandom,
    codecs: nativeCodecs,
    segmentBytes: 64 * 1024,
    journalBytes: 16 * 1024,
  })
  const client = log.client()
  await client.ensure([{ name: 'a', partitions: 3, cleanup: 'delete', retentionMs: -1 }])
  const writer = await client.writer('w')
  const committed = await client.committed('g', ['a/0'])
  let next = committed === 'unstable' ? Number.NaN : (committed.get('a/0') ?? 0)
  say(`open ${next}`)
  for (;;) {
    next++
    // Different sizes, so that a kill finds every kind of place in a write.
    const filler = 'x'.repeat((next * 977) % 3_000)
    await Promise.all([0, 1, 2].map((partition) => writer.append(`a/${partition}`, values(`${next} ${filler}`))))
    const outcome = await writer.commit([{ group: 'g', identity: undefined, positions: new Map([['a/0', next]]) }])
    if (outcome.kind !== 'committed') throw outcome.error
    say(next)
  }
} catch (error) {
  say(`refused ${codeOf(error) ?? messageOf(error)}`)
}
