/**
 * W1 on one broker, side by side: this project's program and a peer's, alternately, in one run, with the ratios.
 *
 *     node scripts/with-node.mjs bench/w1/compare.ts m1,m2,m4 [--repeats 3] [--n 1000000] [--keys 100000] [--systems tidemark,kafka-streams]
 *                                [--uniform] [--rate 2000] [--seconds 60] [--json FILE] [--workers 1] [--keep-broker]
 *
 * The broker, the generator, the observer and the verifier are those of the neutral benchmark kit, whose folder `W1_HOME` names; without it
 * there is nothing to compare with, and this program says so. With `--keep-broker` the broker goes on for the next run, warm as it is. What each
 * measure is: the kit's specification. A run that does not verify is void: it is printed as such and takes part in no figure. Figures of
 * different runs of this program must not be compared, machines differ by the hour.
 */
import { type ChildProcess, spawn, spawnSync } from 'node:child_process'
import { existsSync, mkdirSync, renameSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { parseArgs } from 'node:util'
import { NODE_FLAGS } from '../../scripts/node-version.mjs'

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    repeats: { type: 'string', default: '3' },
    n: { type: 'string', default: '1000000' },
    keys: { type: 'string', default: '' },
    systems: { type: 'string', default: 'tidemark,kafka-streams' },
    uniform: { type: 'boolean', default: false },
    rate: { type: 'string', default: '2000' },
    seconds: { type: 'string', default: '60' },
    workers: { type: 'string', default: '1' },
    args: { type: 'string', default: '' },
    json: { type: 'string' },
    'keep-broker': { type: 'boolean', default: false },
  },
})

const home = process.env.W1_HOME ?? ''
if (!existsSync(join(home, 'kit', 'kit'))) {
  console.error('W1_HOME must name the folder of the built benchmark kit: there is no broker and no peer to compare with otherwise.')
  process.exit(2)
}
if (!NODE_FLAGS.every((flag) => process.execArgv.includes(flag))) {
  console.error('Run it by scripts/with-node.mjs: without the flags of the project the figures are those of another program.')
  process.exit(2)
}
const ROOT = join(import.meta.dirname, '..', '..')
const RUN = process.env.KIT_RUN ?? join(home, 'run-tidemark')
const PORT = process.env.KIT_PORT ?? '19098'
const BROKERS = `127.0.0.1:${PORT}`
const STATE = join(RUN, 'state')
const PIDS = join(RUN, 'app.pid')
const env = { ...process.env, KIT_RUN: RUN, KIT_PORT: PORT }
mkdirSync(RUN, { recursive: true })

/** A program under measurement: how it is started, and the group whose positions tell how far it is. */
interface System {
  readonly group: string
  readonly start: (worker: number, stateless: boolean) => ChildProcess
}
// Each in the configuration that is fastest for the stream; Kafka Streams exactly once with two threads, the best of twenty tried.
const SYSTEMS: Readonly<Record<string, System>> = {
  tidemark: {
    group: 'w1',
    start: (worker, stateless) =>
      launch(process.execPath, [
        ...process.execArgv,
        ...builtFlags(),
        join(ROOT, 'bench/w1/kafka.ts'),
        '--brokers',
        BROKERS,
        '--dir',
        join(STATE, String(worker)),
        '--instance',
        String(worker),
        ...(stateless ? ['--copy'] : values.uniform ? ['--cache', '32768'] : []),
        ...values.args.split(' ').filter((arg) => arg !== ''),
      ]),
  },
  'kafka-streams': {
    group: 'w1-ks',
    start: (_worker, stateless) =>
      launch(
        join(home, 'kafka-streams', 'ks'),
        [
          '--group',
          'w1-ks',
          '--bootstrap',
          BROKERS,
          '--state-dir',
          STATE,
          '--threads',
          stateless ? '1' : '2',
          ...(stateless ? ['--mode', 'copy'] : values.uniform ? ['--cache-mb', '0'] : []),
        ],
        { JVM: '-Xms1g -Xmx1g -XX:+UseParallelGC' },
      ),
  },
}

