/** The faults: what is done to workers, brokers and the way between them, how often, and to which Kafka. */
import { COMMIT_PLACES } from '../../src/runtime/commit.ts'
import type { FaultProxy, KafkaCluster, KafkaNode, KafkaOptions, Wanted } from '../../src/testing/broker/index.ts'
import type { Workers } from './workers.ts'

export interface Run {
  readonly kafka: KafkaCluster
  readonly workers: Workers
  /** The proxy in front of the only node. Only where the scenario asked for one. */
  readonly proxy: FaultProxy
  /** How many faults are to be done, of each kind that the scenario has. */
  readonly times: number
  readonly guarantee: 'exactly-once' | 'at-least-once'
  unit(): number
  /** Counts a fault. */
  done(): void
}

export interface Scenario {
  readonly name: string
  /** What it proves, for the table. */
  readonly about: string
  readonly kafka: KafkaOptions
  /** How often in a full run. */
  readonly times: number
  readonly torment: (run: Run) => Promise<void>
}

const SESSION_MS = 2_000
/** What does not come within this time does not come. */
const PATIENCE_MS = 60_000

const sleep = (ms: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms))
const between = (run: Run, from: number, to: number): number => from + run.unit() * (to - from)
const anyOf = <T>(run: Run, all: readonly T[]): T => all.at(Math.floor(run.unit() * all.length)) as T

async function inTime<T>(what: string, promise: Promise<T>): Promise<T> {
  const { promise: late, reject } = Promise.withResolvers<never>()
  const timer = setTimeout(() => reject(new Error(`${what} did not happen within ${PATIENCE_MS / 1_000} s`)), PATIENCE_MS)
  return Promise.race([promise, late]).finally(() => clearTimeout(timer))
}

const api = { produce: 0, fetch: 1, offsetFetch: 9, findCoordinator: 10, joinGroup: 11, heartbeat: 12, syncGroup: 14 }
const txn = { initProducerId: 22, endTxn: 26, txnOffsetCommit: 28 }
/** What protocol 1 has besides. */
const txn1 = { addPartitionsToTxn: 24, addOffsetsToTxn: 25 }
/** These are asked when a worker starts, so one has to. */
const AT_START: ReadonlySet<number> = new Set([api.offsetFetch, api.findCoordinator, api.joinGroup, api.syncGroup, txn.initProducerId])

async function killWorkers(run: Run): Promise<void> {
  for (let i = 0; i < run.times; i++) {
    const slot = anyOf(run, run.workers.slots)
    // Most while they work, some while they start.
    if (run.unit() < 0.8) await inTime('the first result of a worker', run.workers.working(slot))
    await sleep(between(run, 0, 600))
    run.workers.kill(slot)
    run.done()
  }
}

async function dieAtCommitPoints(run: Run): Promise<void> {
  const { workers, times, guarantee } = run
  for (const at of COMMIT_PLACES[guarantee]) {
    for (let i = 0; i < times; i++) {
      let died = (): void => {}
      const death = new Promise<void>((resolve) => {
        died = resolve
      })
      workers.onDeath = died
      let told = false
      workers.nextDeath = () => {
        if (told) return undefined
        told = true
        return { at, nth: 1 + Math.floor(run.unit() * 5) }
      }
      workers.kill(anyOf(run, workers.slots))
      await inTime(`dying at ${at}`, death)
      run.done()
    }
  }
}

async function freezeWorkers(run: Run): Promise<void> {
  for (let i = 0; i < run.times; i++) {
    const slot = anyOf(run, run.workers.slots)
    run.workers.freeze(slot)
    await sleep(SESSION_MS + between(run, 500, 2_000))
    run.workers.wake(slot)
    run.done()
    await sleep(between(run, 500, 1_500))
  }
}

async function replaceWorkers(run: Run): Promise<void> {
  for (let i = 0; i < run.times; i++) {
    const slot = anyOf(run, run.workers.slots)
    run.workers.freeze(slot)
    await inTime('the end of a worker that was replaced', run.workers.replace(slot, between(run, 1_000, 3_000)))
    run.done()
    await sleep(1_000)
  }
}

/** One node after another; the next only when the last serves again, because two of three must. */
const loseNodes =
  (how: 'kill' | 'stop' | 'pause') =>
  async (run: Run): Promise<void> => {
    for (let i = 0; i < run.times; i++) {
      const node: KafkaNode = anyOf(run, run.kafka.nodes)
      await node[how]()
      run.done()
      await sleep(between(run, 2_000, 8_000))
      if (how === 'pause') node.resume()
      else await node.start()
      // Its copies have to catch up before another may go.
      await sleep(3_000)
    }
  }

