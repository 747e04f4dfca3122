/** W1 under torment: its input, its workers in processes of their own, how far they are, and what they said. */
import { type ChildProcess, spawn } from 'node:child_process'
import { closeSync, mkdirSync, openSync, readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { kafka } from '#tidemark/drivers/kafka'
import { IN, OUT, w1Schemas } from '../../bench/w1/topology.ts'
import { Workload } from '../../bench/w1/workload.ts'
import { partitionOf } from '../../src/base/murmur.ts'
import { type Log, partitionName } from '../../src/ports/log.ts'
import { NO_HEADERS } from '../../src/ports/record-batch/index.ts'
import { Outbox } from '../../src/runtime/outbox.ts'
import { openWorld } from '../../src/start.ts'
import { seededRandom } from '../../src/testing/random.ts'
import { NODE_ENVIRONMENT, NODE_FLAGS } from '../node-version.mjs'
import type { Written } from './java.ts'
import { judgeW1, type W1Verdict } from './w1-oracle.ts'

export const PARTITIONS = 4
export const GROUP = 'w1'
export const INPUT: readonly string[] = Array.from({ length: PARTITIONS }, (_, partition) => partitionName(IN, partition))
/** The output has to grow at least this often, or the application stands still. */
const STALL_MS = 90_000
const TURN_MS = 20
const T0 = 1_700_000_000_000

export const sleep = (ms: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms))

export interface Said {
  readonly at: number
  readonly kind: string
  readonly worker: string
  readonly state?: string
  readonly task?: string
  readonly error?: string
  readonly began?: number
  /** CPU time that the worker has used by then. */
  readonly cpuMs?: number
  readonly value?: string
  readonly by?: number
}

export interface RigOptions {
  readonly folder: string
  /** Where the oracle reads and writes: never through a proxy. */
  readonly brokers: readonly string[]
  /** Where workers connect. Default the same. */
  readonly workerBrokers?: readonly string[]
  readonly records: number
  readonly seed: number
  readonly sessionMs?: number
  readonly commitMs?: number
  readonly guarantee?: 'exactly-once' | 'at-least-once' | undefined
}

type World = Awaited<ReturnType<typeof openWorld>>
const alive = new Set<ChildProcess>()
process.on('exit', () => {
  for (const child of alive) child.kill('SIGKILL')
})

export class Rig {
  readonly workload: Workload
  readonly unit: () => number
  readonly options: RigOptions
  fed = 0
  starts = 0
  readonly #opened: World
  readonly #records: Iterator<{ readonly key: string; readonly value: Buffer; readonly timestamp: number }>
  readonly #running = new Map<string, ChildProcess>()
  #stopping = false
  #closed = false
  /** Arguments of the next worker that is started again by itself, such as where it is to die. */
  onStart: (instance: string) => readonly string[] = () => []
  /** Called when a worker died of SIGKILL, whoever sent it. */
  onDeath: (instance: string) => void = () => {}
  /** Called when a worker ended although nothing killed it. */
  readonly ownEnds: string[] = []

  private constructor(opened: World, options: RigOptions) {
    this.#opened = opened
    this.options = options
    const random = seededRandom(options.seed)
    this.unit = () => random.unit()
    this.workload = new Workload({ records: options.records, keys: Math.ceil(options.records / 10), seed: options.seed, t0: T0 })
    this.#records = this.workload.records()
  }

  static async open(options: RigOptions): Promise<Rig> {
    mkdirSync(options.folder, { recursive: true })
    const log = kafka({ brokers: options.brokers })
    const opened = await openWorld({ dir: join(options.folder, 'rig'), log, schemas: await w1Schemas() })
    await opened.world.log.ensure([{ name: IN, partitions: PARTITIONS, cleanup: 'delete', retentionMs: -1 }])
    return new Rig(opened, options)
  }

  get log(): Log {
    return this.#opened.world.log
  }

  // --- the input ---------------------------------------------------------------------------------------------------------------

