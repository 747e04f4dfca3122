// Everything that must hold: types, lint, and every test (the architecture and the README's blocks among them). The last line is the
// summary of the test runner's own report. Arguments are passed on to the runner, such as a file name or -t "a promise".
import { spawnSync } from 'node:child_process'
import { mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'

const filters = process.argv.slice(2)
const folder = mkdtempSync(join(tmpdir(), 'tidemark-test-'))
const report = join(folder, 'report.json')
const failed = []

function step(name, args) {
  console.log(`\n--- ${name}`)
  const { status, signal } = spawnSync(process.execPath, args, { stdio: 'inherit' })
  if (status !== 0) failed.push(signal === null ? name : `${name} (${signal})`)
}

if (filters.length === 0) {
  step('types', ['scripts/types.mjs'])
  step('lint', ['scripts/lint.mjs'])
}
step('tests', ['node_modules/vitest/vitest.mjs', 'run', '--reporter=default', '--reporter=json', `--outputFile.json=${report}`, ...filters])

let counted
try {
  counted = JSON.parse(readFileSync(report, 'utf8'))
} catch {
  failed.push('the report of the test runner')
}
rmSync(folder, { recursive: true, force: true })
for (const file of counted?.testResults ?? []) {
  for (const { fullName, status, meta } of file.assertionResults) {
    if (status === 'pending' || status === 'skipped') console.log(`skipped: ${fullName}${meta?.why === undefined ? '' : ` (${meta.why})`}`)
  }
}
if (failed.length > 0) console.log(`\nfailed: ${failed.join(', ')}`)
const { numPassedTests = 0, numFailedTests = 0, numPendingTests = 0, numTodoTests = 0 } = counted ?? {}
console.log(`\n${numPassedTests} passed, ${numFailedTests} failed, ${numPendingTests + numTodoTests} skipped`)
process.exit(failed.length === 0 ? 0 : 1)
