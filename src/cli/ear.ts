/**
 * Hears whether the log answers. A driver is patient: what can be repeated it repeats for half a minute before it fails, and a person wants to
 * know after two seconds. So every call to the log is noticed here when it begins and when it was answered, and nothing else is done to it.
 *
 * An answer is whatever came from the log, a refusal too. Waiting for an event of the group is no call: it may take for ever.
 */
import { codeOf } from '../base/errors.ts'
import { readableMs } from '../base/time.ts'
import type { Clock } from '../ports/clock.ts'
import type { CommitOutcome, Log, LogDriver, PlainWriter, Reader, Writer } from '../ports/log.ts'

/** A call that is answered within this is not late, ms. Polls wait for some hundred ms by themselves. */
const PATIENCE_MS = 1_500

export class Ear {
  readonly #clock: Clock
  /** When calls began that are not answered yet, ms by the monotonic clock. */
  readonly #pending = new Map<number, number>()
  #calls = 0
  #heardAt: number
  /** The last call that ended did so because nobody answered. */
  #deaf = false

  constructor(clock: Clock) {
    this.#clock = clock
    this.#heardAt = clock.mono()
  }

  /** For how long the log has owed an answer, ms; undefined while it answers. */
  get silentMs(): number | undefined {
    const [oldest] = this.#pending.values()
    if (!this.#deaf && oldest === undefined) return undefined
    // After a failure nobody may be calling: it is silent until somebody is answered.
    const since = this.#deaf ? this.#heardAt : Math.max(this.#heardAt, oldest as number)
    const ms = this.#clock.mono() - since
    return ms > PATIENCE_MS ? ms : undefined
  }

  /** The same log, listened to. */
  listened(driver: LogDriver): LogDriver {
    return {
      name: driver.name,
      open: async (parts) => {
        const opened = await driver.open(parts)
        this.#heard()
        return { log: this.#log(opened.log), close: () => opened.close() }
      },
    }
  }

  #heard(): void {
    this.#heardAt = this.#clock.mono()
    this.#deaf = false
  }

  async #call<T>(answer: Promise<T>, failed: (value: T) => unknown = () => undefined): Promise<T> {
    const call = this.#calls++
    this.#pending.set(call, this.#clock.mono())
    try {
      const value = await answer
      this.#end(call, failed(value))
      return value
    } catch (error) {
      this.#end(call, error)
      throw error
    }
  }

  #end(call: number, error: unknown): void {
    this.#pending.delete(call)
    if (codeOf(error) === 'BROKER_UNREACHABLE') this.#deaf = true
    // What was given up or closed here says nothing about the other side.
    else if ((error as Error | undefined)?.name !== 'AbortError' && codeOf(error) !== 'LOG_CLOSED') this.#heard()
  }

  #log(log: Log): Log {
    return {
      manifest: log.manifest,
      describe: (names) => this.#call(log.describe(names)),
      ensure: (specs, options) => this.#call(log.ensure(specs, options)),
      offsets: (partitions, at) => this.#call(log.offsets(partitions, at)),
      reader: (isolation) => this.#reader(log.reader(isolation)),
      join: (group, options) => log.join(group, options),
      committed: (group, partitions) => this.#call(log.committed(group, partitions)),
      writer: async (id) => this.#writer(await this.#call(log.writer(id))),
      plainWriter: async () => this.#plainWriter(await this.#call(log.plainWriter())),
      fence: (prefix, live) => this.#call(log.fence(prefix, live)),
      commitPositions: (positions) => this.#call(log.commitPositions(positions)),
      hanging: (partitions, group) => this.#call(log.hanging(partitions, group)),
      trim: (partition, before) => this.#call(log.trim(partition, before)),
      close: () => log.close(),
    }
  }

  #reader(reader: Reader): Reader {
    return {
      assign: (positions) => reader.assign(positions),
      pause: (partitions) => reader.pause(partitions),
      poll: (options) => this.#call(reader.poll(options)),
      close: () => reader.close(),
    }
  }

  #writer(writer: Writer): Writer {
    const unanswered = (outcome: CommitOutcome): unknown => (outcome.kind === 'committed' ? undefined : outcome.error)
    return {
      id: writer.id,
      append: (partition, batch) => this.#call(writer.append(partition, batch)),
      close: () => writer.close(),
      commit: (positions) => this.#call(writer.commit(positions), unanswered),
      abort: () => this.#call(writer.abort()),
    }
  }

  #plainWriter(writer: PlainWriter): PlainWriter {
    return {
      append: (partition, batch, guard) => this.#call(writer.append(partition, batch, guard)),
      close: () => writer.close(),
    }
  }
}

/** What a person is told of an ear: that no broker answers, since when, and that one does again. */
export class Silence {
  readonly #ear: Ear | undefined
  readonly #clock: Clock
  readonly #tell: (kind: 'note' | 'warning', text: string) => void
  /** ms since 1970. */
  #since: number | undefined

  /** @param ear undefined where there are no brokers */
  constructor(ear: Ear | undefined, clock: Clock, tell: (kind: 'note' | 'warning', text: string) => void) {
    this.#ear = ear
    this.#clock = clock
    this.#tell = tell
  }

  /** To be called often. */
  look(): void {
    const ms = this.#ear?.silentMs
    const now = this.#clock.now()
    if (ms !== undefined && this.#since === undefined) {
      this.#since = now - ms
      this.#tell('warning', `${this.text}; what is committed is safe, and work goes on when one is back`)
    } else if (ms === undefined && this.#since !== undefined) {
      this.#tell('note', `a broker answers again, after ${readableMs(now - this.#since)}`)
      this.#since = undefined
    }
  }

  /** For a line of the display; undefined while the brokers answer. */
  get text(): string | undefined {
    return this.#since === undefined ? undefined : `no broker answers since ${new Date(this.#since).toTimeString().slice(0, 8)}`
  }
}
