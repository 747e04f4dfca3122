/**
 * `npm run kafka-faults`: faults on a real Kafka, and whether exactly-once survives them: two workers on four partitions under a steady feed, one
 * kind of fault after another, and every committed record of the output compared with the fold of the input.
 *
 * It ends with 1 when a scenario fails. A failed one leaves the logs of its workers and the folders of its brokers, and says where.
 */
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { messageOf, TidemarkError } from '../src/base/errors.ts'
import { type FaultProxy, startKafka } from '../src/testing/broker/index.ts'
import { seededRandom } from '../src/testing/random.ts'
import { flagsOf, refuse, requireName } from './flags.ts'
import { CHECKS, type Check } from './kafka-faults/checks.ts'
import { Oracle } from './kafka-faults/oracle.ts'
import { type Outcome, passed, row, TABLE, writeReport } from './kafka-faults/report.ts'
import { SCENARIOS, type Scenario } from './kafka-faults/scenarios.ts'
import { Workers } from './kafka-faults/workers.ts'

const values = flagsOf({
  script: 'kafka-faults',
  about: 'Kill, starve and cut off brokers and workers of a real Kafka, and compare every committed result with the fold of the input.',
  flags: {
    only: { value: '<names>', about: 'these scenarios only, with commas between' },
    list: { about: 'print the scenarios, and end' },
    scale: { value: '<factor>', about: 'so much of what the table says (default: 1)' },
    quick: { about: 'a fiftieth of it' },
    kills: { value: '<n>', about: 'faults of each kind, whatever the table says' },
    records: { value: '<n>', about: 'for the scenarios that have a number of them' },
    rate: { value: '<n>', about: 'records a second', default: '2500' },
    seed: { value: '<n>', about: 'when what happens', default: '1' },
    guarantee: { value: '<guarantee>', about: 'exactly-once, or at-least-once: commit-points then has to fail', default: 'exactly-once' },
    report: { value: '<file>', about: 'put what was seen into the table there' },
    keep: { about: 'leave the logs of workers and what brokers kept' },
  },
  examples: [
    ['', 'everything, as often as the table says: an hour'],
    ['--scale 0.1', 'a tenth of it'],
    ['--only resets,silence --seed 7', 'two scenarios'],
    ['--guarantee at-least-once --only commit-points', 'has to fail, or the oracle is blind'],
  ],
  after: 'Exit codes: 0 all passed   1 something failed   64 wrong usage   130 interrupted',
})

const WORKERS = 2
/** The output has to grow at least this often, or the application stands still. */
const STALL_MS = 60_000
/** A check of fewer records would be over before its first fault. */
const RECORDS_MIN = 2_000

const GUARANTEES = ['exactly-once', 'at-least-once'] as const
const guarantee = GUARANTEES.find((each) => each === values.guarantee) ?? refuse(`--guarantee is ${GUARANTEES.join(' or ')}.`)

function positive(name: 'scale' | 'rate' | 'seed' | 'kills' | 'records', otherwise = 1): number {
  const text = values[name]
  const number = text === undefined ? otherwise : Number(text)
  return number > 0 ? number : refuse(`--${name} is a number above 0, not "${text}".`)
}

type Any = { readonly scenario: Scenario } | { readonly check: Check }
const ALL = new Map<string, Any>([
  ...SCENARIOS.map((scenario) => [scenario.name, { scenario }] as const),
  ...CHECKS.map((check) => [check.name, { check }] as const),
])

function chosen(): readonly string[] {
  const names = values.only?.split(',') ?? [...ALL.keys()]
  for (const name of names) requireName('scenario', name, [...ALL.keys()])
  return names
}

const scale = positive('scale', values.quick ? 0.02 : 1)
const timesOf = ({ times }: { readonly times: number }): number =>
  values.kills === undefined ? Math.max(1, Math.round(times * scale)) : Math.round(positive('kills'))

