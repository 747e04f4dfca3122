// Everything that must hold: types, lint, and every test (the architecture and the README's blocks among them). The last line is the
// summary of the test runner's own report; types, lint and files that cannot be loaded are counted as failed in it (tally.mjs).
// Arguments are passed on to the runner, such as a file name or -t "a promise".
import { spawnSync } from 'node:child_process'
import { mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { tally } from './tally.mjs'

const filters = process.argv.slice(2)
const folder = mkdtempSync(join(tmpdir(), 'tidemark-test-'))
const report = join(folder, 'report.json')
const failed = []

/** Whether it held. */
function step(name, args) {
  console.log(`\n--- ${name}`)
  const { status, signal } = spawnSync(process.execPath, args, { stdio: 'inherit' })
  if (status !== 0) failed.push(signal === null ? name : `${name} (${signal})`)
  return status === 0
}

if (filters.length === 0) {
  step('types', ['scripts/types.mjs'])
  step('lint', ['scripts/lint.mjs'])
}
const steps = [...failed]
const ran = step('tests', [
  'node_modules/vitest/vitest.mjs',
  'run',
  '--reporter=default',
  '--reporter=json',
  `--outputFile.json=${report}`,
  ...filters,
])

let counted
try {
  counted = JSON.parse(readFileSync(report, 'utf8'))
} catch {
  counted = undefined
}
rmSync(folder, { recursive: true, force: true })
for (const file of counted?.testResults ?? []) {
  for (const { fullName, status, meta } of file.assertionResults) {
    if (status === 'pending' || status === 'skipped') console.log(`skipped: ${fullName}${meta?.why === undefined ? '' : ` (${meta.why})`}`)
  }
}
const sum = tally(counted, { steps, runner: !ran || counted === undefined })
for (const name of sum.unrun) console.log(`failed as a whole: ${name}`)
if (failed.length > 0) console.log(`\nfailed: ${failed.join(', ')}`)
console.log(`\n${sum.passed} passed, ${sum.failed} failed, ${sum.skipped} skipped`)
process.exit(sum.failed === 0 ? 0 : 1)
