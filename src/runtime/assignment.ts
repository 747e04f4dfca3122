/** What members of the group tell each other, as bytes: which tasks they run, and under which plan and writer. */
import { ByteReader, ByteWriter } from '../base/bytes.ts'
import { assignTasks, type TaskPlan } from '../plan/tasks.ts'
import type { Assignment, GroupMember, TopicPartition } from '../ports/log.ts'

const VERSION = 1
/** Names that one member may claim; what claims more is not one of ours. */
const NAMES_MAX = 100_000

export interface MemberSays {
  /** Hash of the plan: members with another one take no part. */
  readonly plan: string
  readonly writer: string
  readonly tasks: readonly string[]
}

export function encodeMember(says: MemberSays): Uint8Array {
  const to = new ByteWriter(256).u8(VERSION).text(says.plan).text(says.writer).uvarint(says.tasks.length)
  for (const task of says.tasks) to.text(task)
  return to.bytes()
}

/** undefined for bytes that no tidemark wrote: any client may join a group and send what it likes. */
export function decodeMember(bytes: Uint8Array): MemberSays | undefined {
  const from = new ByteReader(Buffer.from(bytes))
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
    return says !== undefined && says.plan === plan ? [{ member: member.member, owned: new Set(says.tasks), writer: says.writer }] : []
  })
  const given = assignTasks(
    tasks.map(({ name }) => name),
    fit,
  )
  const byName = new Map(tasks.map((task) => [task.name, task]))
  const live = encodeMember({ plan, writer: '', tasks: fit.map(({ writer }) => writer) })
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

/** Whether the leader that made an assignment worked by another plan than ours, or by none that it told. */
export function isOfAnotherPlan(userData: Uint8Array, plan: string): boolean {
  return decodeMember(userData)?.plan !== plan
}

/** Writers of the members that are alive, as the leader told. */
export function liveWriters(userData: Uint8Array): ReadonlySet<string> {
  return new Set(decodeMember(userData)?.tasks ?? [])
}
