/**
 * One worker of the application, in a process of its own, until it is told to stop (SIGTERM), killed, or its parent is gone.
 *
 *     worker.ts --brokers 127.0.0.1:9092 --dir state --instance 0 [--session 2000] [--commit 50] [--die commit.before-decision --nth 3]
 *
 * It tells its parent when it writes its first results. `--die` kills it with SIGKILL when it comes to that place for the nth time.
 */
import { parseArgs } from 'node:util'
import { kafka } from '#tidemark/drivers/kafka'
import { messageOf, TidemarkError } from '../../src/base/errors.ts'
import { App } from '../../src/runtime/app.ts'
import { openWorld } from '../../src/start.ts'
import { faults, schemas } from './topology.ts'

const { values } = parseArgs({
  options: {
    brokers: { type: 'string', default: '127.0.0.1:9092' },
    dir: { type: 'string', default: '.faults-state' },
    instance: { type: 'string', default: '0' },
    session: { type: 'string', default: '2000' },
    commit: { type: 'string', default: '50' },
    guarantee: { type: 'string', default: 'exactly-once' },
    die: { type: 'string' },
    nth: { type: 'string', default: '1' },
  },
})

const said = (error: unknown): string => (error instanceof TidemarkError ? error.explain() : messageOf(error))

process.once('disconnect', () => process.exit(1))

/** Where the first results are in the log, under both guarantees. */
const WORKING = 'commit.before-stores'
let left = Number(values.nth)
let working = false
try {
  const { world } = await openWorld({
    dir: values.dir,
    log: kafka({ brokers: values.brokers.split(',') }),
    schemas: await schemas(),
    telemetry: {
      count: () => {},
      event: (event) => {
        const error = 'error' in event && event.error !== undefined ? `: ${said(event.error)}` : ''
        if (event.kind !== 'restore') console.log(new Date().toISOString(), event.kind, 'state' in event ? event.state : '', error)
      },
    },
  })
  const failpoint = {
    hit: (name: string): undefined => {
      if (!working && name === WORKING) process.send?.('working')
      working ||= name === WORKING
      if (name === values.die && --left === 0) process.kill(process.pid, 'SIGKILL')
    },
    armed: (name: string) => name === values.die,
  }
  const options = {
    instance: values.instance,
    sessionMs: Number(values.session),
    commitIntervalMs: Number(values.commit),
    guarantee: values.guarantee === 'at-least-once' ? values.guarantee : 'exactly-once',
  } as const
  const app = await App.start(faults.graph, { ...world, failpoint }, options)
  process.once('SIGTERM', () => {
    app.close().then(
      () => process.exit(0),
      (error: unknown) => {
        console.log(said(error))
        process.exit(1)
      },
    )
  })
  await app.ended()
} catch (error) {
  console.log(new Date().toISOString(), said(error))
  process.exit(1)
}
