// What a run of everything comes to, from the test runner's own report and the steps beside it.

/**
 * What counts as failed, so that a red run never ends with "0 failed":
 * - each test that failed;
 * - each file in which something failed and no test of it did: it could not be loaded, or what it prepares failed;
 * - each step beside the tests that failed: types, lint. Their output above says how often;
 * - the runner itself, where it failed and nothing of the above says why: no report, or an error outside of any test.
 *
 * @param {{ numPassedTests: number, numPendingTests: number, numTodoTests: number, testResults: readonly { name: string, status: string, assertionResults: readonly { status: string }[] }[] } | undefined} report
 *   undefined when the runner left none that can be read
 * @param {{ steps: readonly string[], runner: boolean }} failed the steps beside the tests that failed, and whether the runner did
 * @returns {{ passed: number, failed: number, skipped: number, unrun: readonly string[] }} unrun: what failed without being a test, by name
 */
export function tally(report, failed) {
  const files = report?.testResults ?? []
  const unrun = files
    .filter(({ status, assertionResults }) => status === 'failed' && !assertionResults.some(isFailed))
    .map(({ name }) => name)
  const tests = files.flatMap(({ assertionResults }) => assertionResults.filter(isFailed)).length
  const unexplained = failed.runner && tests + unrun.length === 0
  if (unexplained) unrun.push(report === undefined ? 'the test runner: it left no report' : 'the test runner: an error outside of any test')
  return {
    passed: report?.numPassedTests ?? 0,
    failed: tests + unrun.length + failed.steps.length,
    skipped: (report?.numPendingTests ?? 0) + (report?.numTodoTests ?? 0),
    unrun,
  }
}

/** @param {{ status: string }} test */
function isFailed({ status }) {
  return status === 'failed'
}
