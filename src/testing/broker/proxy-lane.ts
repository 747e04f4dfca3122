/** One direction of a connection through the fault proxy: what arrives passes in order, when it may, and as a trap says. */
import type { Socket } from 'node:net'
import { nodeClock } from '../../drivers/node/index.ts'

export type Direction = 'toBroker' | 'toClient'

/** A frame that is waited for. `C` is the connection that it comes on. */
export interface Trapped<C> {
  readonly apiKey: number | undefined
  readonly at: 'request' | 'response'
  readonly harm: 'cut' | 'halve' | 'silence' | 'hold' | 'late'
  /** How many more that fit must come, the caught one included. */
  left: number
  readonly released: Promise<void>
  caught(connection: C): void
}

/** What the two lanes of a connection have in common. */
export interface LaneShared<C> {
  readonly connection: C
  readonly frames: boolean
  readonly traps: Set<Trapped<C>>
  /** The api key of each request whose response is to come, by correlation id. */
  readonly asked: Map<number, number>
}

interface Passing {
  dueMs: number
  /** A frame, or what happened to the connection of the sender: it is done, or it broke. */
  readonly what: Buffer | 'end' | 'reset'
}

/** A sender is made to wait while more than this is under way. */
const UNDER_WAY_BYTES_MAX = 32 * 1024 * 1024

const SIZE_BYTES = 4
/** The correlation id of a response; with less it is not Kafka that talks, and the connection is cut. */
const HEADER_BYTES_MIN = 4
/** Up to the correlation id of a request. What is shorter the broker refuses itself. */
const REQUEST_BYTES_MIN = 12

export class Lane<C extends { cut(): void }> {
  delayMs = 0
  shut = false
  readonly #direction: Direction
  readonly #from: Socket
  readonly #to: Socket
  readonly #shared: LaneShared<C>
  readonly #queue: Passing[] = []
  #bytes = 0
  #pieces: Buffer[] = []
  #gathered = 0
  #wanted = SIZE_BYTES
  #passing = false
  #silent = false
  #wake = (): void => {}

  constructor(direction: Direction, from: Socket, to: Socket, shared: LaneShared<C>) {
    this.#direction = direction
    this.#from = from
    this.#to = to
    this.#shared = shared
    from.on('data', (bytes) => this.#take(bytes))
    from.on('end', () => this.#push('end'))
    // Said again by 'close', which tells whether it was an error.
    from.on('error', () => {})
    from.on('close', (broken) => broken && this.#push('reset'))
  }

  heal(): void {
    this.delayMs = 0
    this.shut = false
    for (const passing of this.#queue) passing.dueMs = 0
    this.#wake()
  }

  #take(bytes: Buffer): void {
    if (!this.#shared.frames) {
      this.#push(bytes)
      return
    }
    this.#pieces.push(bytes)
    this.#gathered += bytes.length
    while (this.#gathered >= this.#wanted) {
      // Put together once a frame, not once a piece: a fetch of megabytes comes in hundreds.
      const all = Buffer.concat(this.#pieces)
      this.#pieces = [all]
      if (this.#wanted === SIZE_BYTES) {
        const size = all.readInt32BE(0)
        if (size < HEADER_BYTES_MIN) {
          this.#shared.connection.cut()
          return
        }
        this.#wanted = SIZE_BYTES + size
        continue
      }
      this.#push(all.subarray(0, this.#wanted))
      this.#pieces = [all.subarray(this.#wanted)]
      this.#gathered -= this.#wanted
      this.#wanted = SIZE_BYTES
    }
  }

  #push(what: Passing['what']): void {
    // Nobody knows of a silent lane that anything happened.
    if (this.#silent) return
    this.#queue.push({ dueMs: nodeClock.mono() + this.delayMs, what })
    this.#bytes += sizeOf(what)
    if (this.#bytes > UNDER_WAY_BYTES_MAX) this.#from.pause()
    void this.#run()
  }

  async #run(): Promise<void> {
    if (this.#passing) return
    this.#passing = true
    for (let head = this.#queue[0]; head !== undefined; head = this.#queue[0]) {
      for (let leftMs = 1; this.shut || leftMs > 0; ) {
        leftMs = head.dueMs - nodeClock.mono()
        if (this.shut || leftMs > 0) await this.#woken(this.shut ? undefined : leftMs)
      }
      this.#queue.shift()
      this.#bytes -= sizeOf(head.what)
      if (this.#bytes <= UNDER_WAY_BYTES_MAX) this.#from.resume()
      await this.#pass(head.what)
    }
    this.#passing = false
  }

  #woken(ms: number | undefined): Promise<void> {
    return new Promise((resolve) => {
      const timer = ms === undefined ? undefined : setTimeout(resolve, ms)
      this.#wake = () => {
        clearTimeout(timer)
        resolve()
      }
    })
  }

  async #pass(what: Passing['what']): Promise<void> {
    if (what === 'end') this.#to.end()
    else if (what === 'reset') this.#to.resetAndDestroy()
    else {
      const trap = this.#shared.frames ? this.#trapOf(what) : undefined
      await (trap === undefined ? this.#write(what) : this.#spring(trap, what))
    }
  }

  async #spring(trap: Trapped<C>, frame: Buffer): Promise<void> {
    const { connection } = this.#shared
    if (trap.harm === 'cut') connection.cut()
    else if (trap.harm === 'halve') {
      this.#to.end(frame.subarray(0, frame.length >> 1))
      this.#from.destroy()
    } else if (trap.harm === 'late') this.#from.resetAndDestroy()
    if (trap.harm === 'silence' || trap.harm === 'late') {
      this.#silent = true
      this.#queue.length = 0
    }
    trap.caught(connection)
    if (trap.harm !== 'hold' && trap.harm !== 'late') return
    await trap.released
    await this.#write(frame)
  }

  async #write(frame: Buffer): Promise<void> {
    // The answer to a late request comes when its client is gone.
    if (this.#to.destroyed) {
      this.#from.destroy()
      return
    }
    if (this.#to.write(frame)) return
    await new Promise<void>((resolve) => {
      this.#to.once('drain', resolve)
      this.#to.once('close', resolve)
    })
  }

  /** The trap that a frame springs. Each that fits counts it. */
  #trapOf(frame: Buffer): Trapped<C> | undefined {
    const request = this.#direction === 'toBroker'
    if (request && frame.length < REQUEST_BYTES_MIN) return undefined
    // size, api key, version, correlation id, ... or size, correlation id, ...
    const correlation = frame.readInt32BE(request ? 8 : 4)
    const apiKey = request ? frame.readInt16BE(4) : this.#shared.asked.get(correlation)
    if (request) this.#shared.asked.set(correlation, frame.readInt16BE(4))
    else this.#shared.asked.delete(correlation)
    for (const trap of this.#shared.traps) {
      if (trap.at !== (request ? 'request' : 'response') || (trap.apiKey ?? apiKey) !== apiKey || --trap.left > 0) continue
      this.#shared.traps.delete(trap)
      return trap
    }
    return undefined
  }
}

function sizeOf(what: Passing['what']): number {
  return typeof what === 'string' ? 0 : what.length
}
