/**
 * How long it takes to go on: a worker that comes back at once, one that nobody starts again, one that is restarted in good order, each with a name
 * and some without, and what the other worker feels of it.
 */
import { startKafka } from '../../src/testing/broker/index.ts'
import type { Check, CheckOptions, CheckResult } from './check.ts'
import { judged } from './kills.ts'
import { Rig, type Said, sleep } from './w1-rig.ts'

/** The least that brokers allow unless told otherwise. */
const SESSION_MS = 6_000
const FEED_PER_SECOND = 1_000
/** A machine that takes longer to start a process measures something else. */
const PATIENCE_MS = 60_000
/** What is looked at behind the moment at which everything runs again. */
const AFTER_MS = 1_000

interface Death {
  readonly worker: string
  readonly at: number
  /** When everything ran again. */
  readonly until: number
}

type How = 'killed, restarted' | 'killed' | 'rolled'
/** Members that the group knows by name, or that come back as others. */
type Named = 'static' | 'dynamic'

async function recovery(how: How, { folder, records, seed, times }: CheckOptions, named: Named = 'static'): Promise<CheckResult> {
  const kafka = await startKafka()
  try {
    const rig = await Rig.open({ folder, brokers: kafka.brokers, records, seed, sessionMs: SESSION_MS })
    try {
      if (named === 'dynamic') rig.onStart = () => ['--dynamic']
      for (const instance of ['0', '1']) rig.start(instance)
      let over = false
      const feeding = rig.feed(records, FEED_PER_SECOND, () => over)
      feeding.catch(() => {})
      const deaths: Death[] = []
      for (let i = 0; i < times; i++) {
        await both(rig, 0)
        await sleep(AFTER_MS)
        const worker = String(i % 2)
        const at = Date.now()
        if (how === 'killed') rig.keepDown(worker)
        if (how === 'rolled') await rig.roll(worker)
        else await rig.kill(worker)
        if (how !== 'killed') await both(rig, at)
        else await eventually(() => takenOver(rig.said(), worker, at) !== undefined, 'a takeover')
        deaths.push({ at, worker, until: Date.now() })
        await sleep(AFTER_MS)
        if (how !== 'killed') continue
        const again = Date.now()
        rig.start(worker)
        await both(rig, again)
      }
      over = true
      await feeding
      await rig.caughtUp()
      await rig.stop()
      const figures = how === 'killed' ? takeovers(rig.said(), deaths) : restarts(rig.said(), deaths)
      const result = judged(rig, times, await rig.verdict())
      if (how !== 'rolled') return { ...result, figures }
      const moved = rebalancesElsewhere(rig.said(), deaths)
      return {
        ...result,
        figures,
        seen: `${result.seen}; ${moved} rebalances for the other worker`,
        faulty: [...result.faulty, ...(moved > 0 ? [`the other worker was told of ${moved} rebalances`] : [])],
      }
    } finally {
      await rig.close()
    }
  } finally {
    await kafka.stop()
  }
}

/** Resolves when both workers run two tasks and have committed since. */
async function both(rig: Rig, since: number): Promise<void> {
  await eventually(() => ['0', '1'].every((worker) => settled(rig.said(), worker, since)), 'that both workers work')
}

function settled(said: readonly Said[], worker: string, since: number): boolean {
  const own = said.filter((each) => each.worker === worker)
  const life = own.slice(own.findLastIndex(({ kind }) => kind === 'start'))
  const tasks = new Map(life.filter(({ kind }) => kind === 'task').map(({ task, state }) => [task, state]))
  const running = [...tasks.values()].filter((state) => state === 'running').length
  const opened = life.findLastIndex(({ kind, state }) => kind === 'task' && state === 'running')
  return running === 2 && life.slice(opened).some(({ kind, at }) => kind === 'commit' && at > since)
}

/** The first commit of the other worker after it has opened what the dead one had. */
function takenOver(said: readonly Said[], dead: string, at: number): Said | undefined {
  const after = said.filter((each) => each.worker !== dead && each.at >= at)
  const opened = after.findLastIndex(({ kind, state }) => kind === 'task' && state === 'running')
  return opened < 0 ? undefined : after.slice(opened).find(({ kind }) => kind === 'commit')
}

async function eventually(holds: () => boolean, what: string): Promise<void> {
  for (const since = performance.now(); !holds(); await sleep(50)) {
    if (performance.now() - since > PATIENCE_MS) throw new Error(`waited ${PATIENCE_MS / 1_000} s for ${what}`)
  }
}

