/** What members of the group tell each other, as bytes: which tasks they run, how warm they are for them, and under which plan and writer. */
import { ByteReader, ByteWriter } from '../base/bytes.ts'
import { assignTasks, type Claim, type TaskPlan } from '../plan/tasks.ts'
import type { Assignment, GroupMember, TopicPartition } from '../ports/log.ts'

/** What all versions can read: plan, writer, and names of tasks. Whoever knows no more stops behind them. */
const VERSION = 1
/** Behind that, since members tell how warm they are. */
const CLAIMS = 2
/** Names that one member may claim; what claims more is not one of ours. */
const NAMES_MAX = 100_000
/** Of a task that keeps no state, or of whose state nothing is known. */
const UNKNOWN = -1

export interface MemberSays {
  /** Hash of the plan: members with another one take no part. */
  readonly plan: string
  readonly writer: string
  /** Tasks that it runs, or opens. */
  readonly owned: ReadonlyMap<string, Claim>
  /** Tasks that it ran before, and has state of. */
  readonly kept: ReadonlyMap<string, Claim>
}

export function encodeMember({ plan, writer, owned, kept }: MemberSays): Uint8Array {
  const to = names(plan, writer, [...owned.keys()]).u8(CLAIMS)
  for (const claim of owned.values()) encodeClaim(to, claim)
  to.uvarint(kept.size)
  for (const [task, claim] of kept) encodeClaim(to.text(task), claim)
  return to.bytes()
}

function encodeClaim(to: ByteWriter, { generation, reached = UNKNOWN }: Claim): void {
  to.varint(generation).varint(reached)
}

function decodeClaim(from: ByteReader): Claim {
  const generation = from.varint()
  const reached = from.varint()
  return { generation, reached: reached < 0 ? undefined : reached }
}

/** undefined for bytes that no tidemark wrote: any client may join a group and send what it likes. */
export function decodeMember(bytes: Uint8Array): MemberSays | undefined {
  const from = new ByteReader(Buffer.from(bytes))
  const said = decodeNames(from)
  if (said === undefined) return undefined
  const { plan, writer, tasks } = said
  // A worker of an earlier version ends here; what a later one may add is not for us.
  if (from.at === from.end || from.u8() !== CLAIMS) {
    return { plan, writer, owned: new Map(tasks.map((task) => [task, { generation: UNKNOWN, reached: undefined }])), kept: new Map() }
  }
  const owned = new Map<string, Claim>()
  for (const task of tasks) owned.set(task, decodeClaim(from))
  const kept = new Map<string, Claim>()
  for (let left = from.uvarint(); left > 0 && !from.bad; left--) kept.set(from.text(), decodeClaim(from))
  return from.bad ? undefined : { plan, writer, owned, kept }
}

function names(plan: string, writer: string, tasks: readonly string[]): ByteWriter {
  const to = new ByteWriter(256).u8(VERSION).text(plan).text(writer).uvarint(tasks.length)
  for (const task of tasks) to.text(task)
  return to
}

function decodeNames(from: ByteReader): { readonly plan: string; readonly writer: string; readonly tasks: readonly string[] } | undefined {
  if (from.u8() !== VERSION) return undefined
  const plan = from.text()
  const writer = from.text()
  const count = from.uvarint()
  if (from.bad || count > NAMES_MAX) return undefined
  const tasks: string[] = []
  for (let left = count; left > 0 && !from.bad; left--) tasks.push(from.text())
  return from.bad ? undefined : { plan, writer, tasks }
}

/** The leader's part: tasks to members, and every task's log partitions with it. Members of another plan get nothing. */
export function assignMembers(tasks: readonly TaskPlan[], plan: string, members: readonly GroupMember[]): ReadonlyMap<string, Assignment> {
  const fit = members.flatMap((member) => {
    const says = decodeMember(member.userData)
    return says !== undefined && says.plan === plan ? [{ member: member.member, ...says }] : []
  })
  const given = assignTasks(
    tasks.map(({ name }) => name),
    fit,
  )
  const byName = new Map(tasks.map((task) => [task.name, task]))
  const live = encodeLive(
    plan,
    fit.map(({ writer }) => writer),
  )
  return new Map(
    members.map(({ member }) => {
      const partitions = (given.get(member) ?? []).flatMap((name): TopicPartition[] => {
        const task = byName.get(name) as TaskPlan
        return task.inputs.map(({ topic }) => ({ topic, partition: task.partition }))
      })
      return [member, { partitions, userData: live }]
    }),
  )
}

/** What the leader tells all members: by which plan it worked, and the writers of those that take part. */
export function encodeLive(plan: string, writers: readonly string[]): Uint8Array {
  return names(plan, '', writers).bytes()
}

/** Whether the leader that made an assignment worked by another plan than ours, or by none that it told. */
export function isOfAnotherPlan(userData: Uint8Array, plan: string): boolean {
  return decodeNames(new ByteReader(Buffer.from(userData)))?.plan !== plan
}

/** Writers of the members that are alive, as the leader told. */
export function liveWriters(userData: Uint8Array): ReadonlySet<string> {
  return new Set(decodeNames(new ByteReader(Buffer.from(userData)))?.tasks)
}
