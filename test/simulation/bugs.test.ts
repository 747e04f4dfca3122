/** The simulator finds what it is for: each deliberate bug, by the means that its entry names. */
import { expect, test } from 'vitest'
import { BUGS } from './bugs.ts'
import { foundBy, meansOf } from './hunt.ts'
import { isFound } from './kit.ts'

const PATIENCE_MS = 600_000

test.each(BUGS)('a bug is found: $about', { timeout: PATIENCE_MS }, (named) => isFound(named, 'embedded'))

test('each says by which means it is found, and the most are by seeds of which nothing is given', () => {
  for (const named of BUGS) {
    // A script has its own settings; a seed that finds it does not belong beside it.
    const means = meansOf(named)
    expect([named.name, named.seed === undefined]).toEqual([named.name, means === 'systematic'])
    expect(foundBy(named)).toMatch({ random: /as they are drawn/, narrowed: /only faults|is given/, systematic: /systematic run/ }[means])
  }
  const by = Map.groupBy(BUGS, meansOf)
  expect(by.get('narrowed')?.map(({ name }) => name)).toEqual(['revoked-task-commits', 'silent-owner-writes', 'nobody-fenced'])
  expect(by.get('systematic')?.map(({ name }) => name)).toEqual(['torn-tail-accepted'])
})
