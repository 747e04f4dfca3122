/** `npm run simulate`: the real runtime under seeded chaos, and whether what is promised holds. `--help` says what it can be asked for. */
import {
  type Death,
  FAULT_KINDS,
  type FaultKind,
  KAFKA_FAULT_KINDS,
  type Settings,
  type Simulated,
  type SimulateOptions,
  simulate,
} from '../src/testing/simulate.ts'
import { BUGS } from '../test/simulation/bugs.ts'
import { foundBy, hunt } from '../test/simulation/hunt.ts'
import { KAFKA_BUGS } from '../test/simulation/kafka-bugs.ts'
import { commandOf, keptLine, shrunk } from '../test/simulation/report.ts'
import { CASES, caseOf } from '../test/simulation/topologies/index.ts'
import { flagsOf, refuse, requireName } from './flags.ts'

const TOPOLOGIES = CASES.map(({ name }) => name)
const values = flagsOf({
  script: 'simulate',
  about:
    'Run topologies under seeded crashes, power cuts, lost answers, pauses and rebalances, and say what of the promises does not hold.',
  flags: {
    seed: { value: '<n>', about: 'this seed only' },
    seeds: { value: '<n>', about: 'so many seeds (default: 1)' },
    from: { value: '<n>', about: 'the first of them', default: '1' },
    kafka: { about: 'on simulated brokers, with the Kafka driver, instead of the embedded log' },
    minutes: { value: '<n>', about: 'end after so long, though there are seeds left' },
    topology: { value: '<name>', about: `one of ${TOPOLOGIES.join(', ')} (default: the one that the seed has)` },
    faults: { value: '<kinds>', about: 'only these kinds of fault, with commas between, or none (default: those that the seed draws)' },
    set: { value: '<json>', about: 'settings that are not to be drawn' },
    facts: { value: '<n>', about: 'only the first facts of the feed' },
    deaths: {
      value: '<events>',
      about: "the process dies before these events: '120' is killed there, '120!' loses its power, '120~' so that files are torn",
    },
    bug: { value: '<name>', about: 'with a deliberate bug; alone, it is hunted by the means that is known to find it' },
    trace: { about: 'print everything that happens, event by event' },
    shrink: { about: 'look for the fewest kinds of fault that still violate' },
    quiet: { about: 'print the summary only' },
  },
  examples: [
    ['--seed 123', 'one seed, and what it violates'],
    ['--seed 123 --trace', 'with everything that happens'],
    ['--seeds 10000 --from 1', 'many, and a summary'],
    ['--kafka --seeds 1000 --minutes 10', 'on simulated brokers, for ten minutes at most'],
    ['--bug torn-tail-accepted', 'whether a deliberate bug is found, and by which means'],
    [`--seed 123 --set '{"workers":1}' --faults none`, 'one worker, and nothing goes wrong'],
  ],
  after: [
    'Exit codes: 0 nothing is violated   1 something is   64 wrong usage',
    'Bugs, and by which means each is found:',
    ...BUGS.map((bug) => `  ${bug.name}: ${foundBy(bug)}`),
    'With --kafka:',
    ...KAFKA_BUGS.map((bug) => `  ${bug.name}: ${foundBy(bug)}`),
  ].join('\n'),
})
const log: 'kafka' | 'embedded' = values.kafka ? 'kafka' : 'embedded'
/** Of the log that was asked for. */
const bugs = values.kafka ? KAFKA_BUGS : BUGS
const faultKinds: readonly string[] = values.kafka ? KAFKA_FAULT_KINDS : FAULT_KINDS

function numberOf(text: string, name: string): number {
  const number = Number(text)
  return Number.isSafeInteger(number) && number >= 0 ? number : refuse(`--${name} is a whole number from 0, not "${text}".`)
}

function deathOf(text: string): Death {
  const kind = text.endsWith('!') ? 'power-cut' : text.endsWith('~') ? 'torn' : 'kill'
  return { event: numberOf(text.replace(/[!~]$/, ''), 'deaths'), kind }
}

function settingsIn(json: string): Partial<Settings> {
  try {
    return JSON.parse(json) as Partial<Settings>
  } catch {
    return refuse(`--set is JSON, such as '{"workers":1}', not "${json}".`)
  }
}

if (values.bug !== undefined)
  requireName(
    'bug',
    values.bug,
    bugs.map(({ name }) => name),
  )
const bug = bugs.find(({ name }) => name === values.bug)

function optionsOf(seed: number): SimulateOptions & { readonly topology: string } {
  const wanted = values.topology
  if (wanted !== undefined) requireName('topology', wanted, TOPOLOGIES)
  const chosen = CASES.find(({ name }) => name === wanted) ?? caseOf(seed)
  const kinds = values.faults === undefined ? bug?.faults : values.faults === 'none' ? [] : values.faults.split(',')
  for (const kind of kinds ?? []) requireName('fault', kind, faultKinds)
  const facts = values.facts === undefined ? Number.POSITIVE_INFINITY : numberOf(values.facts, 'facts')
  return {
    seed,
    log,
    topology: chosen.name,
    feed: (random) => chosen.feed(random).slice(0, facts),
    oracle: chosen.oracle,
    ...(kinds === undefined ? {} : { faults: kinds as FaultKind[] }),
    settings: { ...chosen.settings, ...bug?.settings, ...settingsIn(values.set ?? '{}') },
    ...(bug === undefined ? {} : { bug: bug.bug }),
    ...(values.deaths === undefined ? {} : { deaths: values.deaths.split(',').map(deathOf) }),
    ...(values.trace ? { trace: (line: string) => console.log(line) } : {}),
  }
}