  /** Writes the next records of the workload, at most so many a second, until so many have been written in all or `until` says so. */
  async feed(count: number, perSecond: number = Number.POSITIVE_INFINITY, until: () => boolean = () => false): Promise<void> {
    const writer = await this.log.plainWriter()
    const share = Number.isFinite(perSecond) ? Math.max(1, Math.ceil((perSecond * TURN_MS) / 1_000)) : 5_000
    try {
      const target = Math.min(count, this.workload.size)
      for (let due = performance.now(); this.fed < target && !until() && !this.#closed; ) {
        const outbox = new Outbox(this.#opened.world.codecs)
        for (const { partition, timestamp, key, value } of this.take(Math.min(share, target - this.fed))) {
          outbox.put(IN, partition, timestamp, key, value, NO_HEADERS)
        }
        await Promise.all(outbox.seal().map(({ partition, batch }) => writer.append(partition, batch)))
        due += TURN_MS
        if (Number.isFinite(perSecond)) await sleep(Math.max(0, due - performance.now()))
      }
    } finally {
      await writer.close()
    }
  }

  /** The next records of the workload, with the partitions that their keys choose. */
  *take(count: number): Generator<Written, void, undefined> {
    for (let i = 0; i < count; i++) {
      const { value: record, done } = this.#records.next()
      if (done === true || record === undefined) return
      this.fed += 1
      const key = Buffer.from(record.key)
      yield { partition: partitionOf(key, PARTITIONS), timestamp: record.timestamp, key, value: record.value }
    }
  }

  // --- the workers -------------------------------------------------------------------------------------------------------------

  /** Starts a worker; it is started again whenever it ends, until `stop`. Its state stays where it was. */
  start(instance: string, more: readonly string[] = this.onStart(instance)): ChildProcess {
    this.#kept.delete(instance)
    const child = this.#spawn(instance, more)
    child.once('exit', (code, signal) => {
      if (this.#stopping || this.#running.get(instance) !== child) return
      this.#running.delete(instance)
      if (signal === 'SIGKILL') this.onDeath(instance)
      else this.ownEnds.push(`worker ${instance} ended by itself with ${code}`)
      if (!this.#kept.has(instance)) this.start(instance)
    })
    return child
  }

  readonly #kept = new Set<string>()

  /** Leaves a worker as it is when it ends, until it is started. */
  keepDown(instance: string): void {
    this.#kept.add(instance)
  }

  get instances(): readonly string[] {
    return [...this.#running.keys()]
  }

  /** One of those that run; none has to. */
  anyInstance(): string {
    return this.instances[Math.floor(this.unit() * this.instances.length)] ?? ''
  }

  signal(instance: string, signal: NodeJS.Signals): void {
    this.#running.get(instance)?.kill(signal)
  }

  async kill(instance: string): Promise<void> {
    const child = this.#running.get(instance)
    if (child === undefined) return
    const ended = new Promise((resolve) => child.once('exit', resolve))
    child.kill('SIGKILL')
    await ended
  }

  /** Tells a worker to end, as a supervisor does, and starts it again when it has. */
  async roll(instance: string): Promise<void> {
    const child = this.#running.get(instance)
    if (child === undefined) throw new Error(`worker ${instance} does not run`)
    this.#running.delete(instance)
    const ended = new Promise<number | null>((resolve) => child.once('exit', resolve))
    child.kill('SIGTERM')
    const code = await ended
    if (code !== 0) this.ownEnds.push(`worker ${instance} was told to end, and ended with ${code}`)
    this.start(instance)
  }

  /** Ends all workers in good order. */
  async stop(): Promise<void> {
    this.#stopping = true
    await Promise.all(
      [...this.#running.values()].map(async (child) => {
        if (child.exitCode !== null || child.signalCode !== null) return
        const ended = new Promise((resolve) => child.once('exit', resolve))
        child.kill('SIGCONT')
        child.kill('SIGTERM')
        const late = setTimeout(() => child.kill('SIGKILL'), 30_000)
        await ended
        clearTimeout(late)
      }),
    )
    this.#running.clear()
    this.#stopping = false
  }

  #spawn(instance: string, more: readonly string[]): ChildProcess {
    this.starts += 1
    const { folder, brokers, workerBrokers = brokers, sessionMs = 6_000, commitMs = 50, guarantee = 'exactly-once' } = this.options
    const out = openSync(join(folder, `worker-${instance}.log`), 'a')
    const args = ['--brokers', workerBrokers.join(','), '--dir', join(folder, `state-${instance}`), '--instance', instance]
    args.push('--session', `${sessionMs}`, '--commit', `${commitMs}`, '--guarantee', guarantee, ...more)
    const child = spawn(process.execPath, [...NODE_FLAGS, join(import.meta.dirname, 'w1-worker.ts'), ...args], {
      stdio: ['pipe', out, out],
      env: { ...NODE_ENVIRONMENT, ...process.env },
    })
    closeSync(out)
    alive.add(child)
    child.once('exit', () => alive.delete(child))
    this.#running.set(instance, child)
    return child
  }

  /** What all workers have said so far, in the order of time. */
  said(): Said[] {
    const all: Said[] = []
    for (const file of readdirSync(this.options.folder)) {
      const worker = /^worker-(.*)\.log$/.exec(file)?.[1]
      if (worker === undefined) continue
      for (const line of readFileSync(join(this.options.folder, file), 'utf8').split('\n')) {
        // A line of a worker that was killed may be torn; what is none of its own begins otherwise.
        if (!line.startsWith('{') || !line.endsWith('}')) continue
        all.push({ ...(JSON.parse(line) as Omit<Said, 'worker'>), worker })
      }
    }
    return all.sort((one, other) => one.at - other.at)
  }

  /** Reasons for which local state was dropped: no fault of a process or a broker is one. */
  wipes(): string[] {
    return this.said().flatMap(({ kind, worker, value }) => (kind === 'wipes' ? [`worker ${worker}: ${value}`] : []))
  }

  // --- progress ----------------------------------------------------------------------------------------------------------------

  /** Records of the input that the group has committed; undefined while a transaction with positions is open. */
  async committed(): Promise<number | undefined> {
    const positions = await this.log.committed(GROUP, INPUT)
    return positions === 'unstable' ? undefined : [...positions.values()].reduce((sum, position) => sum + position, 0)
  }

  /** Resolves when the group has committed as much. @throws Error when nothing is committed for too long */
  async reached(count: number): Promise<number> {
    let [last, since] = [-1, performance.now()]
    for (;;) {
      const now = await this.committed()
      if (now !== undefined && now >= count) return now
      if (now !== undefined && now > last) [last, since] = [now, performance.now()]
      if (performance.now() - since > STALL_MS) throw new Error(`nothing was committed for ${STALL_MS / 1_000} s; ${last} of ${count} are`)
      await sleep(30)
    }
  }

  /** Resolves when everything that was fed is committed. */
  async caughtUp(): Promise<void> {
    const ends = await this.log.offsets(INPUT, 'high')
    await this.reached([...ends.values()].reduce((sum, end) => sum + end, 0))
  }

  verdict(): Promise<W1Verdict> {
    return judgeW1(this.options.brokers, OUT, this.workload, this.fed)
  }

  async close(): Promise<void> {
    this.#closed = true
    await this.stop()
    await this.#opened.close()
  }
}
