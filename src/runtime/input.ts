/** An input of a task: one log partition, what was read of it and not processed yet, and where it stands. */
import { TidemarkError } from '../base/errors.ts'
import type { PartitionName } from '../ports/log.ts'
import type { Columns, RecordBatch } from '../ports/record-batch/index.ts'
import type { NodeId } from '../topology/node.ts'
import type { Entry } from './entry.ts'
import { TaskStopped } from './failure.ts'
import type { Heard } from './heard.ts'
import type { Pinned } from './ranges.ts'
import { type Flavour, Rec } from './record.ts'

/** One log partition that a task reads. */
export interface InputParts {
  readonly partition: PartitionName
  readonly topic: string
  readonly topicId: string
  readonly number: number
  readonly log: NodeId
  readonly flavour: Flavour
  readonly entry: Entry | undefined
}

export class Input {
  readonly parts: InputParts
  /** Of an inbox, what its control records have told of the sources behind it; undefined of a source. */
  readonly heard: Heard | undefined
  /** The record at hand, and after it the last one processed. */
  readonly rec: Rec = new Rec()
  readonly queue: RecordBatch[] = []
  queuedBytes = 0
  /** Place in the first batch of the queue. */
  at = 0
  /** The next offset to process. */
  position: number
  /** Behind all that was read, aborted and control batches included. */
  readTo: number
  /** Behind the last record in the log when it was last asked. */
  high = -1
  /** The first batch has its schemas and rows loaded. */
  ready = false
  /** Keys of the first batch whose rows are held in memory until it is through. */
  pinned: Pinned = new Set()
  /** When the last fact processed was recorded, where no record was processed in this life. */
  recordedAt: number | undefined
  /** Processing ends here: for a rebuild, which goes as far as what is live. */
  until: number = Number.POSITIVE_INFINITY

  constructor(parts: InputParts, position: number, recordedAt: number | undefined, heard: Heard | undefined) {
    this.parts = parts
    this.heard = heard
    this.position = position
    this.readTo = position
    this.recordedAt = recordedAt
  }
}

/** A batch that passed its checksum and still cannot be read is what its producer sent: no record of it can be named, so the task halts. */
export function columnsOf(batch: RecordBatch, input: Input): Columns {
  try {
    return batch.columns
  } catch (error) {
    if (!(error instanceof TidemarkError)) throw error
    throw new TaskStopped('halt', input.parts.log, error)
  }
}
