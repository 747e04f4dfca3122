/** What only a log in this process shows: clients that die because their clock stands still, functions of members that throw, generations over restarts. */
import { describe, expect, it } from 'vitest'
import type { EmbeddedLog } from '../../../src/drivers/embedded/index.ts'
import type { GroupEvent, JoinOptions, Membership } from '../../../src/ports/log.ts'
import { codeFrom, type ManualClock, manualClock, open, quickDisk, readValues, values } from './kit.ts'

const TOPIC = { name: 'a', partitions: 2, cleanup: 'delete', retentionMs: -1 } as const
const JOIN: JoinOptions = {
  instance: undefined,
  sessionMs: 6_000,
  userData: () => Buffer.alloc(0),
  assign: (members) =>
    new Map(members.map(({ member }, i) => [member, { partitions: [{ topic: 'a', partition: i }], userData: Buffer.alloc(0) }])),
}

async function start(): Promise<{ log: EmbeddedLog; clock: ManualClock }> {
  const clock = manualClock()
  const log = await open(quickDisk(), { clock })
  await log.client().ensure([TOPIC])
  return { log, clock }
}

/** The next event, if it is there already. */
async function heard(membership: Membership): Promise<GroupEvent | undefined> {
  const stop = new AbortController()
  const event = membership.next(stop.signal).catch(() => undefined)
  stop.abort()
  return event
}

async function assigned(membership: Membership): Promise<Extract<GroupEvent, { kind: 'assigned' }>> {
  const event = await heard(membership)
  if (event?.kind !== 'assigned') throw new Error(`expected to be assigned, heard ${event?.kind}`)
  return event
}

/** Moves time in small steps, as it passes for those who breathe by it. */
async function pass(clock: ManualClock, ms: number): Promise<void> {
  for (let left = ms; left > 0; left -= 500) await clock.advance(Math.min(500, left))
}

describe('a client whose clock stands still', () => {
  it('is given up after its session; its commits are rejected, and its open transaction waits until it is fenced', async () => {
    const { log, clock } = await start()
    const stopped = clock.fork()
    const [dying, living] = [log.client({ clock: stopped }), log.client()]
    const dead = await dying.join('g', JOIN)
    const { identity } = await assigned(dead)
    const alive = await living.join('g', JOIN)
    const asked = await heard(dead)
    if (asked?.kind !== 'revoking') throw new Error('expected to be asked to let go')
    asked.done()
    const second = await assigned(dead)
    expect((await assigned(alive)).identity.generation).toBe(identity.generation + 1)
    const writer = await dying.writer('app-dead')
    await writer.append('a/0', values('of the dead one'))
    stopped.stop()
    await pass(clock, 5_000)
    expect(await heard(alive)).toBeUndefined()
    await pass(clock, 1_500)
    const revoked = await heard(alive)
    expect(revoked?.kind).toBe('revoking')
    if (revoked?.kind === 'revoking') revoked.done()
    const third = await assigned(alive)
    expect(third.identity.generation).toBe(second.identity.generation + 1)
    expect(third.partitions).toEqual([{ topic: 'a', partition: 0 }])
    expect(await living.offsets(['a/0'], 'stable')).toEqual(new Map([['a/0', 0]]))
    await living.fence('app-', new Set(['app-live']))
    expect(await living.offsets(['a/0'], 'stable')).toEqual(await living.offsets(['a/0'], 'high'))
    expect((await writer.commit([{ group: 'g', identity: second.identity, positions: new Map() }])).kind).toBe('fenced')
    expect(await readValues(living, 'a/0')).toEqual([])
    expect(await codeFrom(living.commitPositions({ group: 'g', identity: second.identity, positions: new Map([['a/0', 1]]) }))).toBe(
      'COMMIT_REJECTED',
    )
    await log.close()
  })

  it('learns that it was given up when its clock goes on, and comes back as another member', async () => {
    const { log, clock } = await start()
    const paused = manualClock()
    const member = await log.client({ clock: paused }).join('g', JOIN)
    const before = await assigned(member)
    await pass(clock, 7_000)
    expect(await heard(member)).toMatchObject({ kind: 'lost', error: { code: 'MEMBER_LOST' } })
    expect(await heard(member)).toBeUndefined()
    await paused.advance(2_000)
    const after = await assigned(member)
    expect(after.identity.member).not.toBe(before.identity.member)
    expect(after.identity.generation).toBeGreaterThan(before.identity.generation)
    expect(member.heartbeatAge()).toBe(0)
    await log.close()
  })

  it('knows how long it was not confirmed', async () => {
    const { log, clock } = await start()
    const member = await log.client().join('g', JOIN)
    expect(member.heartbeatAge()).toBe(0)
    await clock.advance(999)
    expect(member.heartbeatAge()).toBe(999)
    await clock.advance(1)
    expect(member.heartbeatAge()).toBe(0)
    await log.close()
  })
})

