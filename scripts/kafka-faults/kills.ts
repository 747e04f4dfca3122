/** W1 in two processes over four partitions, one of them killed again and again, at random or at chosen points. */
import { COMMIT_PLACES } from '../../src/runtime/commit.ts'
import { type KafkaVersion, startKafka } from '../../src/testing/broker/index.ts'
import type { Check, CheckOptions, CheckResult } from './check.ts'
import { Rig, sleep } from './w1-rig.ts'

const FEED_PER_SECOND = 20_000
const TRICKLE_PER_SECOND = 500
/** Nothing of what is to happen to a worker takes longer. */
const PATIENCE_MS = 90_000

interface Kind {
  readonly version: KafkaVersion
  readonly features?: Readonly<Record<string, number>>
  /** Each worker comes back under another name, as members do that have none: the dead one is waited for until its session ends. */
  readonly renamed?: boolean
  /** Workers have no name for their group, and come back to the state that they left. */
  readonly dynamic?: boolean
}

async function atRandom({ version, features, renamed = false, dynamic = false }: Kind, options: CheckOptions): Promise<CheckResult> {
  const { times, records } = options
  return await withRig({ version, ...(features === undefined ? {} : { features }) }, options, async (rig) => {
    let [names, faults] = [0, 0]
    const next = (): string => `w${names++}`
    if (dynamic) rig.onStart = () => ['--dynamic']
    for (let i = 0; i < 2; i++) rig.start(next())
    const feeding = rig.feed(records, FEED_PER_SECOND)
    feeding.catch(() => {})
    for (let at = 0; faults < times; faults++) {
      // Spread over the work, not over time: a worker that is killed always has done something since.
      at += (0.5 + rig.unit()) * (records / (times + 1))
      await rig.reached(Math.min(at, records - 1))
      await sleep(rig.unit() * 100)
      const victim = rig.anyInstance()
      if (renamed) rig.keepDown(victim)
      await rig.kill(victim)
      if (renamed) rig.start(next())
    }
    await feeding
    return faults
  })
}

/** Requests by Kafka's number. */
const COMMITTING: readonly number[] = [0 /* Produce */, 28 /* TxnOffsetCommit */, 26 /* EndTxn */]
/** What transactions of protocol 1 have besides. */
const COMMITTING_1: readonly number[] = [24 /* AddPartitionsToTxn */, 25 /* AddOffsetsToTxn */]
const JOINING: readonly number[] = [22 /* InitProducerId */, 11 /* JoinGroup */, 14 /* SyncGroup */, 9 /* OffsetFetch */]
const HEARTBEAT = 12
/** A worker sends them once or twice in its life, the others again and again. */
const RARE: ReadonlySet<number> = new Set(JOINING)

interface Points {
  readonly version: KafkaVersion
  readonly failpoints: readonly string[]
  /** Each is a point when it was sent, and one when it is answered. */
  readonly requests: readonly number[]
}

async function atPoints({ version, failpoints, requests }: Points, options: CheckOptions): Promise<CheckResult> {
  return await withRig({ version }, options, async (rig) => {
    const points = [
      ...failpoints.map((place) => ({ place, rare: false })),
      ...requests.flatMap((api) => ['sent', 'answered'].map((when) => ({ place: `${api}/${when}`, rare: RARE.has(api) }))),
    ]
    const deaths = Array.from({ length: options.times }, () => points)
      .flat()
      .map(({ place, rare }) => ['--die', place, '--nth', `${rare ? 1 : 1 + Math.floor(rig.unit() * 6)}`])
    const [all, faults] = [deaths.length, { done: 0 }]
    rig.onStart = () => deaths.pop() ?? []
    rig.onDeath = () => {
      faults.done += 1
    }
    for (const instance of ['0', '1']) rig.start(instance)
    // A trickle, so that there is something to commit as long as workers die.
    const feeding = rig.feed(options.records, TRICKLE_PER_SECOND, () => faults.done >= all)
    feeding.catch(() => {})
    for (let since = performance.now(), last = 0; faults.done < all; await sleep(20)) {
      if (faults.done > last) [last, since] = [faults.done, performance.now()]
      if (performance.now() - since > PATIENCE_MS)
        throw new Error(`no worker died for ${PATIENCE_MS / 1_000} s, at ${points.at(last % points.length)?.place}; ${last} of ${all} did`)
      if (rig.fed >= options.records) throw new Error(`the input ended after ${faults.done} of ${all} deaths: it needs more --records`)
    }
    await feeding
    return faults.done
  })
}

