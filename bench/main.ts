/**
 * All benches, one after the other, as tables and, with `--json FILE`, as JSON. Every figure is printed by this command; ratios are of one run.
 * Absolute figures of a shared machine move by a factor of two from one minute to the next: read the ratios, and the CPU time.
 * `--help` says what it can be asked for.
 */
import { writeFileSync } from 'node:fs'
import { flagsOf, requireName } from '../scripts/flags.ts'
import { embeddedLogBench } from './embedded-log.ts'
import { kernelBench } from './kernel.ts'
import { recordBatchBench } from './record-batch.ts'
import { serdeBench } from './serde.ts'
import { storeBench } from './store.ts'
import { printTable, type Row } from './table.ts'
import { type W1Result, w1Embedded } from './w1/embedded.ts'

const BENCHES: Readonly<Record<string, readonly [title: string, run: () => Promise<Row[]>]>> = {
  'record-batch': ['record batch, against kafkajs in the same run', recordBatchBench],
  serde: ['Avro values', serdeBench],
  interpreter: ['interpreter', () => kernelBench()],
  store: ['state store, 4 tasks', storeBench],
  log: ['embedded log', embeddedLogBench],
}

const NAMES = [...Object.keys(BENCHES), 'w1']
const values = flagsOf({
  script: 'bench',
  about:
    'Measure on this machine, and compare with others in the same run. Absolute figures of a shared machine move by a factor of two: read ratios.',
  flags: {
    only: { value: '<name>', about: `this bench only: ${NAMES.join(', ')}` },
    large: { about: 'W1 at 5 million records as well' },
    json: { value: '<file>', about: 'write the figures there, too' },
  },
  examples: [
    ['', 'all of them, one after the other'],
    ['--only record-batch', 'one'],
    ['--only w1 --large --json w1.json', 'W1 at three sizes, as data as well'],
  ],
  after: 'Exit codes: 0 measured, and every row of W1 verified   1 failed   64 wrong usage',
})
if (values.only !== undefined) requireName('bench', values.only, NAMES)

const all: Record<string, readonly Row[] | readonly W1Result[]> = {}
for (const [name, [title, run]] of Object.entries(BENCHES)) {
  if (values.only !== undefined && values.only !== name) continue
  const rows = await run()
  printTable(title, rows)
  all[name] = rows
}
if (values.only === undefined || values.only === 'w1') {
  const results: W1Result[] = []
  for (const records of values.large ? [300_000, 1_000_000, 5_000_000] : [300_000, 1_000_000]) results.push(await w1Embedded({ records }))
  printTable(
    'W1 (dedupe, order, project; exactly-once) on the embedded log, a process of its own, every final row verified',
    results.map(rowOf),
  )
  all.w1 = results
}
if (values.json !== undefined) writeFileSync(values.json, `${JSON.stringify(all, null, 2)}\n`)

function rowOf(result: W1Result): Row {
  const { records, rate10to100, rateOverall, cpuMicrosPerRecord, rssMaxMB } = result
  return {
    name: `${(records / 1e6).toFixed(1)} M records, from 10 % to the end`,
    recordsPerSecond: rate10to100,
    cpuMicrosPerRecord,
    note: `${Math.round(rateOverall).toLocaleString('en-US')}/s from process start, at most ${rssMaxMB} MB resident`,
  }
}
