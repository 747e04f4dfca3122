/**
 * A worker of the tormented W1: dedupe, order, project, publish. It says on its standard output, a line of JSON each, when it commits, what
 * fails and above all when it drops local state, which no fault of this folder is a reason for. It ends when its standard input ends.
 */
import { parseArgs } from 'node:util'
import { kafka } from '#tidemark/drivers/kafka'
import { w1, w1Schemas } from '../../bench/w1/topology.ts'
import { messageOf, TidemarkError } from '../../src/base/errors.ts'
import { App } from '../../src/runtime/app.ts'
import { openWorld } from '../../src/start.ts'
import { dieAtRequest, type RequestPoint } from './request-points.ts'

const { values } = parseArgs({
  options: {
    brokers: { type: 'string', default: '127.0.0.1:9092' },
    dir: { type: 'string', default: '.faults-state' },
    instance: { type: 'string', default: '0' },
    session: { type: 'string', default: '2000' },
    commit: { type: 'string', default: '50' },
    guarantee: { type: 'string', default: 'exactly-once' },
    /** Without a name for its group; `instance` is its place here all the same. */
    dynamic: { type: 'boolean', default: false },
    /** A failpoint such as `commit.after-outputs`, or `26/sent`, `26/answered` for a request. */
    die: { type: 'string' },
    nth: { type: 'string', default: '1' },
  },
})

const said = (error: unknown): string => (error instanceof TidemarkError ? error.explain() : messageOf(error))
const say = (kind: string, more: Readonly<Record<string, unknown>> = {}): void =>
  console.log(JSON.stringify({ at: Date.now(), kind, ...more }))

const cpuMs = (): number => Math.round((process.cpuUsage().user + process.cpuUsage().system) / 1_000)
let first = true
function committed(): void {
  say('commit', first ? { cpuMs: cpuMs() } : {})
  first = false
}

process.stdin.on('end', () => process.exit(1)).resume()
say('start', { began: performance.timeOrigin, cpuMs: cpuMs() })

const [place, when] = (values.die ?? '').split('/') as [string, RequestPoint['when'] | undefined]
if (when !== undefined) dieAtRequest({ api: Number(place), when, nth: Number(values.nth) })
let left = Number(values.nth)

try {
  const { world } = await openWorld({
    dir: values.dir,
    log: kafka({ brokers: values.brokers.split(',') }),
    schemas: await w1Schemas(),
    telemetry: {
      count: (counter, labels, by = 1) => {
        if (counter === 'commits') committed()
        else if (counter === 'wipes' || counter === 'restored' || counter === 'commit_failures' || counter === 'rebalances')
          say(counter, { ...labels, by })
      },
      event: (event) => {
        if (event.kind === 'restore') return
        const error = 'error' in event && event.error !== undefined ? { error: said(event.error) } : {}
        say(event.kind, { ...('state' in event ? { state: event.state } : {}), ...('task' in event ? { task: event.task } : {}), ...error })
      },
    },
  })
  const failpoint = {
    hit: (name: string): undefined => {
      if (name === values.die && --left === 0) process.kill(process.pid, 'SIGKILL')
    },
    armed: (name: string) => name === values.die,
  }
  const app = await App.start(
    w1.graph,
    { ...world, failpoint },
    {
      ...(values.dynamic ? { membership: 'dynamic' as const } : { instance: values.instance }),
      sessionMs: Number(values.session),
      commitIntervalMs: Number(values.commit),
      guarantee: values.guarantee === 'at-least-once' ? values.guarantee : 'exactly-once',
    },
  )
  process.once('SIGTERM', () => {
    app.close().then(
      () => process.exit(0),
      (error: unknown) => {
        say('end', { error: said(error) })
        process.exit(1)
      },
    )
  })
  await app.ended()
} catch (error) {
  say('end', { error: said(error) })
  process.exit(1)
}
