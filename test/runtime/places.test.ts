/**
 * A crash at a place of the commit is a crash there: what is decided by then stays and is not done again, what is not decided nobody ever sees.
 * Tests that crash in the middle of a commit stand on this; a place that lies would make them tests of another one.
 */
import { describe, expect, test } from 'vitest'
import { text, topology } from '#tidemark'
import { CRASH, harness } from '#tidemark/testing'
import { type Log, partitionName } from '../../src/ports/log.ts'
import { COMMIT_PLACES } from '../../src/runtime/commit.ts'
import { Item, item, Sum, summed } from '../fixtures/plain.ts'
import { Cluster } from './cluster.ts'

/** Records go out and are added up, in one stage; which of them the user's function has seen is noted. */
function placed(seen: string[]) {
  return topology('placed', (flow) => {
    const facts = flow.stream('in', { key: text, value: Item }, { partitions: 1 }).map(
      'see',
      (value: Item) => {
        seen.push(value.note)
        return value
      },
      { value: Item },
    )
    facts.to('out-step', 'out')
    return [facts.dedupe('once', { id: (value) => value.note }).project('sums', { row: Sum, identity: 'once', fold: summed })]
  })
}
const CHANGELOG = 'placed-in-g1-changelog'

/** Records of a topic's only partition: those that are decided, or all that were written. */
async function recordsIn(log: Log, topic: string, which: 'committed' | 'uncommitted'): Promise<number> {
  const name = partitionName(topic, 0)
  const end = (await log.offsets([name], which === 'committed' ? 'stable' : 'high')).get(name) as number
  const reader = log.reader(which)
  reader.assign(new Map([[name, 0]]))
  let records = 0
  for (let position = 0; position < end; ) {
    for (const fetched of await reader.poll({ bytes: 1024 * 1024, waitMs: 0 })) {
      if (fetched.kind !== 'batches') throw new Error(`${name} cannot be read`)
      position = fetched.next
      for (const batch of fetched.batches) if (!batch.control) records += batch.count
    }
  }
  await reader.close()
  return records
}

/** What is there while the first commit of a fact stands at a place, and what its successor does. */
interface There {
  /** The result is in the log. */
  readonly written: boolean
  /** Readers see it. */
  readonly visible: boolean
  /** So is the state. */
  readonly changelog: boolean
  /** The disk has the state. */
  readonly disk: boolean
  /** How often the user's function has run in the end. */
  readonly runs: 1 | 2
  /** How many results readers see in the end. */
  readonly results: 1 | 2
}

const NOTHING = { written: false, visible: false, changelog: false, disk: false, runs: 2, results: 1 } as const
const DONE = { written: true, visible: true, changelog: true, disk: true, runs: 1, results: 1 } as const

/** Exactly once, outputs and changelogs go out side by side where nobody stops in between: what of the other is there is left open then. */
const THERE: Readonly<Record<keyof typeof COMMIT_PLACES, Readonly<Record<string, Partial<There>>>>> = {
  'exactly-once': {
    'commit.before-outputs': { written: false, visible: false, disk: false, runs: 2, results: 1 },
    'commit.after-outputs': { ...NOTHING, written: true },
    'commit.before-changelogs': { visible: false, changelog: false, disk: false, runs: 2, results: 1 },
    'commit.after-changelogs': { ...NOTHING, written: true, changelog: true },
    'commit.before-decision': { visible: false, disk: false, runs: 2, results: 1 },
    'commit.after-decision': { ...DONE, disk: false },
    'commit.before-stores': { ...DONE, disk: false },
    'commit.after-stores': DONE,
  },
  'at-least-once': {
    'commit.before-outputs': NOTHING,
    'commit.after-outputs': { ...NOTHING, written: true, visible: true, results: 2 },
    'commit.before-changelogs': { ...NOTHING, written: true, visible: true, results: 2 },
    'commit.after-changelogs': { ...DONE, disk: false },
    'commit.before-stores': { ...DONE, disk: false },
    'commit.after-stores': DONE,
    'commit.before-positions': DONE,
    'commit.after-positions': DONE,
  },
}