async function withRig(
  kafkaOptions: Parameters<typeof startKafka>[0],
  { folder, records, seed, guarantee }: CheckOptions,
  torment: (rig: Rig) => Promise<number>,
): Promise<CheckResult> {
  const kafka = await startKafka(kafkaOptions)
  try {
    const rig = await Rig.open({ folder, brokers: kafka.brokers, records, seed, guarantee })
    try {
      const faults = await torment(rig)
      await rig.caughtUp()
      await rig.stop()
      return judged(rig, faults, await rig.verdict())
    } finally {
      await rig.close()
    }
  } finally {
    await kafka.stop()
  }
}

export function judged(rig: Rig, faults: number, verdict: Awaited<ReturnType<Rig['verdict']>>): CheckResult {
  const { lost, twice, wrong, first, rows, records } = verdict
  const wipes = rig.wipes()
  const faulty = [
    ...(lost + twice + wrong > 0 ? [`${lost} lost, ${twice} twice, ${wrong} wrong: ${first}`] : []),
    ...(wipes.length > 0 ? [`local state was dropped ${wipes.length} times: ${wipes[0]}`] : []),
    ...(rig.ownEnds.length > 0 ? [`${rig.ownEnds.length} workers ended by themselves: ${rig.ownEnds[0]}`] : []),
  ]
  const seen = `${rows} rows; ${lost} lost, ${twice} twice, ${wrong} wrong; ${wipes.length} stores dropped; ${rig.starts} starts`
  return { faults, records, faulty, seen }
}

const PROTOCOL_1 = { version: '4.3.1', features: { 'transaction.version': 1 } } as const

export const KILLS: readonly Check[] = [
  {
    name: 'kills',
    about: 'kill -9 of one of two workers at random, static members, transaction protocol 2',
    times: 200,
    records: 500_000,
    run: (options) => atRandom({ version: '4.3.1' }, options),
  },
  {
    name: 'kills-1',
    about: 'the same under transaction protocol 1 (Kafka 3.9)',
    times: 200,
    records: 500_000,
    run: (options) => atRandom({ version: '3.9.2' }, options),
  },
  {
    name: 'kills-feature',
    about: 'the same on a 4.3 whose feature transaction.version is 1',
    times: 20,
    records: 50_000,
    run: (options) => atRandom(PROTOCOL_1, options),
  },
  {
    name: 'kills-renamed',
    about: 'the same, each worker back under a new name: the group waits for the dead one, as for a dynamic member',
    times: 50,
    records: 250_000,
    run: (options) => atRandom({ version: '4.3.1', renamed: true }, options),
  },
  {
    name: 'kills-dynamic',
    about: 'the same, workers without names: a successor ends the transactions of the dead',
    times: 50,
    records: 250_000,
    run: (options) => atRandom({ version: '4.3.1', dynamic: true }, options),
  },
  {
    name: 'points',
    about: 'kill -9 at each of 14 points of a commit: 8 of the runtime, and as each of 3 requests is sent or answered',
    times: 20,
    records: 2_000_000,
    fixed: true,
    run: (options) => atPoints({ version: '4.3.1', failpoints: COMMIT_PLACES['exactly-once'], requests: COMMITTING }, options),
  },
  {
    name: 'points-1',
    about: 'the same under transaction protocol 1, which has 2 requests more',
    times: 20,
    records: 2_000_000,
    fixed: true,
    run: (options) =>
      atPoints({ version: '3.9.2', failpoints: COMMIT_PLACES['exactly-once'], requests: [...COMMITTING, ...COMMITTING_1] }, options),
  },
  {
    name: 'joins',
    about: 'kill -9 as each of 5 requests is sent or answered that make a worker a member and keep it one',
    times: 20,
    records: 2_000_000,
    fixed: true,
    run: (options) => atPoints({ version: '4.3.1', failpoints: [], requests: [...JOINING, HEARTBEAT] }, options),
  },
]