async function run(seed: number): Promise<Simulated> {
  const options = optionsOf(seed)
  // The name is ours: simulate() refuses options that it does not know.
  const { topology: wanted, ...given } = options
  const { topology } = CASES.find(({ name }) => name === wanted) as (typeof CASES)[number]
  const simulated = await simulate(topology, given)
  if (simulated.violations.length === 0 || values.quiet) return simulated
  console.log(`seed ${seed} (${options.topology}, ${simulated.settings.guarantee}) violates what is promised:`)
  for (const violation of simulated.violations) console.log(`  ${violation.replaceAll('\n', '\n    ')}`)
  console.log(`  faults: ${simulated.faults.join(', ') || 'none'}`)
  console.log(
    `  repeat: ${commandOf(simulated, options.topology, {
      faults: values.faults === undefined ? undefined : options.faults,
      log,
      bug: values.bug,
      settings: values.set === undefined ? undefined : settingsIn(values.set),
    })}`,
  )
  // Deaths, fewer facts and a bug make a world that the list of kept seeds does not know.
  if (values.deaths === undefined && values.facts === undefined && bug === undefined) {
    const settings = values.set === undefined ? undefined : settingsIn(values.set)
    const kept = { topology: options.topology, seed, log, settings, faults: values.faults === undefined ? undefined : options.faults }
    console.log(`  keep:   ${keptLine(kept, simulated.violations)}    (a line of test/simulation/seeds.txt; say behind # what it was)`)
  }
  if (values.shrink) console.log(`  fewest: --faults ${(await shrunk(topology, given, simulated)).join(',') || 'none'}`)
  return simulated
}

async function huntFor(named: (typeof bugs)[number]): Promise<void> {
  console.log(`${named.name}: ${named.about}; ${foundBy(named)}`)
  const found = await hunt(named, log)
  if (found === undefined) {
    console.log('it is not found any more')
    return
  }
  for (const violation of found.violations) console.log(`  ${violation.replaceAll('\n', '\n    ')}`)
  console.log(`  without the bug: ${found.sound.join('; ') || 'nothing is violated'}`)
  console.log(`  repeat: ${found.command}`)
  process.exitCode = 1
}

if (bug !== undefined && values.seed === undefined && values.seeds === undefined && values.deaths === undefined) {
  await huntFor(bug)
} else if (values.seed !== undefined) {
  const { violations, crashes, events, simulatedMs, digest } = await run(numberOf(values.seed, 'seed'))
  const outcome = violations.length === 0 ? 'nothing is violated' : `${violations.length} violations`
  console.log(
    `${outcome}; ${crashes} crashes, ${events} events, ${(simulatedMs / 1_000).toFixed(1)} simulated s, digest ${digest.toString(16)}`,
  )
  process.exitCode = violations.length === 0 ? 0 : 1
} else {
  const from = numberOf(values.from, 'from')
  const seeds = numberOf(values.seeds ?? '1', 'seeds')
  if (seeds === 0) refuse('--seeds is at least 1.')
  const began = performance.now()
  const until = began + (values.minutes === undefined ? Number.POSITIVE_INFINITY : numberOf(values.minutes, 'minutes') * 60_000)
  const total = { seeds: 0, violating: 0, crashes: 0, events: 0, simulatedMs: 0, looks: 0 }
  const kinds = new Map<string, number[]>()
  for (let seed = from; seed < from + seeds && performance.now() < until; seed++) {
    const { violations, crashes, events, simulatedMs, looks } = await run(seed)
    total.seeds += 1
    total.violating += violations.length > 0 ? 1 : 0
    total.crashes += crashes
    total.events += events
    total.simulatedMs += simulatedMs
    total.looks += looks
    const [first] = violations
    if (first === undefined) continue
    const kind = first.replaceAll(/\d+/g, '#').replaceAll('\n', ' | ').slice(0, 150)
    kinds.set(kind, [...(kinds.get(kind) ?? []), seed])
    process.exitCode = 1
  }
  const seconds = (performance.now() - began) / 1_000
  for (const [kind, found] of [...kinds].sort(([, a], [, b]) => b.length - a.length))
    console.log(`${String(found.length).padStart(6)} x ${kind} (${found.slice(0, 6).join(', ')})`)
  console.log(
    `${total.seeds} seeds from ${from}: ${total.violating} violate; ${total.crashes} crashes, ${total.events} events, ${total.looks} looks, ` +
      `${(total.simulatedMs / 3.6e6).toFixed(2)} simulated h in ${seconds.toFixed(1)} s (${((seconds * 1_000) / Math.max(1, total.seeds)).toFixed(1)} ms a seed)`,
  )
}
