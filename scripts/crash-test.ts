/**
 * `npm run crash-test`: the real process on real files, ended and damaged in every way that can be made here; what each scenario asks for is said
 * in its module, scripts/crash-test/<name>.ts. What it does not do: take the power away. What a file system keeps of writes that it had not been
 * asked to keep is simulated instead (npm run simulate), because no process can make a machine forget them.
 */
import { existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { cpus, loadavg } from 'node:os'
import { join } from 'node:path'
import { ROOT } from './crash-test/process.ts'
import { SCENARIOS, type ScenarioName } from './crash-test/scenarios.ts'
import { markdownOf, type Section } from './crash-test/section.ts'
import { flagsOf, refuse, requireName } from './flags.ts'

const PREFACE = `# What survives

The real process on real files, killed, starved and lied to, by \`npm run crash-test -- --report\`. Each chapter names the command that wrote
it. CI runs a part of each scenario (\`test/crash/crash.test.ts\`).

No power was cut: no process can make a machine forget what its disk had not confirmed. That is simulated, with torn and lost writes at every
place: \`npm run simulate\`.`

const values = flagsOf({
  script: 'crash-test',
  about:
    'Kill, starve and damage the real process on real files, and see whether it keeps its promises. In full it takes about half an hour.',
  flags: {
    kills: {
      value: '<n>',
      about: 'how often a process is killed while a paced feed runs; the other scenarios keep the proportion (default: 100)',
    },
    quick: { about: 'a tenth of everything' },
    seed: {
      value: '<n>',
      about: 'when is killed, and which bits are flipped. When a process is at which line is not in its hands',
      default: '1',
    },
    only: { value: '<names>', about: `these scenarios only, with commas between: ${Object.keys(SCENARIOS).join(', ')}` },
    report: { about: 'write the outcome to docs/crash-test.md, each scenario as its chapter' },
    verbose: { about: 'say what happened at each kill and each flip' },
  },
  examples: [
    ['--quick', 'a tenth of everything'],
    ['--only flips --seed 7 --verbose', 'one scenario, and all that it does'],
    ['--report', 'everything, in full, into docs/crash-test.md'],
  ],
  after: 'Exit codes: 0 every promise was kept   1 one was broken   64 wrong usage',
})

function numberOf(text: string, name: string, least: number): number {
  const number = Number(text)
  return Number.isSafeInteger(number) && number >= least ? number : refuse(`--${name} is a whole number from ${least}, not "${text}".`)
}

function namesOf(text: string): ScenarioName[] {
  const names = Object.keys(SCENARIOS)
  for (const name of text.split(',')) requireName('scenario', name, names)
  return text.split(',') as ScenarioName[]
}

const kills = numberOf(values.kills ?? (values.quick ? '10' : '100'), 'kills', 1)
const seed = numberOf(values.seed, 'seed', 0)
const names = values.only === undefined ? (Object.keys(SCENARIOS) as ScenarioName[]) : namesOf(values.only)
const tell = values.verbose ? (line: string) => console.error(line) : () => {}

let broken = 0
for (const name of names) {
  const began = performance.now()
  const section = await SCENARIOS[name]({ kills, seed, tell })
  broken += section.wrong.length
  console.log(`${markdownOf(section)}\n\n${name} took ${Math.round((performance.now() - began) / 1_000)} s\n`)
  // At once: what was found must not be lost with what is still to come.
  if (values.report) report(name, section)
}
process.exit(broken === 0 ? 0 : 1)

/** Puts a chapter into the report in the place of the one that it had; those of other scenarios stay. */
function report(name: ScenarioName, section: Section): void {
  const file = join(ROOT, 'docs', 'crash-test.md')
  const old = existsSync(file) ? readFileSync(file, 'utf8') : ''
  const command = ['npm run crash-test --', `--only ${name}`, `--kills ${kills}`, `--seed ${seed}`].join(' ')
  const chapters = Object.keys(SCENARIOS).map((each) => {
    const [, kept] = new RegExp(`<!-- ${each} -->\\n([^]*?)\\n<!-- end -->`).exec(old) ?? []
    const text = each === name ? `${markdownOf(section)}\n\nWritten by \`${command}\` on ${machine()}.` : kept
    return text === undefined ? [] : [`<!-- ${each} -->\n${text}\n<!-- end -->`]
  })
  mkdirSync(join(ROOT, 'docs'), { recursive: true })
  writeFileSync(file, `${PREFACE}\n\n${chapters.flat().join('\n\n')}\n`)
}

/** Of a machine: what the times depend on. What else it did is the load: processes that wanted a processor, a minute's mean. */
function machine(): string {
  return `${cpus().length} cores, Node ${process.versions.node}, load ${(loadavg()[0] as number).toFixed(1)} at the end`
}