async function torment(scenario: Scenario, folder: string, seed: number): Promise<Outcome> {
  const random = seededRandom(seed)
  // Beside the logs of the workers, so that what failed can be looked at: batches, producers' snapshots, what the broker said.
  const kafka = await startKafka({ ...scenario.kafka, folder: join(folder, 'kafka') })
  const brokers = scenario.kafka.proxy === true ? kafka.proxiedBrokers : kafka.brokers
  const workers = new Workers({ folder, brokers, guarantee })
  let faults = 0
  try {
    const oracle = await Oracle.open(kafka.brokers, seed)
    try {
      for (let slot = 0; slot < WORKERS; slot++) workers.start(slot)
      oracle.feed(positive('rate'))
      // They have joined then, and have something to lose.
      await oracle.flowing(STALL_MS)
      await scenario.torment({
        kafka,
        workers,
        proxy: kafka.proxies[0] as FaultProxy,
        guarantee,
        times: timesOf(scenario),
        unit: () => random.unit(),
        done: () => {
          faults += 1
        },
      })
      await oracle.enough()
      await oracle.settled(STALL_MS)
      await workers.stop()
      const { records, lost, twice, wrong, first } = await oracle.verdict()
      const seen = `${lost} lost, ${twice} twice, ${wrong} wrong; ${workers.starts} starts`
      // A worker that gives up is a failure too: whatever happens to the brokers, it has to wait for them.
      const faulty = [...(lost + twice + wrong > 0 ? [`${seen}: ${first}`] : []), ...workers.ownEnds]
      return { name: scenario.name, about: scenario.about, faults, records, seen, faulty }
    } finally {
      await oracle.enough()
      await oracle.close()
    }
  } finally {
    await workers.stop()
    await kafka.stop()
  }
}

async function checked(check: Check, folder: string, seed: number): Promise<Outcome> {
  const records = values.records === undefined ? Math.max(RECORDS_MIN, Math.round(check.records * scale)) : Math.round(positive('records'))
  const result = await check.run({
    folder,
    seed,
    guarantee,
    times: timesOf(check),
    records: check.fixed === true ? check.records : records,
  })
  return { name: check.name, about: check.about, ...result }
}

async function run(name: string, folder: string, seed: number): Promise<Outcome> {
  const any = ALL.get(name) as Any
  const began = performance.now()
  const outcome = await ('scenario' in any ? torment(any.scenario, folder, seed) : checked(any.check, folder, seed)).catch(
    (thrown: unknown): Outcome => {
      const { about } = 'scenario' in any ? any.scenario : any.check
      const error = thrown instanceof TidemarkError ? thrown.explain() : messageOf(thrown)
      return { name, about, faults: 0, records: 0, seen: 'it did not come to an end', faulty: [error] }
    },
  )
  return { ...outcome, seconds: (performance.now() - began) / 1_000 }
}

if (values.list) {
  for (const [name, any] of ALL) {
    const { times, about } = 'scenario' in any ? any.scenario : any.check
    console.log(`${name.padEnd(18)} ${String(times).padStart(4)} times   ${about}`)
  }
  process.exit(0)
}
// So that what is cleared away at the end is cleared away at this end, too.
for (const signal of ['SIGINT', 'SIGTERM'] as const) process.once(signal, () => process.exit(130))
const names = chosen()
const seed = positive('seed')
console.log(TABLE)
let failures = 0
for (const name of names) {
  const folder = mkdtempSync(join(tmpdir(), `tidemark-faults-${name}-`))
  const outcome = await run(name, folder, seed)
  console.log(row(outcome))
  for (const figure of outcome.figures ?? []) console.log(`  ${figure}`)
  if (values.report !== undefined) writeReport(values.report, outcome, [...ALL.keys()])
  if (!passed(outcome)) {
    failures += 1
    console.log(`  ${outcome.faulty.join('\n  ')}\n  logs of the workers: ${folder}`)
  } else if (values.keep) console.log(`  logs of the workers: ${folder}`)
  else rmSync(folder, { recursive: true, force: true })
}
console.log(failures === 0 ? 'all passed' : `${failures} of ${names.length} failed (--seed ${seed})`)
process.exit(failures === 0 ? 0 : 1)
