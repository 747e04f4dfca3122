/**
 * About a tenth of each scenario of `npm run crash-test`: real processes and real files, ended and damaged. They are run side by side, because
 * much of their time is waiting for children. How long a start takes is measured by the long run, and asserted nowhere.
 */
import { expect, test } from 'vitest'
import { flipBits } from '../../scripts/crash-test/flips.ts'
import { fillDisks } from '../../scripts/crash-test/full.ts'
import { killAgainAndAgain } from '../../scripts/crash-test/kills.ts'
import { killUntilDone } from '../../scripts/crash-test/lives.ts'
import { inScratch } from '../../scripts/crash-test/look.ts'
import { killReplays } from '../../scripts/crash-test/replays.ts'
import { shareFolders } from '../../scripts/crash-test/sharing.ts'

/** On a machine that others use too, a child takes many times as long as it needs. */
const TIMEOUT_MS = 900_000

test.concurrent('a process that is killed again and again while its feed goes on applies every fact once and drops no state', {
  timeout: TIMEOUT_MS,
}, async () => {
  await inScratch(async (scratch) => {
    const { wrong, counts } = await killAgainAndAgain({ dir: `${scratch}/data`, kills: 7, seed: 11, faults: 7, verifyEvery: 5 })
    expect(wrong).toEqual([])
    expect(counts.kill + counts.npm).toBe(7)
  })
})

test.concurrent('a process at full load that is killed with files being begun and compacted loses nothing', {
  timeout: TIMEOUT_MS,
}, async () => {
  const { wrong, kills } = await killUntilDone({ kills: 3, seed: 12, program: 'small', verifyEvery: 3 })
  expect({ wrong, kills }).toEqual({ wrong: [], kills: 3 })
})

test.concurrent('a flipped bit never makes a wrong row, and what a start does not notice is found by verify', {
  timeout: TIMEOUT_MS,
}, async () => {
  const { wrong, flipped } = await flipBits({ flips: 1, seed: 13 })
  expect(wrong).toEqual([])
  // Bits that no read can tell from what was written, and that the engine does not look for.
  const silent = flipped.filter(({ place }) => /: the (key|value) of a row$|: filter$|: index block$/.test(place))
  expect(silent.map(({ outcomes }) => outcomes.map(({ found }) => found))).toEqual(silent.map(() => [['STORE_CORRUPT']]))
  expect(silent).toHaveLength(4)
})

test.concurrent('a full disk ends the process with an error that says what to do, and with room it goes on', {
  timeout: TIMEOUT_MS,
}, async () => {
  const struck = await fillDisks({ sizes: 1, programs: ['command'] })
  expect(struck.flatMap(({ wrong }) => wrong)).toEqual([])
  expect(struck.filter(({ where }) => where !== undefined).length).toBeGreaterThan(0)
})

test.concurrent('a replay that is killed leaves nothing that is in the way of the next one', { timeout: TIMEOUT_MS }, async () => {
  const { wrong, kills } = await killReplays({ kills: 2, seed: 14 })
  expect({ wrong, kills }).toEqual({ wrong: [], kills: 2 })
})

test.concurrent('a second process is refused, a folder that cannot be written too, and a copy of a folder at work is whole', {
  timeout: TIMEOUT_MS,
}, async () => {
  const { wrong } = await shareFolders({ copies: 1, seed: 15 })
  expect(wrong).toEqual([])
})
