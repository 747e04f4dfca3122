/** What a task sends, encoded as it is sent and held back until the worker commits: nothing of a task leaves before. */
import { partitionOf } from '../base/murmur.ts'
import { type PartitionName, partitionName } from '../ports/log.ts'
import { BatchBuilder, type Codecs, type EncodedBatch } from '../ports/record-batch/index.ts'

/** Batches are finished at this size: below the 1 MB that brokers take by default. */
export const BATCH_BYTES: number = 900 * 1024

/** A batch and where it goes. */
export interface Addressed {
  readonly partition: PartitionName
  readonly batch: EncodedBatch
}

class Letterbox {
  readonly name: PartitionName
  readonly builder: BatchBuilder
  constructor(name: PartitionName, codecs: Codecs) {
    this.name = name
    this.builder = new BatchBuilder({ codecs, capacity: 8 * 1024 })
  }
}

export class Outbox {
  readonly #codecs: Codecs
  /** By topic, then by partition. */
  readonly #boxes = new Map<string, (Letterbox | undefined)[]>()
  #finished: Addressed[] = []
  #finishedBytes = 0

  constructor(codecs: Codecs) {
    this.#codecs = codecs
  }

  /** Adds a record for the partition that its key chooses; a record without a key goes to `fallback`. */
  send(
    topic: string,
    partitions: number,
    fallback: number,
    at: number,
    key: Buffer | null,
    value: Buffer | null,
    headers: Uint8Array,
  ): void {
    this.put(topic, key === null ? fallback % partitions : partitionOf(key, partitions), at, key, value, headers)
  }

  put(topic: string, partition: number, at: number, key: Uint8Array | null, value: Uint8Array | null, headers: Uint8Array): void {
    let boxes = this.#boxes.get(topic)
    if (boxes === undefined) {
      boxes = []
      this.#boxes.set(topic, boxes)
    }
    let box = boxes[partition]
    if (box === undefined) {
      box = new Letterbox(partitionName(topic, partition), this.#codecs)
      boxes[partition] = box
    }
    const { builder } = box
    const bytes = (key?.length ?? 0) + (value?.length ?? 0) + headers.length
    if (builder.count > 0 && builder.byteLength + bytes > BATCH_BYTES) this.#finish(box)
    builder.add(at, key, value, headers)
  }

  #finish(box: Letterbox): void {
    const batch = box.builder.finish()
    this.#finished.push({ partition: box.name, batch })
    this.#finishedBytes += batch.bytes.length
  }

  get bytes(): number {
    let bytes = this.#finishedBytes
    for (const boxes of this.#boxes.values())
      for (const box of boxes) if (box !== undefined && box.builder.count > 0) bytes += box.builder.byteLength
    return bytes
  }

  get empty(): boolean {
    if (this.#finished.length > 0) return false
    for (const boxes of this.#boxes.values()) for (const box of boxes) if (box !== undefined && box.builder.count > 0) return false
    return true
  }

  /** All batches, in order a partition; the outbox is empty afterwards. */
  seal(): Addressed[] {
    for (const boxes of this.#boxes.values()) for (const box of boxes) if (box !== undefined && box.builder.count > 0) this.#finish(box)
    const sealed = this.#finished
    this.#finished = []
    this.#finishedBytes = 0
    return sealed
  }
}
