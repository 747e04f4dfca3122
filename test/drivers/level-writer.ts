// A process for level.test.ts to kill, starve and lock out: opens the state in a folder and writes numbered batches until it is ended.
//   node level-writer.ts <folder> <rows a batch> <write buffer bytes>
// Prints "open", then the number of each batch once its write resolved. When one is refused it prints "refused <code>", then "then <code>"
// for what became of a small batch after that, and ends in order.
import { writeSync } from 'node:fs'
import { codeOf, messageOf } from '../../src/base/errors.ts'
import { levelState } from '../../src/drivers/level/index.ts'
import { BATCH_ID, batchOf, nextOf } from './level-batches.ts'

const [folder = '', rows, writeBufferBytes] = process.argv.slice(2)
const say = (line: string | number): number => writeSync(1, `${line}\n`)
const said = (error: unknown): string => codeOf(error) ?? messageOf(error)

const store = await levelState({ folder, writeBufferBytes: Number(writeBufferBytes) }).open(BATCH_ID)
say('open')
try {
  for (let k = nextOf(store); ; k++) {
    await store.write(batchOf(k, Number(rows)))
    say(k)
  }
} catch (error) {
  say(`refused ${said(error)}`)
  await store.write({ keys: [Buffer.from('small')], values: [Buffer.from('one')] }).then(
    () => say('then written'),
    (later: unknown) => say(`then ${said(later)}`),
  )
}
await store.close()