function restarts(said: readonly Said[], deaths: readonly Death[]): string[] {
  const lives = deaths.flatMap(({ worker, at }) => {
    const own = said.filter((each) => each.worker === worker && each.at >= at)
    const start = own.find(({ kind }) => kind === 'start')
    const commit = own.find(({ kind, cpuMs }) => kind === 'commit' && cpuMs !== undefined)
    return start?.began === undefined || commit === undefined ? [] : [{ began: start.began, start, commit }]
  })
  return [
    figure(
      'process start to its first line (the system, Node, modules)',
      lives.map(({ began, start }) => start.at - began),
    ),
    figure(
      'process start to the first commit',
      lives.map(({ began, commit }) => commit.at - began),
    ),
    figure(
      'CPU time of the process up to its first commit',
      lives.map(({ commit }) => commit.cpuMs ?? 0),
    ),
    ...pauseFigures(said, deaths),
  ]
}

function takeovers(said: readonly Said[], deaths: readonly Death[]): string[] {
  const taken = deaths.flatMap(({ worker, at, until }) => {
    const commit = takenOver(
      said.filter((each) => each.at <= until),
      worker,
      at,
    )
    return commit === undefined ? [] : [commit.at - at]
  })
  return [figure(`death to the first commit elsewhere, session ${SESSION_MS} ms`, taken), ...pauseFigures(said, deaths)]
}

/** How often the group told the other worker anew what is its own, while one was away. */
function rebalancesElsewhere(said: readonly Said[], deaths: readonly Death[]): number {
  return deaths.reduce((sum, { worker, at, until }) => {
    const told = said.filter((each) => each.kind === 'rebalances' && each.worker !== worker && each.at >= at && each.at <= until + AFTER_MS)
    return sum + told.length
  }, 0)
}

/** Between two commits of the other worker, from the last before the death until everything ran again. */
function pauses(said: readonly Said[], deaths: readonly Death[]): number[] {
  return deaths.map(({ worker, at, until }) => longest(said, worker, at, until + AFTER_MS))
}

/** The same while nothing happened: what this machine makes of a worker that nobody disturbs. */
function undisturbed(said: readonly Said[], deaths: readonly Death[]): number[] {
  return deaths.map(({ worker, at }) => longest(said, worker, at - AFTER_MS, at))
}

function longest(said: readonly Said[], dead: string, from: number, to: number): number {
  const commits = said.filter((each) => each.worker !== dead && each.kind === 'commit' && each.at <= to).map((each) => each.at)
  const window = commits.slice(
    Math.max(
      0,
      commits.findLastIndex((moment) => moment <= from),
    ),
  )
  return Math.max(0, ...window.map((moment, i) => (i === 0 ? 0 : moment - (window[i - 1] ?? moment))))
}

function pauseFigures(said: readonly Said[], deaths: readonly Death[]): string[] {
  return [
    figure("the other worker's longest time without a commit", pauses(said, deaths)),
    figure('the same in the second before, undisturbed', undisturbed(said, deaths)),
  ]
}

function figure(what: string, all: readonly number[]): string {
  const sorted = all.map((each) => Math.round(each)).sort((a, b) => a - b)
  return `${what}: median ${sorted[sorted.length >> 1] ?? '-'} ms, ${sorted[0] ?? '-'} to ${sorted.at(-1) ?? '-'}, of ${sorted.length}`
}

export const RECOVERY: readonly Check[] = [
  {
    name: 'recovery',
    about: 'a killed worker is started again at once under its name',
    times: 10,
    records: 400_000,
    fixed: true,
    run: (options) => recovery('killed, restarted', options),
  },
  {
    name: 'takeover',
    about: 'a killed worker is not started again: the other one takes over',
    times: 6,
    records: 400_000,
    fixed: true,
    run: (options) => recovery('killed', options),
  },
  {
    name: 'dynamic',
    about: 'a killed worker without a name, and another starts at once: the group waits for the dead one, and the other worker works on',
    times: 10,
    records: 400_000,
    fixed: true,
    run: (options) => recovery('killed, restarted', options, 'dynamic'),
  },
  {
    name: 'dynamic-takeover',
    about: 'a killed worker without a name, and nobody comes: the other one takes over',
    times: 6,
    records: 400_000,
    fixed: true,
    run: (options) => recovery('killed', options, 'dynamic'),
  },
  {
    name: 'rolling',
    about: 'workers are told to end and started again, one after the other: within its session none is missed',
    times: 10,
    records: 400_000,
    fixed: true,
    run: (options) => recovery('rolled', options),
  },
]
