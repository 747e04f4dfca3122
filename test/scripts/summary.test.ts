/** The last line of `npm test`, which `.ci/run` ends with, tells a red run from a green one. */
import { spawnSync } from 'node:child_process'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { expect, onTestFinished, test } from 'vitest'
import { tally } from '../../scripts/tally.mjs'

const ROOT = join(import.meta.dirname, '..', '..')

/** Runs the script on a folder of these files, and gives its exit code and its last line. */
function summaryOf(files: Readonly<Record<string, string>>): { code: number | null; line: string | undefined; out: string } {
  const folder = mkdtempSync(join(tmpdir(), 'tidemark-summary-'))
  onTestFinished(() => rmSync(folder, { recursive: true, force: true }))
  for (const [name, text] of Object.entries(files)) writeFileSync(join(folder, `${name}.test.ts`), text)
  // Of the runner around this one nothing may be inherited.
  const env = Object.fromEntries(Object.entries(process.env).filter(([name]) => !/^VITEST|^NODE_ENV$/.test(name)))
  const words = ['--root', folder, '--globals']
  const { status, stdout } = spawnSync(process.execPath, ['scripts/test.mjs', ...words], { cwd: ROOT, encoding: 'utf8', env })
  return { code: status, line: stdout.trimEnd().split('\n').at(-1), out: stdout }
}

test('a test file that cannot be loaded counts as failed, and is named', () => {
  const { code, line, out } = summaryOf({ broken: "import './nowhere.ts'\ntest('never runs', () => {})\n" })
  expect([code, line]).toEqual([1, '0 passed, 1 failed, 0 skipped'])
  expect(out).toMatch(/^failed as a whole: .*broken\.test\.ts$/m)
})

test('tests that pass, fail and are skipped are counted as such', () => {
  const { code, line } = summaryOf({
    mixed: "test('holds', () => {})\ntest('does not', () => { throw new Error('no') })\ntest.skip('later', () => {})\n",
    whole: "test('holds, too', () => {})\n",
  })
  expect([code, line]).toEqual([1, '2 passed, 1 failed, 1 skipped'])
})

const GREEN = { numPassedTests: 3, numPendingTests: 1, numTodoTests: 1, testResults: [] }

test('a green run has nothing failed', () => {
  expect(tally(GREEN, { steps: [], runner: false })).toEqual({ passed: 3, failed: 0, skipped: 2, unrun: [] })
})

test('types and lint that do not hold count as one failure each', () => {
  expect(tally(GREEN, { steps: ['types', 'lint'], runner: false })).toMatchObject({ passed: 3, failed: 2 })
})

test('a file whose preparation failed counts once, and one with a failed test only by its tests', () => {
  const testResults = [
    { name: 'hook.test.ts', status: 'failed', assertionResults: [{ status: 'skipped' }] },
    { name: 'mixed.test.ts', status: 'failed', assertionResults: [{ status: 'failed' }, { status: 'failed' }, { status: 'passed' }] },
  ]
  expect(tally({ ...GREEN, testResults }, { steps: [], runner: true })).toMatchObject({ failed: 3, unrun: ['hook.test.ts'] })
})

test('a runner that failed outside of any test, or left no report, is a failure', () => {
  expect(tally(GREEN, { steps: [], runner: true })).toMatchObject({ failed: 1, unrun: [expect.stringContaining('outside of any test')] })
  expect(tally(undefined, { steps: [], runner: true })).toMatchObject({
    passed: 0,
    failed: 1,
    unrun: [expect.stringContaining('no report')],
  })
})
