/**
 * Dead letters as they lie in the log: found, read, and taken apart into the record that failed and what was noted about it. The writing
 * side is `dead-letter.ts`.
 */
import { utf8 } from '../base/bytes.ts'
import { TidemarkError } from '../base/errors.ts'
import { HEADER, originText } from '../contract/envelope.ts'
import { deadStepOf } from '../plan/naming.ts'
import { type Log, type PartitionName, type Positions, partitionName } from '../ports/log.ts'
import type { Header, RecordBatch } from '../ports/record-batch/index.ts'
import type { Graph } from '../topology/node.ts'
import { DEAD_HEADER } from './dead-letter.ts'

export interface LetterTopic {
  readonly topic: string
  readonly step: string
  readonly generation: number
}

export interface Letter extends LetterTopic {
  /** Where it lies: all topics of dead letters have one partition. */
  readonly partition: number
  readonly offset: number
  /** Where the record that failed came from, in its stage; undefined for a record that is no dead letter. */
  readonly origin: { readonly topic: string; readonly partition: number; readonly offset: number } | undefined
  readonly code: string | undefined
  readonly reason: string | undefined
  readonly detail: string | undefined
  readonly attempts: number | undefined
  /** When the step gave up, ms since 1970. */
  readonly failedAt: number | undefined
  /** Business time of the record, ms since 1970. */
  readonly at: number
  /** The event's id, as its envelope has it. */
  readonly id: string | undefined
  readonly type: string | undefined
  readonly key: Buffer | null
  readonly value: Buffer | null
  /** The record's own, without what was noted about it. */
  readonly headers: readonly Header[]
  /** What of the record was too large to be kept, or could not be written: then it is only shown. */
  readonly lacks: readonly ('value' | 'key' | 'headers')[]
}

/** Where a letter lies, as people write it, and as decisions name it. */
export function letterName({ topic, partition, offset }: Pick<Letter, 'topic' | 'partition' | 'offset'>): string {
  return originText(topic, partition, offset)
}

/** Topics of dead letters of an application that exist, of all generations, in the order of the topology. */
export async function letterTopics(log: Log, graph: Graph): Promise<LetterTopic[]> {
  const steps = new Map(graph.nodes.map(({ id }, place) => [id, place]))
  const found: LetterTopic[] = []
  for (const { name } of await log.describe()) {
    const parts = deadStepOf(graph.name, name, new Set(steps.keys()))
    if (parts !== undefined) found.push({ topic: name, ...parts })
  }
  const place = ({ step }: LetterTopic): number => steps.get(step) as number
  return found.sort((a, b) => place(a) - place(b) || a.generation - b.generation)
}

/**
 * The letters of a topic, oldest first, as far as they are decided at this moment.
 * @param from the offset to begin with; before the first one that is kept, it begins with that
 * @throws TidemarkError LOG_CORRUPT, BROKER_*
 */
export async function* readLetters(log: Log, of: LetterTopic, from = 0): AsyncGenerator<Letter> {
  const name = partitionName(of.topic, 0)
  const until = at(await log.offsets([name], 'stable'), name)
  let position = Math.max(from, at(await log.offsets([name], 'start'), name))
  const reader = log.reader('committed')
  try {
    reader.assign(new Map([[name, position]]))
    while (position < until) {
      for (const fetched of await reader.poll({ bytes: 1024 * 1024, waitMs: 100 })) {
        if (fetched.kind === 'failed') throw fetched.error
        if (fetched.kind === 'gap') {
          throw new TidemarkError('POSITION_GAP', `dead letters of "${of.step}" were removed while they were read`, {
            detail: `${name} was read at ${fetched.position}; it begins at ${fetched.logStart} now.`,
          })
        }
        for (const batch of fetched.batches) {
          for (let i = 0; i < batch.count; i++) if (batch.offset(i) >= position) yield letterOf(batch, i, of)
        }
        position = fetched.next
      }
    }
  } finally {
    await reader.close()
  }
}

function at(positions: Positions, name: PartitionName): number {
  return positions.get(name) as number
}

function letterOf(batch: RecordBatch, i: number, of: LetterTopic): Letter {
  const all = batch.headers(i)
  const from = noteFrom(all)
  const own = all.slice(0, from)
  const note = new Map(all.slice(from).map(({ name, value }) => [name, value === null ? undefined : utf8(value)]))
  const number = (name: string): number | undefined => (note.get(name) === undefined ? undefined : Number(note.get(name)))
  const lacks: Letter['lacks'][number][] = []
  if (note.has(DEAD_HEADER.truncated) || note.has(DEAD_HEADER.unwritten)) lacks.push('value')
  if (note.has(DEAD_HEADER.truncatedKey)) lacks.push('key')
  if (note.has(DEAD_HEADER.headers)) lacks.push('headers')
  return {
    ...of,
    partition: 0,
    offset: batch.offset(i),
    origin: originOf(note.get(DEAD_HEADER.origin)),
    code: note.get(DEAD_HEADER.code),
    reason: note.get(DEAD_HEADER.reason),
    detail: note.get(DEAD_HEADER.detail),
    attempts: number(DEAD_HEADER.attempts),
    failedAt: number(DEAD_HEADER.failedAt),
    at: batch.timestamp(i),
    id: textOf(own, HEADER.id),
    type: textOf(own, HEADER.type),
    // A letter outlives its batch.
    key: copied(batch.key(i)),
    value: copied(batch.value(i)),
    headers: own.map(({ name, value }) => ({ name, value: copied(value) })),
    lacks,
  }
}

/** These come before the origin, where there are any. */
const LEADING: ReadonlySet<string> = new Set([DEAD_HEADER.truncated, DEAD_HEADER.unwritten, DEAD_HEADER.truncatedKey])

/**
 * Where the note begins among all headers. It comes last and begins with the origin, or what leads it. The record may have headers of the
 * same names itself: one of an inbox has its own origin.
 */
function noteFrom(headers: readonly Header[]): number {
  let from = headers.findLastIndex(({ name }, i) => name === DEAD_HEADER.origin && headers[i + 1]?.name === DEAD_HEADER.step)
  if (from < 0) return headers.length
  while (from > 0 && LEADING.has((headers[from - 1] as Header).name)) from -= 1
  return from
}

function originOf(text: string | undefined): Letter['origin'] {
  const [, topic, partition, offset] = /^(.+)\/(\d+)@(-?\d+)$/.exec(text ?? '') ?? []
  return topic === undefined ? undefined : { topic, partition: Number(partition), offset: Number(offset) }
}

function textOf(headers: readonly Header[], name: string): string | undefined {
  const value = headers.findLast((header) => header.name === name)?.value
  return value === undefined || value === null ? undefined : utf8(value)
}

function copied(bytes: Uint8Array | null): Buffer | null {
  return bytes === null ? null : Buffer.from(bytes)
}