const catching =
  (apis: Readonly<Record<string, number>>, at: Wanted['at'], harm: Wanted['harm'], releaseMs = 0) =>
  async (run: Run): Promise<void> => {
    for (const [name, apiKey] of Object.entries(apis)) {
      for (let i = 0; i < run.times; i++) {
        const trap = run.proxy.catchNext({ apiKey, at, harm, nth: 1 + Math.floor(run.unit() * 3) })
        const provoked = AT_START.has(apiKey) ? setInterval(() => run.workers.kill(anyOf(run, run.workers.slots)), 3_000) : undefined
        await inTime(`a ${at} of ${name}`, trap.caught).finally(() => clearInterval(provoked))
        run.done()
        if (releaseMs > 0) await sleep(between(run, 0, releaseMs))
        trap.release()
        await sleep(between(run, 100, 500))
      }
    }
  }

async function blackHoles(run: Run): Promise<void> {
  for (let i = 0; i < run.times; i++) {
    run.proxy.blackhole(anyOf(run, ['toBroker', 'toClient', undefined] as const))
    await sleep(between(run, 500, 2 * SESSION_MS))
    run.proxy.heal()
    run.done()
    await sleep(between(run, 500, 2_000))
  }
}

async function resets(run: Run): Promise<void> {
  for (let i = 0; i < run.times; i++) {
    await sleep(between(run, 50, 400))
    if (run.unit() < 0.5) run.proxy.cut()
    else anyOf(run, run.proxy.connections)?.cut()
    run.done()
  }
}

async function slowWay(run: Run): Promise<void> {
  for (let i = 0; i < run.times; i++) {
    run.proxy.delay(between(run, 50, 250))
    await sleep(5_000)
    run.done()
  }
  run.proxy.heal()
}

const one = {} as const
const older = { version: '3.9.2' } as const
const proxied = { proxy: true } as const
const three = { nodes: 3 } as const

export const SCENARIOS: readonly Scenario[] = [
  { name: 'kill-workers', about: 'kill -9 of a worker at random', kafka: one, times: 200, torment: killWorkers },
  { name: 'kill-workers-1', about: 'the same under transaction protocol 1', kafka: older, times: 200, torment: killWorkers },
  { name: 'commit-points', about: 'death at each of the 8 places of a commit', kafka: one, times: 20, torment: dieAtCommitPoints },
  { name: 'commit-points-1', about: 'the same under transaction protocol 1', kafka: older, times: 20, torment: dieAtCommitPoints },
  { name: 'freeze-workers', about: 'SIGSTOP past the session, then awake as a zombie', kafka: one, times: 20, torment: freezeWorkers },
  { name: 'replace-workers', about: 'another process under the name of a frozen one', kafka: one, times: 10, torment: replaceWorkers },
  { name: 'kill-brokers', about: 'kill -9 of one of three brokers', kafka: three, times: 10, torment: loseNodes('kill') },
  { name: 'stop-brokers', about: 'controlled shutdown of one of three', kafka: three, times: 10, torment: loseNodes('stop') },
  { name: 'freeze-brokers', about: 'SIGSTOP of one of three', kafka: three, times: 10, torment: loseNodes('pause') },
  { name: 'broker-away', about: 'the only broker killed and back', kafka: one, times: 10, torment: loseNodes('kill') },
  {
    name: 'lost-answers',
    about: 'the request went through, the answer and the connection are lost',
    kafka: proxied,
    times: 20,
    torment: catching({ ...api, ...txn }, 'response', 'cut'),
  },
  {
    name: 'lost-answers-1',
    about: 'the same under transaction protocol 1',
    kafka: { ...proxied, ...older },
    times: 20,
    torment: catching({ produce: api.produce, ...txn, ...txn1 }, 'response', 'cut'),
  },
  {
    name: 'late-requests',
    about: 'a request reaches the broker after its client gave up',
    kafka: proxied,
    times: 20,
    torment: catching({ produce: api.produce, ...txn }, 'request', 'late', 2_000),
  },
  {
    name: 'late-requests-1',
    about: 'the same under transaction protocol 1',
    kafka: { ...proxied, ...older },
    times: 20,
    torment: catching({ produce: api.produce, ...txn, ...txn1 }, 'request', 'late', 2_000),
  },
  {
    name: 'half-answers',
    about: 'half of an answer, then the end of the connection',
    kafka: proxied,
    times: 20,
    torment: catching({ ...api, ...txn }, 'response', 'halve'),
  },
  {
    name: 'silence',
    about: 'the answer is lost and the connection stays open',
    kafka: proxied,
    times: 2,
    torment: catching({ produce: api.produce, fetch: api.fetch, heartbeat: api.heartbeat, ...txn }, 'response', 'silence'),
  },
  { name: 'black-holes', about: 'nothing passes for up to two sessions, then everything', kafka: proxied, times: 20, torment: blackHoles },
  { name: 'resets', about: 'connections reset at random', kafka: proxied, times: 100, torment: resets },
  { name: 'slow-way', about: 'frames take 50 to 250 ms each way', kafka: proxied, times: 4, torment: slowWay },
]
