/** What was seen, as a table: on the screen, and in the document that is kept. Neither says when, where or how fast it was. */
import { existsSync, readFileSync, writeFileSync } from 'node:fs'

export interface Outcome {
  readonly name: string
  readonly about: string
  readonly faults: number
  readonly records: number
  readonly seen: string
  /** What is wrong, a sentence each. */
  readonly faulty: readonly string[]
  readonly figures?: readonly string[]
  readonly seconds?: number
}

export const passed = ({ faulty }: Outcome): boolean => faulty.length === 0

const COLUMNS = ['scenario', 'fault', 'times', 'records', 'seen', 'verdict']
export const TABLE: string = `${cells([...COLUMNS, 's'])}\n|${'---|'.repeat(COLUMNS.length + 1)}`

function cells(all: readonly (string | number)[]): string {
  return `| ${all.map((cell) => `${cell}`.replaceAll('|', '/').replaceAll('\n', ' ')).join(' | ')} |`
}

function columns(outcome: Outcome): (string | number)[] {
  const { name, about, faults, records, seen } = outcome
  return [`\`${name}\``, about, faults, records, seen, passed(outcome) ? 'pass' : 'FAIL']
}

export function row(outcome: Outcome): string {
  return cells([...columns(outcome), (outcome.seconds ?? 0).toFixed(0)])
}

const HEAD = `# Faults on a real Kafka

Generated: each row is the last run of its scenario that was written here, by

    npm run kafka-faults -- --only SCENARIO --report docs/faults.md

(\`--kills N\` and \`--records N\` choose how much of it; without them, as often as \`--list\` says.) Two worker processes on four partitions, exactly
once, while something is done to them, to the brokers or to the way between them. Afterwards every committed record of the output is compared
with the fold of the input: *lost* is missing, *twice* came again, *wrong* is something else. In scenarios that say how many stores were dropped,
the input is that of the benchmark W1 and the output is read by Kafka's own Java consumer. A worker that gives up by itself is a failure too.

`

/** Puts an outcome into the document, in the place of the one that its scenario had; \`order\` names all scenarios. */
export function writeReport(file: string, outcome: Outcome, order: readonly string[]): void {
  const rows = new Map<string, string>()
  for (const line of existsSync(file) ? readFileSync(file, 'utf8').split('\n') : []) {
    const name = /^\| `([^`]+)` \|/.exec(line)?.[1]
    if (name !== undefined) rows.set(name, line)
  }
  rows.set(outcome.name, cells(columns(outcome)))
  const lines = order.flatMap((name) => rows.get(name) ?? [])
  writeFileSync(file, `${HEAD}${cells(COLUMNS)}\n|${'---|'.repeat(COLUMNS.length)}\n${lines.join('\n')}\n`)
}
