/**
 * What goes in, and whether what came out is right: the input is read back from its topic when everything is over, folded as it should have
 * been, and compared with every committed record of the output. A record of the feed that was written twice is an input like any other.
 */
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { kafka } from '#tidemark/drivers/kafka'
import { ByteReader, ByteWriter } from '../../src/base/bytes.ts'
import type { Random } from '../../src/ports/clock.ts'
import { type Isolation, type Log, type PlainWriter, partitionName } from '../../src/ports/log.ts'
import { NO_HEADERS, type RecordBatch } from '../../src/ports/record-batch/index.ts'
import { Outbox } from '../../src/runtime/outbox.ts'
import { openWorld } from '../../src/start.ts'
import { seededRandom } from '../../src/testing/random.ts'
import { IN, OUT, PARTITIONS, schemas, TICK_ID, TOTAL_ID, type Total } from './topology.ts'

const KEYS = 500
const TIME = 1_700_000_000_000
const TURN_MS = 20
const POLL_BYTES = 8 * 1024 * 1024

export interface Verdict {
  readonly records: number
  readonly written: number
  readonly lost: number
  readonly twice: number
  /** Neither lost nor twice: another number, another sum, or a key that never came in. */
  readonly wrong: number
  readonly first: string | undefined
}

type World = Awaited<ReturnType<typeof openWorld>>

export class Oracle {
  fed = 0
  readonly #opened: World
  readonly #folder: string
  readonly #random: Random
  #feeding: Promise<void> | undefined
  #over = false

  private constructor(opened: World, folder: string, seed: number) {
    this.#opened = opened
    this.#folder = folder
    this.#random = seededRandom(seed)
  }

  static async open(brokers: readonly string[], seed: number): Promise<Oracle> {
    const folder = mkdtempSync(join(tmpdir(), 'tidemark-oracle-'))
    process.once('exit', () => rmSync(folder, { recursive: true, force: true }))
    const opened = await openWorld({ dir: folder, log: kafka({ brokers }), schemas: await schemas() })
    await opened.world.log.ensure([
      { name: IN, partitions: PARTITIONS, cleanup: 'delete', retentionMs: -1 },
      { name: OUT, partitions: PARTITIONS, cleanup: 'delete', retentionMs: -1 },
    ])
    return new Oracle(opened, folder, seed)
  }

