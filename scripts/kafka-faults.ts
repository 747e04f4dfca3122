/**
 * Faults on a real Kafka, and whether exactly-once survives them: two workers on four partitions under a steady feed, one kind of fault after
 * another, and every committed record of the output compared with the fold of the input.
 *
 *   node scripts/with-node.mjs scripts/kafka-faults.ts                    everything, as often as the table says (an hour)
 *   node scripts/with-node.mjs scripts/kafka-faults.ts --scale 0.1        a tenth of it
 *   node scripts/with-node.mjs scripts/kafka-faults.ts --only resets,silence --seed 7
 *
 *   --rate 2500   records a second     --keep   leave the logs of the workers where they are     --list   the scenarios
 *
 *   --guarantee at-least-once   the same without exactly-once: commit-points then has to fail, or the oracle is blind
 *
 * It ends with 1 when a scenario fails. A failed one leaves the logs of its workers and says where.
 */
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { parseArgs } from 'node:util'
import { messageOf, TidemarkError } from '../src/base/errors.ts'
import { type FaultProxy, startKafka } from '../src/testing/broker/index.ts'
import { seededRandom } from '../src/testing/random.ts'
import { Oracle, type Verdict } from './kafka-faults/oracle.ts'
import { SCENARIOS, type Scenario } from './kafka-faults/scenarios.ts'
import { Workers } from './kafka-faults/workers.ts'

const { values } = parseArgs({
  options: {
    only: { type: 'string' },
    scale: { type: 'string', default: '1' },
    rate: { type: 'string', default: '2500' },
    guarantee: { type: 'string', default: 'exactly-once' },
    seed: { type: 'string', default: '1' },
    keep: { type: 'boolean', default: false },
    list: { type: 'boolean', default: false },
  },
})

const WORKERS = 2
/** The output has to grow at least this often, or the application stands still. */
const STALL_MS = 60_000

function fail(sentence: string): never {
  console.error(sentence)
  process.exit(64)
}

const GUARANTEES = ['exactly-once', 'at-least-once'] as const
const guarantee = GUARANTEES.find((each) => each === values.guarantee) ?? fail(`--guarantee is ${GUARANTEES.join(' or ')}.`)

function positive(name: 'scale' | 'rate' | 'seed'): number {
  const number = Number(values[name])
  return number > 0 ? number : fail(`--${name} is a number above 0, not "${values[name]}".`)
}

function chosen(): readonly Scenario[] {
  if (values.only === undefined) return SCENARIOS
  return values.only
    .split(',')
    .map(
      (name) =>
        SCENARIOS.find((scenario) => scenario.name === name) ??
        fail(`There is no scenario "${name}". There are ${SCENARIOS.map((scenario) => scenario.name).join(', ')}.`),
    )
}

interface Outcome {
  readonly scenario: Scenario
  readonly faults: number
  readonly seconds: number
  readonly starts: number
  /** Workers that ended although nothing killed them. */
  readonly ends: readonly string[]
  readonly verdict: Verdict | undefined
  readonly error: string | undefined
}

async function torment(scenario: Scenario, folder: string, seed: number): Promise<Outcome> {
  const began = performance.now()
  const random = seededRandom(seed)
  const kafka = await startKafka(scenario.kafka)
  const brokers = scenario.kafka.proxy === true ? kafka.proxiedBrokers : kafka.brokers
  const workers = new Workers({ folder, brokers, guarantee })
  let [faults, verdict, error]: [number, Verdict | undefined, string | undefined] = [0, undefined, undefined]
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
        times: Math.max(1, Math.round(scenario.times * positive('scale'))),
        unit: () => random.unit(),
        done: () => {
          faults += 1
        },
      })
      await oracle.enough()
      await oracle.settled(STALL_MS)
      await workers.stop()
      verdict = await oracle.verdict()
    } finally {
      await oracle.enough()
      await oracle.close()
    }
  } catch (thrown) {
    error = thrown instanceof TidemarkError ? thrown.explain() : messageOf(thrown)
  } finally {
    await workers.stop()
    await kafka.stop()
  }
  return { scenario, faults, seconds: (performance.now() - began) / 1_000, starts: workers.starts, ends: workers.ownEnds, verdict, error }
}

/** A worker that gives up is a failure too: whatever happens to the brokers, it has to wait for them. */
function passed({ verdict, error, ends }: Outcome): boolean {
  return error === undefined && ends.length === 0 && verdict !== undefined && verdict.lost + verdict.twice + verdict.wrong === 0
}

const COLUMNS = ['scenario', 'fault', 'faults', 'records', 'lost', 'twice', 'wrong', 'worker starts', 'ended by themselves', 's', 'verdict']

function row(outcome: Outcome): string {
  const { scenario, faults, verdict, starts, ends, seconds } = outcome
  const cells = [
    scenario.name,
    scenario.about,
    faults,
    verdict?.records,
    verdict?.lost,
    verdict?.twice,
    verdict?.wrong,
    starts,
    ends.length,
  ]
  return `| ${[...cells.map((cell) => cell ?? '-'), seconds.toFixed(0), passed(outcome) ? 'pass' : 'FAIL'].join(' | ')} |`
}

if (values.list) {
  for (const { name, about, times } of SCENARIOS) console.log(`${name.padEnd(18)} ${String(times).padStart(4)} times   ${about}`)
  process.exit(0)
}
// So that what is cleared away at the end is cleared away at this end, too.
for (const signal of ['SIGINT', 'SIGTERM'] as const) process.once(signal, () => process.exit(130))
const scenarios = chosen()
const seed = positive('seed')
console.log(`| ${COLUMNS.join(' | ')} |\n|${COLUMNS.map(() => '---|').join('')}`)
let failures = 0
for (const scenario of scenarios) {
  const folder = mkdtempSync(join(tmpdir(), `tidemark-faults-${scenario.name}-`))
  const outcome = await torment(scenario, folder, seed)
  console.log(row(outcome))
  if (!passed(outcome)) {
    failures += 1
    console.log(`  ${outcome.error ?? outcome.verdict?.first ?? outcome.ends.join(', ')}\n  logs of the workers: ${folder}`)
  } else if (values.keep) console.log(`  logs of the workers: ${folder}`)
  else rmSync(folder, { recursive: true, force: true })
}
console.log(failures === 0 ? 'all passed' : `${failures} of ${scenarios.length} failed (--seed ${seed})`)
process.exit(failures === 0 ? 0 : 1)
