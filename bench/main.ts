/**
 * All benches, one after the other, as tables and, with `--json FILE`, as JSON. Every figure is printed by this command; ratios are of one run.
 * Absolute figures of a shared machine move by a factor of two from one minute to the next: read the ratios, and the CPU time.
 *
 *   npm run bench -- [--only NAME] [--large] [--json FILE]
 *
 * Names: record-batch, serde, interpreter, store, log, w1. `--large` adds W1 at 5 million records.
 */
import { writeFileSync } from 'node:fs'
import { parseArgs } from 'node:util'
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

const { values } = parseArgs({
  options: { only: { type: 'string' }, large: { type: 'boolean', default: false }, json: { type: 'string' } },
})
if (values.only !== undefined && values.only !== 'w1' && BENCHES[values.only] === undefined) {
  console.error(`there is no bench "${values.only}"; there are ${[...Object.keys(BENCHES), 'w1'].join(', ')}`)
  process.exit(64)
}

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
