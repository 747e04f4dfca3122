/** The one error type: how it looks to whoever meets it without having caught it. */
import { spawnSync } from 'node:child_process'
import { join } from 'node:path'
import { inspect } from 'node:util'
import { describe, expect, test } from 'vitest'
import { TidemarkError } from '../../src/base/errors.ts'

const failed = (): TidemarkError =>
  new TidemarkError('STEP_FAILED', 'step "fold" threw\nin two lines', {
    detail: 'TypeError: no such field',
    hint: 'Mend the fold.',
    cause: new RangeError('the root of it'),
  })

describe('an error that is printed', () => {
  test('says the sentence first, then code, detail and hint, then the stack, then its cause', () => {
    const lines = inspect(failed()).split('\n')
    expect(lines.slice(0, 5)).toEqual([
      'TidemarkError: step "fold" threw',
      'in two lines',
      'code: STEP_FAILED',
      'detail: TypeError: no such field',
      'hint: Mend the fold.',
    ])
    expect(lines[5]).toMatch(/^ {4}at failed /)
    expect(lines.indexOf('cause: RangeError: the root of it')).toBeGreaterThan(6)
  })

  test('leaves out what it does not have', () => {
    const bare = inspect(new TidemarkError('APP_CLOSED', 'it was closed'))
    expect(bare).toMatch(/^TidemarkError: it was closed\ncode: APP_CLOSED\n {4}at /)
    expect(bare).not.toMatch(/detail:|hint:|cause:/)
  })

  test('is printed the same way by Node for a program that did not catch it', () => {
    const errors = join(import.meta.dirname, '..', '..', 'src', 'base', 'errors.ts')
    const program = `
      const { TidemarkError } = await import(${JSON.stringify(errors)})
      throw new TidemarkError('LOG_LOCKED', 'the folder is open', { detail: 'By process 7.', hint: 'Stop it.' })`
    // Node prints the stack, and shows the fields once more behind it.
    const { stderr, status } = spawnSync(process.execPath, ['--input-type=module', '--eval', program], { encoding: 'utf8' })
    expect(status).toBe(1)
    expect(stderr).toMatch(/TidemarkError: the folder is open\ncode: LOG_LOCKED\ndetail: By process 7\.\nhint: Stop it\.\n {4}at /)
  })
})
