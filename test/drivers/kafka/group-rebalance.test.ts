/** What a rebalance costs the members that live: those that the log fences work on until another generation has begun. */
import { afterEach, expect, test } from 'vitest'
import { KAFKA_ERROR as E } from '../../../src/drivers/kafka/wire/errors.ts'
import { nodeClock } from '../../../src/drivers/node/index.ts'
import type { GroupEvent, Identity, JoinOptions, Log, Membership } from '../../../src/ports/log.ts'
import type { Tap } from '../../simulation/kafka-tap.ts'
import { eventually, simulatedKafka } from './simulated.ts'

const SESSION_MS = 2_000
const GROUP = 'group'
const open: Log[] = []
afterEach(async () => {
  for (const log of open.splice(0)) await log.close()
})

const joining: JoinOptions = {
  instance: undefined,
  sessionMs: SESSION_MS,
  fenced: true,
  userData: () => Buffer.alloc(0),
  assign: (members) =>
    new Map(members.map(({ member }, i) => [member, { partitions: [{ topic: 'in', partition: i }], userData: Buffer.alloc(0) }])),
}

/** Hears everything that the group says, at once. */
class Hearer {
  readonly heard: GroupEvent[] = []
  readonly membership: Membership

  constructor(membership: Membership) {
    this.membership = membership
    void this.#listen()
  }

  async #listen(): Promise<void> {
    for (;;) {
      const event = await this.membership.next(new AbortController().signal).catch(() => undefined)
      if (event === undefined) return
      this.heard.push(event)
    }
  }

  get identity(): Identity | undefined {
    return this.heard.flatMap((event) => (event.kind === 'assigned' ? [event.identity] : [])).at(-1)
  }
}

test('a member that the log fences works on while the group waits for a dead one, and not a moment into the next generation', async () => {
  const sim = simulatedKafka()
  const join = async (tap?: Tap): Promise<{ log: Log; member: Hearer }> => {
    const log = await sim.connect(tap)
    open.push(log)
    return { log, member: new Hearer(await log.join(GROUP, joining)) }
  }
  let dead = false
  const { log, member: a } = await join()
  await log.ensure([{ name: 'in', partitions: 3, cleanup: 'delete', retentionMs: -1 }])
  // It hears answers, and the group nothing of it: the group takes it for dead.
  const { member: b } = await join({ answers: { Heartbeat: () => (dead ? { throttleMs: 0, error: 0 } : undefined) } })
  await eventually(() => b.identity !== undefined && a.identity?.generation === b.identity.generation, 'one generation')
  const old = a.identity as Identity
  const commit = (identity: Identity, position: number): Promise<void> =>
    log.commitPositions({ group: GROUP, identity, positions: new Map([['in/0', position]]) })
  dead = true
  const { member: c } = await join()
  let oldest = 0
  let commits = 0
  const since = performance.now()
  while (a.identity === old) {
    const age = a.membership.heartbeatAge()
    if (age === Number.POSITIVE_INFINITY) break
    oldest = Math.max(oldest, age)
    // A commit that was begun before the generation did may come too late for it.
    await commit(old, ++commits).catch((error: unknown) =>
      expect(a.membership.heartbeatAge(), String(error)).toBe(Number.POSITIVE_INFINITY),
    )
    if (commits === 10) expect(await a.membership.confirm(new AbortController().signal)).toBe(true)
    await nodeClock.sleep(20)
  }
  expect(performance.now() - since).toBeGreaterThan(SESSION_MS / 2)
  expect(commits).toBeGreaterThan(10)
  expect(oldest).toBeLessThan(SESSION_MS / 2)
  await eventually(() => a.identity !== old && c.identity !== undefined, 'the next generation')
  expect(a.heard.map(({ kind }) => kind)).not.toContain('revoking')
  expect(a.identity).toEqual({ ...old, generation: old.generation + 1 })
  expect(c.identity?.generation).toBe(old.generation + 1)
  await expect(commit(old, 1_000)).rejects.toMatchObject({ code: 'COMMIT_REJECTED' })
  await commit(a.identity as Identity, 1_001)
}, 30_000)

test('from the moment at which another generation begins until it has heard its part of it a member owns nothing for sure', async () => {
  const sim = simulatedKafka()
  const log = await sim.connect()
  open.push(log)
  const a = await log.join(GROUP, joining)
  const never = new AbortController().signal
  const first = await a.next(never)
  expect(first.kind).toBe('assigned')
  expect(a.heartbeatAge()).toBeLessThan(SESSION_MS)
  a.rejoin()
  await eventually(() => a.heartbeatAge() === Number.POSITIVE_INFINITY, 'another generation')
  await nodeClock.sleep(50)
  expect(a.heartbeatAge()).toBe(Number.POSITIVE_INFINITY)
  const second = await a.next(never)
  expect(second).toMatchObject({ kind: 'assigned', identity: { generation: (first as { identity: Identity }).identity.generation + 1 } })
  expect(a.heartbeatAge()).toBeLessThan(SESSION_MS)
})

test('a heartbeat of the former generation that is refused when the next one has begun takes nothing from the member', async () => {
  const sim = simulatedKafka()
  let late: Promise<void> | undefined
  let refusals = 0
  const holds: Tap = {
    answers: {
      // Sent while another generation was waited for, answered when it has begun.
      Heartbeat: () => {
        if (late === undefined) return undefined
        refusals++
        return late.then(() => ({ throttleMs: 0, error: E.ILLEGAL_GENERATION }))
      },
      JoinGroup: () => {
        if (late === undefined) return undefined
        return nodeClock.sleep(300).then(() => undefined)
      },
    },
  }
  const log = await sim.connect(holds)
  open.push(log)
  const a = new Hearer(await log.join(GROUP, { ...joining, sessionMs: 600 }))
  await eventually(() => a.identity !== undefined, 'a generation')
  const first = a.identity
  let answer = (): void => {}
  late = new Promise((resolve) => {
    answer = resolve
  })
  a.membership.rejoin()
  await eventually(() => refusals > 0, 'a heartbeat')
  await eventually(() => a.identity !== first, 'the next generation')
  late = undefined
  answer()
  await nodeClock.sleep(50)
  expect(a.membership.heartbeatAge()).toBeLessThan(600)
})