type Figures = Readonly<Record<string, unknown>>
interface Outcome {
  readonly measure: string
  readonly system: string
  readonly verified: string
  readonly figures: Figures
}
/** What of each measure is compared, and whether more or less of it is better. */
const COMPARED: Readonly<Record<string, readonly (readonly [figure: string, better: 'more' | 'less'])[]>> = {
  m1: [
    ['rate10to100', 'more'],
    ['totalS', 'less'],
    ['cpuSPerMillion', 'less'],
    ['brokerCpuS', 'less'],
    ['otherCpuS', 'less'],
    ['appHwmMB', 'less'],
    ['appRssMedianMB', 'less'],
  ],
  copy: [
    ['rate10to100', 'more'],
    ['cpuSPerMillion', 'less'],
  ],
  m2: [['sinceProcessStartMs', 'less']],
  m3: [
    ['p50', 'less'],
    ['p99', 'less'],
    ['max', 'less'],
    ['missing', 'less'],
    ['appCores', 'less'],
  ],
  m4: [
    ['firstRowMs', 'less'],
    ['allRowsMs', 'less'],
    ['appCpuS', 'less'],
    ['appHwmMB', 'less'],
  ],
}

const n = Number(values.n)
const keys = values.keys === '' ? String(Math.round(n / 10)) : values.keys
const MEASURES: Readonly<Record<string, (system: System) => Promise<readonly [measure: string, verified: string, figures: Figures][]>>> = {
  m1: (system) => throughput(system, false),
  m1m2: async (system) => [...(await throughput(system, false)), ...(await restored(system))],
  copy: (system) => throughput(system, true),
  m3: latency,
  m4: coldStart,
}

const outcomes: Outcome[] = []
for (const measure of (positionals[0] ?? 'm1').split(',')) {
  const run = MEASURES[measure]
  if (run === undefined) throw new Error(`there is no measure "${measure}"; there are ${Object.keys(MEASURES).join(', ')}`)
  for (let i = 0; i < Number(values.repeats); i++) {
    const systems = values.systems.split(',')
    // The first of a pair meets a broker that has done less: it is not always the same one.
    for (const name of i % 2 === 0 ? systems : systems.toReversed()) {
      const system = SYSTEMS[name]
      if (system === undefined) throw new Error(`there is no system "${name}"; there are ${Object.keys(SYSTEMS).join(', ')}`)
      for (const [what, verified, figures] of await run(system)) {
        outcomes.push({ measure: what, system: name, verified, figures })
        const shown = (COMPARED[what] ?? []).map(([figure]) => `${figure} ${String(figures[figure])}`).join('  ')
        console.log(`${what.padEnd(5)} ${name.padEnd(14)} ${verified.startsWith('OK') ? '' : `VOID (${verified})  `}${shown}`)
      }
    }
  }
}
if (!values['keep-broker']) kit('broker', 'stop')
table()
if (values.json !== undefined) writeFileSync(values.json, `${JSON.stringify(outcomes, null, 2)}\n`)

async function throughput(system: System, stateless: boolean): Promise<[string, string, Figures][]> {
  fresh()
  const broker = kit('broker', 'start')
  kit('topics', '--purge', system.group)
  kit('load', '--n', values.n, '--k', keys, ...(values.uniform ? ['--uniform'] : []))
  await sleep(1_000)
  const observed = watch('observe', '--group', system.group, '--n', values.n, '--pid', PIDS, '--broker-pid', broker, '--timeout', '300')
  await sleep(800)
  const apps = startAll(system, stateless)
  const figures = await observed
  await stopAll(apps)
  const verified = stateless ? 'OK (not checked: a copy)' : verdict()
  return [[stateless ? 'copy' : 'm1', verified, { ...figures, cpuSPerMillion: round((Number(figures.appCpuS) / n) * 1e6) }]]
}

/** After `throughput`, on what it left on the broker: the disk is lost, and one new record a partition must come through. */
async function restored(system: System): Promise<[string, string, Figures][]> {
  fresh()
  const probed = watch('probe', '--pid', PIDS)
  await sleep(1_000)
  const apps = startAll(system, false)
  const figures = await probed
  await stopAll(apps)
  return [['m2', verdict(), figures]]
}

async function latency(system: System): Promise<[string, string, Figures][]> {
  fresh()
  const broker = kit('broker', 'start')
  kit('topics', '--purge', system.group)
  const apps = startAll(system, false)
  const figures = await watch('latency', '--rate', values.rate, '--seconds', values.seconds, '--pid', PIDS, '--broker-pid', broker)
  await stopAll(apps)
  return [['m3', Number(figures.missing) === 0 ? 'OK no row missing' : `${String(figures.missing)} rows missing`, figures]]
}

