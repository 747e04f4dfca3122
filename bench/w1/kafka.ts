/**
 * W1 on a broker, as a program that the neutral kit watches from outside: it reads `w1.in`, writes `w1.out`, commits the positions of group
 * `w1`, and works until it is told to stop (SIGTERM, SIGINT).
 *
 *     node scripts/with-node.mjs bench/w1/kafka.ts --brokers 127.0.0.1:9092 --dir state [--instance 0] [--copy] [--commit 100ms]
 *
 * `--copy` runs the stateless copy instead: each record of the input to the output, exactly once, undecoded.
 */
import { parseArgs } from 'node:util'
import { type Duration, type StartOptions, start } from '#tidemark'
import { kafka } from '#tidemark/drivers/kafka'
import { copy, w1, w1Schemas } from './topology.ts'

const { values } = parseArgs({
  options: {
    brokers: { type: 'string', default: '127.0.0.1:9092' },
    dir: { type: 'string', default: '.w1-state' },
    instance: { type: 'string', default: '0' },
    copy: { type: 'boolean', default: false },
    commit: { type: 'string' },
    cache: { type: 'string' },
  },
})

const options: StartOptions = {
  dir: values.dir,
  instance: values.instance,
  log: kafka({ brokers: values.brokers.split(',') }),
  schemas: await w1Schemas(),
  ...(values.commit === undefined ? {} : { commitInterval: values.commit as Duration }),
  ...(values.cache === undefined ? {} : { cacheKeys: Number(values.cache) }),
  telemetry: {
    count: () => undefined,
    event: (event) => {
      if ('error' in event && event.error !== undefined) console.error(event.kind, event.error.explain())
    },
  },
}
const running = await (values.copy ? start(copy, options) : start(w1, options))

let stopping = false
for (const signal of ['SIGTERM', 'SIGINT'] as const) {
  process.on(signal, () => {
    if (stopping) return
    stopping = true
    void running.close().then(() => process.exit(0))
  })
}
await running.ended()
