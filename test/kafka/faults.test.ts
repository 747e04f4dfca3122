/**
 * Faults on a real Kafka, a small part of what `npm run kafka-faults` does: workers in processes of their own are killed, and topics lose what
 * they had. The output is folded again from the input and read by Kafka's own client.
 */
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { CHECKS } from '../../scripts/kafka-faults/checks.ts'
import { describeUnless, whyNotStarted } from './shared.ts'

/** What is promised, the check that tries it, and how much of it. */
const TRIED: readonly (readonly [promise: string, check: string, times: number, records: number])[] = [
  ['workers that are killed at random lose nothing, repeat nothing and keep their state', 'kills', 4, 6_000],
  ['workers without names that are killed lose nothing either: their successors end what they left open', 'kills-dynamic', 2, 6_000],
  ['workers that are restarted one after the other, in good order, are not missed: the group tells nobody else', 'rolling', 2, 400_000],
  ['a worker that dies at any point of a commit, or at any request of it, leaves nothing half done', 'points', 1, 400_000],
  ['records that were removed before they were read stop their task, and no position is reset', 'gap', 1, 2_000],
  ['a source that was deleted and made again is refused, not read on', 'recreated', 1, 2_000],
  ['an output that its topic does not take ends the application with the reason, and is not tried for ever', 'oversize', 1, 3],
  ['records of aborted transactions are not there, however transactions overlap', 'aborted', 1, 2_000],
]

describeUnless(await whyNotStarted(), 'faults on a real Kafka', () => {
  test.each(TRIED)('%s', { timeout: 400_000 }, async (_promise, name, times, records) => {
    const check = CHECKS.find((each) => each.name === name)
    const folder = mkdtempSync(join(tmpdir(), `tidemark-faults-${name}-`))
    try {
      const { faults, faulty } = (await check?.run({ folder, seed: 1, times, records })) ?? {
        faults: 0,
        faulty: ['there is no such check'],
      }
      expect(faulty).toEqual([])
      expect(faults).toBeGreaterThanOrEqual(times)
    } finally {
      rmSync(folder, { recursive: true, force: true })
    }
  })
})