describe.each(['exactly-once', 'at-least-once'] as const)('%s', (guarantee) => {
  test.each(COMMIT_PLACES[guarantee])('a commit that stands at %s is there, and its successor does what is left', async (at) => {
    const cluster = await Cluster.open()
    const seen: string[] = []
    let stands = false
    const hang: { at?: string; hit: () => void } = {
      hit: () => {
        stands = true
      },
    }
    const app = await cluster.start(placed(seen), 'w', { guarantee, hang })
    await cluster.settle()
    hang.at = at
    await cluster.put('in', Item, [['k', item(1, 'a')]], 'plainly')
    await cluster.until(() => stands)
    // Whatever is on its way beside it arrives.
    await cluster.turns(50)
    const { log } = cluster.world('looks').world
    const there: Omit<There, 'runs' | 'results'> = {
      written: (await recordsIn(log, 'out', 'uncommitted')) > 0,
      visible: (await recordsIn(log, 'out', 'committed')) > 0,
      changelog: (await recordsIn(log, CHANGELOG, 'uncommitted')) > 0,
      disk: (await app.view('sums').get('k')).value !== undefined,
    }
    cluster.kill('w')
    const next = await cluster.start(placed(seen), 'w', { guarantee })
    await cluster.settle()
    const results = await recordsIn(log, 'out', 'committed')
    expect({ ...there, runs: seen.length, results }).toMatchObject(THERE[guarantee][at] as Partial<There>)
    expect((await next.view('sums').get('k')).value).toEqual({ total: 1, notes: 'a' })
    await cluster.close()
  })

  const sentinels = Object.entries(CRASH).filter(([, { crash }]) => COMMIT_PLACES[guarantee].includes(crash))
  test.each(sentinels)('CRASH.%s is a crash at its place, and nowhere else', async (_, sentinel) => {
    const seen: string[] = []
    const run = harness(placed(seen), { guarantee })
    const { runs, results, disk, changelog } = THERE[guarantee][sentinel.crash] as There
    for (const [n, note] of ['a', 'b'].entries()) {
      const restored = run.count('restored')
      await run.put('in', Item, [['k', item(1, note)]], sentinel)
      expect(seen.filter((each) => each === note)).toHaveLength(runs)
      expect(await run.topic('out')).toHaveLength(results * (n + 1))
      // A disk that lacks what stays gets it from the changelog: two rows and positions, and not only a marker.
      expect(run.count('restored') - restored > 1).toBe(runs === 1 && changelog && !disk)
      expect(await run.rows('sums')).toEqual({ k: { total: n + 1, notes: 'ab'.slice(0, n + 1) } })
    }
    expect((await run.verify()).problems).toEqual([])
    await run.close()
  })
})

test('a crash at a place to which no commit comes is refused, with the places that there are', async () => {
  const once = harness(placed([]), { guarantee: 'at-least-once' })
  await expect(once.put('in', Item, [['k', item(1)]], CRASH.afterDecision)).rejects.toMatchObject({
    code: 'OPTION_INVALID',
    message: expect.stringContaining('no commit comes to "commit.after-decision" under at-least-once'),
    hint: expect.stringContaining('CRASH.afterChangelog'),
  })
  await once.close()
  const exactly = harness(placed([]))
  await expect(exactly.put('in', Item, [['k', item(1)]], { crash: 'commit.after-apend' })).rejects.toMatchObject({
    code: 'OPTION_INVALID',
    detail: expect.stringContaining('commit.after-outputs, commit.before-changelogs'),
  })
  // Nothing was sent.
  expect(await exactly.topic('in')).toEqual([])
  await exactly.close()
})

test('a commit in which nobody stops between sending and deciding takes all of it at once', async () => {
  const cluster = await Cluster.open()
  const calls: ('append' | 'arrived' | 'commit')[] = []
  const noted = (log: Log): Log => {
    const wrapped = Object.create(log) as Log
    wrapped.writer = async (id) => {
      const writer = await log.writer(id)
      return {
        id: writer.id,
        append: async (partition, batch) => {
          calls.push('append')
          const ends = await writer.append(partition, batch)
          calls.push('arrived')
          return ends
        },
        commit: (positions) => {
          calls.push('commit')
          return writer.commit(positions)
        },
        abort: () => writer.abort(),
        close: () => writer.close(),
      }
    }
    return wrapped
  }
  await cluster.start(placed([]), 'w', { over: noted, hang: { at: 'commit.after-stores', until: Promise.resolve() } })
  await cluster.settle()
  calls.length = 0
  await cluster.put('in', Item, [['k', item(1, 'a')]], 'plainly')
  await cluster.settle()
  expect(calls.slice(0, 3)).toEqual(['append', 'append', 'commit'])
  await cluster.close()
})
