/** Groups: who owns what, when it may be let go, and whose commits count. */
import { utf8 } from '../../base/bytes.ts'
import type { Assignment, GroupMember, Identity, JoinOptions, Log, Membership } from '../../ports/log.ts'
import { codeFrom, describe, expect, isSilent, type Kit, nextAssigned, nextEvent } from './kit.ts'

export function groupTests(kit: Kit): void {
  const test = kit.when('groups')
  const transactional = kit.options.manifest.transactions === true ? test : kit.when('transactions')

  /** A member of a group over the partitions of one topic, which the leader deals out in the order of the members' user data. */
  const joinAs = (group: string, topic: string, name: string, more: Partial<JoinOptions> & { log?: Log } = {}): Promise<Membership> =>
    (more.log ?? kit.log).join(group, {
      instance: undefined,
      sessionMs: kit.sessionMs,
      userData: () => Buffer.from(name),
      assign: (members) => dealOut(members, topic, 4),
      ...more,
    })

  const commit = async (group: string, identity: Identity, partition: string, position: number): Promise<string> => {
    const writer = await kit.log.writer(kit.name('writer'))
    await writer.append(partition, kit.values(`${identity.member} ${position}`))
    const outcome = await writer.commit([{ group, identity, positions: new Map([[partition, position]]) }])
    await writer.close()
    return outcome.kind
  }

  for (const kind of ['dynamic', 'static'] as const) describe(`${kind} members`, () => ofEither(kind))

  /** What holds for members that have a name and for those that have none. */
  function ofEither(kind: 'dynamic' | 'static'): void {
    const join: typeof joinAs = (group, topic, name, more) =>
      joinAs(group, topic, name, { instance: kind === 'static' ? `i-${name}` : undefined, ...more })

    test('one member is assigned what the leader says, with its user data', async () => {
      const [group, topic] = [kit.name('group'), await kit.topic({ partitions: 4 })]
      const member = await join(group, topic, 'a')
      const { identity, partitions, userData } = await nextAssigned(member)
      expect(identity.instance).toBe(kind === 'static' ? 'i-a' : undefined)
      expect(identity.member).toMatch(/./)
      expect(partitions).toEqual([0, 1, 2, 3].map((partition) => ({ topic, partition })))
      expect(utf8(userData)).toBe('for a of a')
      expect(member.heartbeatAge()).toBeLessThan(kit.sessionMs)
      await member.leave({ keep: false })
    })

    test('when another member joins, each lets go first and then has its part of one new generation', async () => {
      const [group, topic] = [kit.name('group'), await kit.topic({ partitions: 4 })]
      const other = await kit.fixture.connect()
      const a = await join(group, topic, 'a')
      const before = await nextAssigned(a)
      const b = await join(group, topic, 'b', { log: other })
      expect((await nextEvent(a)).kind).toBe('revoking')
      expect(await isSilent(b)).toBe(true)
      // The event above was taken without `done`, so the group waits; another rebalance is not begun meanwhile.
      b.rejoin()
      expect(await isSilent(a)).toBe(true)
      await a.leave({ keep: false })
      const alone = await nextAssigned(b)
      expect(alone.partitions).toHaveLength(4)
      expect(alone.identity.generation).toBeGreaterThan(before.identity.generation)
      const again = await join(group, topic, 'a')
      const [forB, forA] = await Promise.all([nextAssigned(b), nextAssigned(again)])
      expect(forA.identity.generation).toBe(forB.identity.generation)
      const all = [...forA.partitions, ...forB.partitions].map(({ partition }) => partition).sort((x, y) => x - y)
      expect([forA.partitions.length, forB.partitions.length, all]).toEqual([2, 2, [0, 1, 2, 3]])
      expect([utf8(forA.userData), utf8(forB.userData)]).toEqual(['for a of a,b', 'for b of a,b'])
      for (const member of [again, b]) await member.leave({ keep: false })
      await other.close()
    })

    test('what a member leaves goes to the others', async () => {
      const [group, topic] = [kit.name('group'), await kit.topic({ partitions: 4 })]
      const a = await join(group, topic, 'a')
      await nextAssigned(a)
      const b = await join(group, topic, 'b')
      await Promise.all([nextAssigned(a), nextAssigned(b)])
      await a.leave({ keep: false })
      expect((await nextAssigned(b)).partitions).toHaveLength(4)
      expect(await codeFrom(a.next(new AbortController().signal))).toBe('LOG_CLOSED')
      await b.leave({ keep: false })
    })

    test('rejoin asks every member anew', async () => {
      const [group, topic] = [kit.name('group'), await kit.topic({ partitions: 4 })]
      let told = 'first'
      const member = await join(group, topic, '', { userData: () => Buffer.from(told) })
      const before = await nextAssigned(member)
      told = 'second'
      member.rejoin()
      const after = await nextAssigned(member)
      expect([utf8(before.userData), utf8(after.userData)]).toEqual(['for first of first', 'for second of second'])
      expect(after.identity.generation).toBeGreaterThan(before.identity.generation)
      await member.leave({ keep: false })
    })

    test('waiting for an event ends by its signal', async () => {
      const [group, topic] = [kit.name('group'), await kit.topic({ partitions: 4 })]
      const member = await join(group, topic, 'a')
      await nextAssigned(member)
      const stop = new AbortController()
      const waiting = member.next(stop.signal)
      const reason = new Error('enough')
      stop.abort(reason)
      await expect(waiting).rejects.toBe(reason)
      await member.leave({ keep: false })
    })

    test('a member that asks hears that it is one, also while the group waits for it to let go, and nothing when it has left', async () => {
      const [group, topic] = [kit.name('group'), await kit.topic({ partitions: 4 })]
      const { signal } = new AbortController()
      const a = await join(group, topic, 'a')
      await nextAssigned(a)
      expect(await a.confirm(signal)).toBe(true)
      expect(a.heartbeatAge()).toBeLessThan(kit.sessionMs / 2)
      const b = await join(group, topic, 'b')
      const revoking = await nextEvent(a)
      expect(await a.confirm(signal)).toBe(true)
      if (revoking.kind === 'revoking') revoking.done()
      await Promise.all([nextAssigned(a), nextAssigned(b)])
      expect(await Promise.all([a.confirm(signal), b.confirm(signal)])).toEqual([true, true])
      const stopped = new AbortController()
      stopped.abort(new Error('enough'))
      await expect(a.confirm(stopped.signal)).rejects.toThrow('enough')
      for (const member of [a, b]) await member.leave({ keep: false })
      expect(await codeFrom(a.confirm(signal))).toBe('LOG_CLOSED')
    })

    commits(join)
  }

  describe('static members by name', () => {
    test('one that comes back within its session moves nothing, and takes the place of its predecessor', async () => {
      const [group, topic] = [kit.name('group'), await kit.topic({ partitions: 4 })]
      const a = await joinAs(group, topic, 'a', { instance: 'i-a' })
      await nextAssigned(a)
      const b = await joinAs(group, topic, 'b', { instance: 'i-b' })
      const [, forB] = await Promise.all([nextAssigned(a), nextAssigned(b)])
      await b.leave({ keep: true })
      const back = await joinAs(group, topic, 'b', { instance: 'i-b' })
      const again = await nextAssigned(back)
      expect(again.partitions).toEqual(forB.partitions)
      expect(utf8(again.userData)).toBe(utf8(forB.userData))
      expect(again.identity.generation).toBe(forB.identity.generation)
      expect(again.identity.member).not.toBe(forB.identity.member)
      expect(await isSilent(a)).toBe(true)
      for (const member of [a, back]) await member.leave({ keep: false })
    })

    transactional('one that is replaced while it lives is told, and its commits are rejected', async () => {
      const [group, topic] = [kit.name('group'), await kit.topic({ partitions: 4 })]
      const other = await kit.fixture.connect()
      const old = await joinAs(group, topic, 'a', { instance: 'i' })
      const { identity } = await nextAssigned(old)
      expect(await commit(group, identity, `${topic}/0`, 1)).toBe('committed')
      const fresh = await joinAs(group, topic, 'a', { instance: 'i', log: other })
      const taken = await nextAssigned(fresh)
      // Whichever it does first, it learns that it is none any more.
      expect(await codeFrom(old.confirm(new AbortController().signal))).toBe('MEMBER_REPLACED')
      expect(await nextEvent(old)).toMatchObject({ kind: 'lost' })
      // It never joins again: whoever waits on hears why, instead of nothing for ever.
      await expect(nextEvent(old)).rejects.toMatchObject({ code: 'MEMBER_REPLACED' })
      expect(await commit(group, identity, `${topic}/0`, 2)).toBe('rejected')
      expect(await commit(group, taken.identity, `${topic}/0`, 3)).toBe('committed')
      expect(await kit.readValues(`${topic}/0`)).toEqual([`${identity.member} 1`, `${taken.identity.member} 3`])
      for (const member of [old, fresh]) await member.leave({ keep: false })
      await other.close()
    })

    test('one that does not come back is given up after its session', async () => {
      const [group, topic] = [kit.name('group'), await kit.topic({ partitions: 4 })]
      const a = await joinAs(group, topic, 'a', { instance: 'i-a' })
      await nextAssigned(a)
      const b = await joinAs(group, topic, 'b', { instance: 'i-b' })
      await Promise.all([nextAssigned(a), nextAssigned(b)])
      await b.leave({ keep: true })
      expect((await nextAssigned(a)).partitions).toHaveLength(4)
      await a.leave({ keep: false })
    })
  })

  function commits(join: typeof joinAs): void {
    transactional(
      'while it is asked to let go a member may still commit, and not any more when the next generation has begun',
      async () => {
        const [group, topic] = [kit.name('group'), await kit.topic({ partitions: 4 })]
        const other = await kit.fixture.connect()
        const a = await join(group, topic, 'a')
        const { identity } = await nextAssigned(a)
        const b = await join(group, topic, 'b', { log: other })
        const revoking = await nextEvent(a)
        if (revoking.kind !== 'revoking') throw new Error(`expected revoking, got ${revoking.kind}`)
        expect(await commit(group, identity, `${topic}/0`, 1)).toBe('committed')
        revoking.done()
        const [fresh] = await Promise.all([nextAssigned(a), nextAssigned(b)])
        expect(await commit(group, identity, `${topic}/0`, 2)).toBe('rejected')
        expect(await codeFrom(kit.log.commitPositions({ group, identity, positions: new Map([[`${topic}/0`, 2]]) }))).toBe(
          'COMMIT_REJECTED',
        )
        expect(await kit.log.committed(group, [`${topic}/0`])).toEqual(new Map([[`${topic}/0`, 1]]))
        await kit.log.commitPositions({ group, identity: fresh.identity, positions: new Map([[`${topic}/0`, 4]]) })
        expect(await kit.log.committed(group, [`${topic}/0`])).toEqual(new Map([[`${topic}/0`, 4]]))
        expect(await kit.readValues(`${topic}/0`)).toEqual([`${identity.member} 1`])
        for (const member of [a, b]) await member.leave({ keep: false })
        await other.close()
      },
    )

    transactional('a rejected commit leaves nothing visible, and its writer is dead', async () => {
      const [group, topic] = [kit.name('group'), await kit.topic({ partitions: 4 })]
      const member = await join(group, topic, 'a')
      const { identity } = await nextAssigned(member)
      const id = kit.name('writer')
      const writer = await kit.log.writer(id)
      await writer.append(`${topic}/1`, kit.values('dropped'))
      const foreign = { ...identity, generation: identity.generation - 1 }
      const outcome = await writer.commit([{ group, identity: foreign, positions: new Map([[`${topic}/0`, 1]]) }])
      expect(outcome).toMatchObject({ kind: 'rejected', error: { code: 'COMMIT_REJECTED' } })
      expect(await codeFrom(writer.append(`${topic}/1`, kit.values('dropped too')))).not.toBe('no error')
      expect((await writer.commit([])).kind).not.toBe('committed')
      const next = await kit.log.writer(id)
      await next.append(`${topic}/1`, kit.values('kept'))
      expect((await next.commit([{ group, identity, positions: new Map([[`${topic}/0`, 2]]) }])).kind).toBe('committed')
      expect(await kit.readValues(`${topic}/1`)).toEqual(['kept'])
      for (const each of [writer, next]) await each.close()
      await member.leave({ keep: false })
    })

    transactional('commits of a member that was given up, and of one that never was, are rejected', async () => {
      const [group, topic] = [kit.name('group'), await kit.topic({ partitions: 4 })]
      const a = await join(group, topic, 'a')
      await nextAssigned(a)
      const silent = await join(group, topic, 'b')
      const [, { identity }] = await Promise.all([nextAssigned(a), nextAssigned(silent)])
      await silent.leave({ keep: true })
      // That the other one is assigned everything shows that the silent one was given up.
      expect((await nextAssigned(a)).partitions).toHaveLength(4)
      expect(await commit(group, identity, `${topic}/0`, 1)).toBe('rejected')
      expect(await commit(group, { ...identity, member: 'never was' }, `${topic}/0`, 1)).toBe('rejected')
      expect(await kit.log.committed(group, [`${topic}/0`])).toEqual(new Map())
      await a.leave({ keep: false })
    })
  }
}

function dealOut(members: readonly GroupMember[], topic: string, partitions: number): ReadonlyMap<string, Assignment> {
  const sorted = members.map(({ member, userData }) => ({ member, name: utf8(userData) })).sort((a, b) => (a.name < b.name ? -1 : 1))
  const names = sorted.map(({ name }) => name).join(',')
  return new Map(
    sorted.map(({ member, name }, i) => {
      const own = Array.from({ length: partitions }, (_, partition) => partition).filter((partition) => partition % sorted.length === i)
      return [member, { partitions: own.map((partition) => ({ topic, partition })), userData: Buffer.from(`for ${name} of ${names}`) }]
    }),
  )
}