async function coldStart(system: System): Promise<[string, string, Figures][]> {
  fresh()
  kit('broker', 'start')
  kit('topics', '--purge', system.group)
  kit('load', '--n', '100', '--k', '100')
  await sleep(500)
  const awaited = watch('await', '--pid', PIDS)
  await sleep(1_500)
  const apps = startAll(system, false)
  const figures = await awaited
  await stopAll(apps)
  return [['m4', verdict(), figures]]
}

function fresh(): void {
  rmSync(PIDS, { force: true })
  rmSync(STATE, { recursive: true, force: true })
}

function launch(command: string, args: readonly string[], more: NodeJS.ProcessEnv = {}): ChildProcess {
  return spawn(command, args, { stdio: ['ignore', 'inherit', 'inherit'], env: { ...env, ...more } })
}

/** The built library where there is one: what an installation runs. */
function builtFlags(): readonly string[] {
  return existsSync(join(ROOT, 'dist', 'index.js')) ? ['--conditions=built'] : []
}

function startAll(system: System, stateless: boolean): readonly ChildProcess[] {
  const apps = Array.from({ length: Number(values.workers) }, (_, worker) => system.start(worker, stateless))
  writeFileSync(`${PIDS}.new`, apps.map(({ pid }) => pid).join(' '))
  renameSync(`${PIDS}.new`, PIDS)
  return apps
}

async function stopAll(apps: readonly ChildProcess[]): Promise<void> {
  await Promise.all(
    apps.map(async (app) => {
      if (app.exitCode !== null) throw new Error(`a program under measurement has ended by itself with code ${app.exitCode}`)
      const ended = new Promise<void>((done) => {
        app.once('exit', () => done())
      })
      app.kill('SIGTERM')
      const killer = setTimeout(() => app.kill('SIGKILL'), 40_000)
      await ended
      clearTimeout(killer)
    }),
  )
}

function verdict(): string {
  const { stdout } = spawnSync(join(home, 'kit', 'kit'), ['verify'], { env, encoding: 'utf8' })
  return stdout.trim().split('\n').at(-1) ?? 'no answer'
}

function kit(...args: readonly string[]): string {
  const { status, stdout, stderr } = spawnSync(join(home, 'kit', 'kit'), args, { env, encoding: 'utf8', stdio: ['ignore', 'pipe', 'pipe'] })
  if (status !== 0) throw new Error(`kit ${args.join(' ')} failed: ${stdout}${stderr}`)
  return stdout.trim()
}

/** A command of the kit that watches: its answer is one JSON object. */
async function watch(...args: readonly string[]): Promise<Figures> {
  const child = spawn(join(home, 'kit', 'kit'), args, { env, stdio: ['ignore', 'pipe', 'inherit'] })
  let text = ''
  for await (const chunk of child.stdout) text += String(chunk)
  const line = text.trim().split('\n').at(-1) ?? ''
  if (!line.startsWith('{')) throw new Error(`kit ${args[0]} answered: ${text}`)
  return JSON.parse(line) as Figures
}

/** Medians with least and most of the verified runs, and the first system's ratio to each other one. */
function table(): void {
  const systems = values.systems.split(',')
  console.log(`\n${'measure'.padEnd(28)}${systems.map((name) => name.padEnd(34)).join('')}ratio of medians`)
  for (const [measure, figures] of Object.entries(COMPARED)) {
    for (const [figure, better] of figures) {
      const columns = systems.map((name) =>
        outcomes
          .filter((one) => one.measure === measure && one.system === name && one.verified.startsWith('OK'))
          .map(({ figures: found }) => Number(found[figure]))
          .sort((a, b) => a - b),
      )
      if (columns.every((all) => all.length === 0)) continue
      const [mine, ...others] = columns.map(median)
      const ratios = others.map((other) => `${round((mine as number) / other)}x`)
      const cells = columns.map((all) =>
        (all.length === 0 ? '-' : `${median(all)} (${all[0]}-${all.at(-1)}), ${all.length} runs`).padEnd(34),
      )
      console.log(`${`${measure} ${figure}`.padEnd(28)}${cells.join('')}${ratios.join(' ')} (${better} is better)`)
    }
  }
}

function median(sorted: readonly number[]): number {
  return sorted[Math.floor(sorted.length / 2)] ?? Number.NaN
}

function round(value: number): number {
  return Number(value.toPrecision(3))
}
