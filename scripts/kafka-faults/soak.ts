/**
 * An hour of work: two workers under a steady feed, one of them killed every minute, the other alive from the first record to the last. What is
 * looked for needs time: memory that grows, a backlog that is never caught up, state that drifts.
 */
import { readFileSync } from 'node:fs'
import { startKafka } from '../../src/testing/broker/index.ts'
import type { Check, CheckOptions, CheckResult } from './check.ts'
import { judged } from './kills.ts'
import { Rig, sleep } from './w1-rig.ts'

const FEED_PER_SECOND = 5_000
const MINUTE_MS = 60_000
/** Shorter runs say how much memory there was, and not whether it grows: code is still being compiled, and caches fill. */
const MINUTES_FOR_MEMORY = 12
/** What the last sixth of the run may hold more than the second, which has full caches already. */
const GROWTH_MAX = 1.15

interface Sample {
  readonly residentMB: number
  /** Records fed and not committed. */
  readonly behind: number
}

async function soak({ folder, seed, times: minutes, guarantee }: CheckOptions): Promise<CheckResult> {
  const records = minutes * 60 * FEED_PER_SECOND
  const kafka = await startKafka()
  try {
    const rig = await Rig.open({ folder, brokers: kafka.brokers, records, seed, guarantee })
    try {
      const survivor = rig.start('survivor')
      rig.start('victim')
      const samples: Sample[] = []
      const began = performance.now()
      let over = false
      const feeding = rig.feed(records, FEED_PER_SECOND, () => over)
      feeding.catch(() => {})
      for (let minute = 1; minute <= minutes; minute++) {
        await sleep(Math.max(0, began + (minute - rig.unit()) * MINUTE_MS - performance.now()))
        await rig.kill('victim')
        await sleep(Math.max(0, began + minute * MINUTE_MS - performance.now()))
        samples.push({ residentMB: residentMB(survivor.pid as number), behind: rig.fed - ((await rig.committed()) ?? rig.fed) })
      }
      over = true
      await feeding
      await rig.caughtUp()
      await rig.stop()
      const result = judged(rig, minutes, await rig.verdict())
      const memory = grown(samples)
      return {
        ...result,
        faulty: [...result.faulty, ...memory.faulty],
        seen: `${result.seen}${memory.seen}`,
        figures: [
          `fed ${Math.round(rig.fed / ((performance.now() - began) / 1_000))} records a second, catching up and all`,
          `resident MB of the survivor, minute by minute: ${samples.map(({ residentMB }) => residentMB).join(' ')}`,
          `records behind, minute by minute: ${samples.map(({ behind }) => behind).join(' ')}`,
        ],
      }
    } finally {
      await rig.close()
    }
  } finally {
    await kafka.stop()
  }
}

function residentMB(pid: number): number {
  const kB = /^VmRSS:\s+(\d+) kB$/m.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))?.[1]
  return Math.round(Number(kB) / 1_024)
}

function grown(samples: readonly Sample[]): { readonly faulty: readonly string[]; readonly seen: string } {
  if (samples.length < MINUTES_FOR_MEMORY) return { faulty: [], seen: '' }
  const sixth = Math.floor(samples.length / 6)
  const most = (of: readonly Sample[]): number => Math.max(...of.map(({ residentMB }) => residentMB))
  const [early, late] = [most(samples.slice(sixth, 2 * sixth)), most(samples.slice(-sixth))]
  const seen = `; the survivor held at most ${early} MB in the second sixth of it and ${late} MB in the last`
  return { seen, faulty: late > early * GROWTH_MAX ? [`memory grows${seen}`] : [] }
}

export const SOAK: readonly Check[] = [
  {
    name: 'soak',
    about:
      'an hour under a feed of 5,000 records a second or what the machine gives, one of two workers killed every minute; memory of the other',
    times: 60,
    records: 60 * 60 * FEED_PER_SECOND,
    fixed: true,
    run: soak,
  },
]