describe('a member that does not let go', () => {
  it('is given up after its session, although it lives', async () => {
    const { log, clock } = await start()
    const [slow, fresh] = [await log.client().join('g', JOIN), await log.client().join('g', JOIN)]
    const { identity } = await assigned(slow)
    expect((await heard(slow))?.kind).toBe('revoking')
    await pass(clock, 5_500)
    expect(await heard(fresh)).toBeUndefined()
    // Until the next generation begins its commits count.
    await log.client().commitPositions({ group: 'g', identity, positions: new Map([['a/0', 1]]) })
    await pass(clock, 1_000)
    expect((await assigned(fresh)).partitions).toEqual([{ topic: 'a', partition: 0 }])
    expect((await heard(slow))?.kind).toBe('lost')
    expect(await codeFrom(log.client().commitPositions({ group: 'g', identity, positions: new Map([['a/0', 2]]) }))).toBe('COMMIT_REJECTED')
    await log.close()
  })

  it('and whose answer comes too late changes nothing any more', async () => {
    const { log, clock } = await start()
    const one = await log.client().join('g', JOIN)
    await assigned(one)
    const two = await log.client().join('g', JOIN)
    const asked = await heard(one)
    if (asked?.kind !== 'revoking') throw new Error('expected to be asked to let go')
    await pass(clock, 6_500)
    const alone = await assigned(two)
    asked.done()
    asked.done()
    expect(await heard(two)).toMatchObject({ kind: 'revoking' })
    await log.client().commitPositions({ group: 'g', identity: alone.identity, positions: new Map([['a/0', 2]]) })
    await log.close()
  })
})

describe('functions of members', () => {
  it('that throw cost their member its place, and nobody else', async () => {
    const { log, clock } = await start()
    let broken = true
    const bad = await log.client().join('g', {
      ...JOIN,
      assign: (members) => {
        if (broken) throw new Error('no plan')
        return JOIN.assign(members)
      },
    })
    expect(await heard(bad)).toMatchObject({ kind: 'lost', error: { code: 'MEMBER_LOST', detail: expect.stringContaining('no plan') } })
    const good = await log.client().join('g', JOIN)
    expect((await assigned(good)).partitions).toHaveLength(1)
    broken = false
    await clock.advance(2_000)
    const asked = await heard(good)
    if (asked?.kind === 'revoking') asked.done()
    expect((await assigned(good)).identity.generation).toBe((await assigned(bad)).identity.generation)
    await log.close()
  })

  it('may ask for another rebalance, which comes after the one that is going on', async () => {
    const { log } = await start()
    let member: Membership | undefined
    let asked = 0
    member = await log.client().join('g', {
      ...JOIN,
      userData: () => {
        if (asked++ === 1) member?.rejoin()
        return Buffer.alloc(0)
      },
    })
    const first = await assigned(member)
    member.rejoin()
    const generations = [first.identity.generation]
    for (let i = 0; i < 2; i++) {
      const event = await heard(member)
      if (event?.kind === 'revoking') event.done()
      generations.push((await assigned(member)).identity.generation)
    }
    expect(generations).toEqual([first.identity.generation, first.identity.generation + 1, first.identity.generation + 2])
    await log.close()
  })
})

describe('generations', () => {
  it('never come twice, also over restarts and crashes of the log', async () => {
    const disk = quickDisk()
    const seen = new Set<number>()
    for (let life = 0; life < 4; life++) {
      const log = await open(disk)
      for (let i = 0; i < 3; i++) {
        const member = await log.client().join('g', JOIN)
        const { generation } = (await assigned(member)).identity
        expect(seen).not.toContain(generation)
        seen.add(generation)
        await member.leave({ keep: false })
      }
      if (life % 2 === 0) await log.close()
      else disk.powerCut()
    }
  })
})

describe('a rejected commit', () => {
  it('ends its transaction at once, without waiting for the next writer of its id', async () => {
    const { log } = await start()
    const client = log.client()
    const writer = await client.writer('w')
    await writer.append('a/0', values('dropped'))
    const identity = { member: 'nobody', generation: 1, instance: undefined }
    expect((await writer.commit([{ group: 'g', identity, positions: new Map([['a/1', 1]]) }])).kind).toBe('rejected')
    expect(await client.offsets(['a/0'], 'stable')).toEqual(new Map([['a/0', 1]]))
    expect(await client.committed('g', ['a/1'])).toEqual(new Map())
    await log.close()
  })
})

describe('the end of a client', () => {
  it('leaves its groups and ends what it had open', async () => {
    const { log } = await start()
    const [client, other] = [log.client(), log.client()]
    const member = await client.join('g', JOIN)
    await assigned(member)
    const left = await other.join('g', JOIN)
    const asked = await heard(member)
    if (asked?.kind === 'revoking') asked.done()
    await assigned(member)
    await assigned(left)
    const writer = await client.writer('w')
    await writer.append('a/0', values('open'))
    await client.close()
    const again = await heard(left)
    if (again?.kind === 'revoking') again.done()
    expect((await assigned(left)).partitions).toEqual([{ topic: 'a', partition: 0 }])
    expect(await other.offsets(['a/0'], 'stable')).toEqual(new Map([['a/0', 1]]))
    expect(await codeFrom(member.next(new AbortController().signal))).toBe('LOG_CLOSED')
    expect(await codeFrom(writer.append('a/0', values('late')))).toBe('LOG_CLOSED')
    await log.close()
  })
})