  get #log(): Log {
    return this.#opened.world.log
  }

  /** Writes `perSecond` records until `enough`, so that there is always something at work when a fault comes. */
  feed(perSecond: number): void {
    this.#feeding = this.#feed(Math.ceil((perSecond * TURN_MS) / 1_000))
  }

  async enough(): Promise<void> {
    this.#over = true
    await this.#feeding
  }

  async #feed(count: number): Promise<void> {
    let writer: PlainWriter | undefined
    while (!this.#over) {
      const outbox = new Outbox(this.#opened.world.codecs)
      for (let i = 0; i < count; i++) {
        const key = Buffer.from(`k-${Math.floor(this.#random.unit() * KEYS)}`)
        outbox.send(IN, PARTITIONS, 0, TIME + this.fed, key, tick(this.fed), NO_HEADERS)
        this.fed += 1
      }
      try {
        writer ??= await this.#log.plainWriter()
        for (const { partition, batch } of outbox.seal()) await writer.append(partition, batch)
      } catch {
        // Brokers are being killed. What was written counts, and what was not was never fed.
        await writer?.close().catch(() => {})
        writer = undefined
      }
      await new Promise((resolve) => setTimeout(resolve, TURN_MS))
    }
    await writer?.close().catch(() => {})
  }

  /** Resolves when every partition of the output has records, and rejects when one has none after so many ms. */
  async flowing(patienceMs: number): Promise<void> {
    const since = performance.now()
    const names = Array.from({ length: PARTITIONS }, (_, partition) => partitionName(OUT, partition))
    for (;;) {
      const ends = await this.#log.offsets(names, 'stable')
      if (names.every((name) => (ends.get(name) as number) > 0)) return
      if (performance.now() - since > patienceMs) throw new Error(`the workers write nothing after ${patienceMs / 1_000} s`)
      await new Promise((resolve) => setTimeout(resolve, 100))
    }
  }

  /** Resolves when the output counts as many records as the input has, or when it has not got further for so many ms. */
  async settled(patienceMs: number): Promise<void> {
    const input = await this.#read(IN, 'uncommitted')
    let [last, since] = [-1, performance.now()]
    while (performance.now() - since < patienceMs) {
      const counts = new Map<string, number>()
      await this.#read(OUT, 'committed', (key, value) => {
        const [, count = 0] = numbersOf(value, TOTAL_ID, 3)
        counts.set(key, Math.max(counts.get(key) ?? 0, count))
      })
      const done = counts.values().reduce((sum, count) => sum + count, 0)
      if (done >= input.count) return
      if (done > last) [last, since] = [done, performance.now()]
      await new Promise((resolve) => setTimeout(resolve, 200))
    }
  }

  async verdict(): Promise<Verdict> {
    const want = new Map<string, number[]>()
    const { count: records } = await this.#read(IN, 'uncommitted', (key, value) => {
      const all = want.get(key)
      if (all === undefined) want.set(key, numbersOf(value, TICK_ID, 1))
      else all.push(...numbersOf(value, TICK_ID, 1))
    })
    const seen = new Map<string, Total>()
    let [lost, twice, wrong] = [0, 0, 0]
    let first: string | undefined
    const { count: written } = await this.#read(OUT, 'committed', (key, value) => {
      const [n, count, sum] = numbersOf(value, TOTAL_ID, 3) as [number, number, number]
      const before = seen.get(key)
      const next = (before?.count ?? 0) + 1
      const expected = want.get(key)?.[next - 1]
      if (count === next && n === expected && sum === (before?.sum ?? 0) + n) {
        seen.set(key, { n, count, sum })
        return
      }
      first ??= `${key}: after ${JSON.stringify(before)} comes ${JSON.stringify({ n, count, sum })}, not the number ${expected}`
      if (count < next) twice += 1
      else if (count > next) lost += count - next
      else wrong += 1
      seen.set(key, { n, count: Math.max(count, next - 1), sum })
    })
    for (const [key, all] of want) {
      const missing = all.length - (seen.get(key)?.count ?? 0)
      if (missing <= 0) continue
      lost += missing
      first ??= `${key}: the last ${missing} of ${all.length} are missing`
    }
    return { records, written, lost, twice, wrong, first }
  }

  async close(): Promise<void> {
    await this.#opened.close()
    rmSync(this.#folder, { recursive: true, force: true })
  }

  /** Every record of a topic, partition by partition in order, up to what is decided now. */
  async #read(
    topic: string,
    isolation: Isolation,
    take: (key: string, value: Buffer) => unknown = () => {},
  ): Promise<{ readonly count: number }> {
    const names = Array.from({ length: PARTITIONS }, (_, partition) => partitionName(topic, partition))
    const ends = await this.#log.offsets(names, isolation === 'committed' ? 'stable' : 'high')
    const positions = new Map(await this.#log.offsets(names, 'start'))
    const reader = this.#log.reader(isolation)
    let count = 0
    const each = (batch: RecordBatch, end: number): void => {
      for (let i = 0; i < batch.count && batch.offset(i) < end; i++) {
        take((batch.key(i) as Buffer).toString(), batch.value(i) as Buffer)
        count += 1
      }
    }
    try {
      reader.assign(positions)
      while (names.some((name) => (positions.get(name) as number) < (ends.get(name) as number))) {
        for (const fetched of await reader.poll({ bytes: POLL_BYTES, waitMs: 100 })) {
          if (fetched.kind !== 'batches') throw fetched.kind === 'failed' ? fetched.error : new Error(`${fetched.partition} has a gap`)
          for (const batch of fetched.batches) each(batch, ends.get(fetched.partition) as number)
          positions.set(fetched.partition, fetched.next)
        }
      }
    } finally {
      await reader.close()
    }
    return { count }
  }
}

/** A zero byte, the id of the schema, and Avro longs, by hand: a check by the codec under test would prove less. */
function tick(n: number): Buffer {
  return Buffer.from(new ByteWriter(16).u8(0).u32(TICK_ID).varint(n).bytes())
}

function numbersOf(value: Buffer, id: number, count: number): number[] {
  const from = new ByteReader(value)
  const framed = from.u8() === 0 && from.u32() === id
  const numbers = Array.from({ length: count }, () => from.varint())
  if (from.bad || !framed || from.at !== from.end) throw new Error(`a value is not of schema ${id}: ${value.toString('hex')}`)
  return numbers
}
