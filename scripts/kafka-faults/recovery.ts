/** How long it takes to go on: a worker that comes back at once, one that nobody starts again, and what the other worker feels of it. */
import { startKafka } from '../../src/testing/broker/index.ts'
import type { Check, CheckOptions, CheckResult } from './check.ts'
import { judged } from './kills.ts'
import { Rig, type Said, sleep } from './w1-rig.ts'

/** The least that brokers allow unless told otherwise. */
const SESSION_MS = 6_000
const FEED_PER_SECOND = 1_000
/** What a part of the run is measured over. */
const AFTER_MS = 2_500

interface Lives {
  readonly first: readonly number[]
  readonly joined: readonly number[]
  readonly pauses: readonly number[]
}

async function recovery(restarted: boolean, { folder, records, seed, times }: CheckOptions): Promise<CheckResult> {
  const kafka = await startKafka()
  try {
    const rig = await Rig.open({ folder, brokers: kafka.brokers, records, seed, sessionMs: SESSION_MS })
    try {
      for (const instance of ['0', '1']) rig.start(instance)
      let over = false
      const feeding = rig.feed(records, FEED_PER_SECOND, () => over)
      feeding.catch(() => {})
      await rig.reached(1_000)
      await sleep(3_000)
      const deaths: { readonly at: number; readonly worker: string; readonly until: number }[] = []
      for (let i = 0; i < times; i++) {
        const worker = i % 2 === 0 ? '0' : '1'
        const at = Date.now()
        if (!restarted) rig.keepDown(worker)
        await rig.kill(worker)
        await sleep(restarted ? AFTER_MS : SESSION_MS + AFTER_MS)
        deaths.push({ at, worker, until: Date.now() })
        if (!restarted) rig.start(worker)
        await sleep(AFTER_MS + 2_000)
      }
      over = true
      await feeding
      await rig.caughtUp()
      await rig.stop()
      const { first, joined, pauses } = lives(rig.said(), deaths, restarted)
      const result = judged(rig, times, await rig.verdict())
      const seen = restarted
        ? `from process start to the first commit ${figures(first)} ms; the other worker's longest pause ${figures(pauses)} ms`
        : `from death to the first commit of the tasks elsewhere ${figures(joined)} ms, with a session of ${SESSION_MS} ms; the other worker's longest pause ${figures(pauses)} ms`
      return { ...result, seen }
    } finally {
      await rig.close()
    }
  } finally {
    await kafka.stop()
  }
}

function lives(said: readonly Said[], deaths: readonly { at: number; worker: string; until: number }[], restarted: boolean): Lives {
  const [first, joined, pauses]: [number[], number[], number[]] = [[], [], []]
  for (const { at, worker, until } of deaths) {
    const own = said.filter((each) => each.worker === worker && each.at >= at)
    const start = own.find(({ kind }) => kind === 'start')
    const commit = own.find((each) => each.kind === 'commit' && each.at >= (start?.at ?? Number.POSITIVE_INFINITY))
    if (restarted && start !== undefined && commit !== undefined) first.push(commit.at - (start.began as number))
    const others = said.filter((each) => each.worker !== worker)
    const opened = others.filter((each) => each.kind === 'task' && each.state === 'running' && each.at >= at && each.at <= until).at(-1)
    const taken = others.find((each) => each.kind === 'commit' && each.at >= (opened?.at ?? Number.POSITIVE_INFINITY))
    if (!restarted && taken !== undefined) joined.push(taken.at - at)
    // Between the last commit before the death and the end of what is looked at.
    const commits = others.filter((each) => each.kind === 'commit' && each.at <= until).map((each) => each.at)
    const from = commits.findLastIndex((moment) => moment <= at)
    const gaps = commits.slice(Math.max(0, from)).map((moment, i, all) => (i === 0 ? 0 : moment - (all[i - 1] as number)))
    pauses.push(Math.max(0, ...gaps))
  }
  return { first, joined, pauses }
}

function figures(all: readonly number[]): string {
  if (all.length === 0) return 'never'
  const sorted = [...all].map(Math.round).sort((a, b) => a - b)
  return `${sorted[sorted.length >> 1]} (${sorted[0]} to ${sorted.at(-1)})`
}

export const RECOVERY: readonly Check[] = [
  {
    name: 'recovery',
    about: 'a killed worker is started again at once under its name',
    times: 10,
    records: 100_000,
    run: (options) => recovery(true, options),
  },
  {
    name: 'takeover',
    about: 'a killed worker is not started again: the other one takes over',
    times: 6,
    records: 150_000,
    run: (options) => recovery(false, options),
  },
]
