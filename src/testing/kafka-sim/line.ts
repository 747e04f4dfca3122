/**
 * Simulated sockets: encoded requests travel to a simulated broker and encoded answers back, each way an event of its own. It promises what
 * TCP does, and nothing else: bytes of one socket arrive in the order in which they were sent, or from some byte on never.
 *
 * What may go wrong with a request: it never arrives; it arrives long after its sender gave the socket up; it takes effect and its answer is
 * lost; either way takes so long that the sender gives up by itself. All but the last cut the socket, and with it what was sent behind.
 */
import type { BrokerAddress, Dial, Line, LinkOptions, Outgoing } from '../../drivers/kafka/sockets.ts'
import type { Timeline } from './timeline.ts'

/** What becomes of a request. */
export type Fate = 'well' | 'lost' | 'late' | 'unanswered' | 'slow' | 'slow-answer'

export interface Weather {
  /** Time of one way, ms. */
  legMs(): number
  /** How much later the late come, ms. */
  lateMs(): number
  fate(api: string): Fate
  /** A request that is on its way for longer than this, ms, or whose sender is gone, never arrives. Default: it arrives, however late. */
  readonly lostMs?: number
  readonly gone?: () => boolean
  /** Called when a request has been served that was late. */
  onLate?(): void
}
export const FAIR_WEATHER: Weather = { legMs: () => 0, lateMs: () => 0, fate: () => 'well' }

/** Where a client is. */
export interface Site {
  /** Its program: deadlines. */
  readonly program: Timeline
  /** Its side of the network: what leaves and what comes waits here while it is cut off. */
  readonly road: Timeline
  readonly cutOff: () => boolean
  readonly weather: Weather
}

/** What lines lead to. */
export interface Brokers {
  readonly timeline: Timeline
  /** The broker that listens at an address; undefined when none does. */
  at(address: BrokerAddress): number | undefined
  /** Changes whenever a broker goes down. */
  life(node: number): number
  /** Called once, when a broker goes down. Returns what takes it back. */
  onDown(node: number, hear: () => void): () => void
  /** The answer to a whole request; undefined when the broker closes the socket instead. */
  handle(node: number, frame: Buffer): Promise<Answered | undefined>
}

export interface Answered {
  readonly bytes: Buffer
  /** The broker reads nothing more of the socket for so long, ms. */
  readonly throttleMs: number
}

/** Deadlines of requests are never shorter, as with kafkajs, ms. */
const REQUEST_MS_MIN = 1_000
/** Of an answer: its size and its correlation id. */
const ANSWER_HEADER_BYTES = 8

/** Opens lines from one client to simulated brokers. */
export function simulatedDial(brokers: Brokers, site: Site): Dial {
  return (address: BrokerAddress, { connectMs }: LinkOptions) =>
    new Promise((resolve, reject) => {
      const { program, road, weather } = site
      const over = program.after(connectMs, 'connect fails', () => reject(new Error('connection timeout')))
      if (weather.fate('connect') === 'lost') return
      leave(site, 'connect', () =>
        brokers.timeline.after(weather.legMs(), 'connect arrives', () => {
          const node = brokers.at(address)
          const life = node === undefined ? undefined : brokers.life(node)
          road.after(weather.legMs(), 'connected', () => {
            over()
            if (node === undefined || life === undefined) {
              reject(Object.assign(new Error('connect ECONNREFUSED'), { code: 'ECONNREFUSED' }))
            } else resolve(new SimulatedLine(brokers, site, node, life))
          })
        }),
      )
    })
}

/** At once, or when the way is free again. */
function leave({ cutOff, road }: Site, label: string, go: () => void): void {
  if (cutOff()) road.after(0, `${label} leaves`, go)
  else go()
}

interface Arrived {
  readonly frame: Buffer
  readonly request: Outgoing
  readonly fate: Fate
}
interface Waiting {
  /** Its deadline is later by so much, ms. */
  readonly putOff: (ms: number) => void
  readonly resolve: (payload: Buffer) => void
  readonly reject: (error: Error) => void
}

class SimulatedLine implements Line {
  readonly expired = false
  readonly #brokers: Brokers
  readonly #site: Site
  readonly #node: number
  readonly #life: number
  readonly #waiting = new Map<number, Waiting>()
  readonly #inbox: Arrived[] = []
  readonly #forgetDown: () => void
  #correlationId = 0
  #listeners: (() => void)[] = []
  #open = true
  /** Nothing that is sent from now on arrives. */
  #severed = false
  /** Nothing that is answered from now on arrives. */
  #deaf = false
  #serving = false
  #arriveAt = 0
  #answerAt = 0

  constructor(brokers: Brokers, site: Site, node: number, life: number) {
    this.#brokers = brokers
    this.#site = site
    this.#node = node
    this.#life = life
    this.#forgetDown = brokers.onDown(node, () => this.#reset('the broker went down'))
  }

  get connected(): boolean {
    return this.#open
  }

  nextCorrelationId(): number {
    return this.#correlationId++
  }

  login(): Promise<void> {
    return Promise.resolve()
  }

  onClose(listener: () => void): void {
    this.#listeners.push(listener)
  }

  exchange(request: Outgoing): Promise<Buffer> {
    if (!this.#open) return Promise.reject(new Error('the socket was closed'))
    const { apiName, correlationId, parts, timeoutMs } = request
    // What is written is gone: whoever changes the bytes now changes nothing any more.
    const frame = Buffer.concat(parts)
    const { program, weather } = this.#site
    return new Promise<Buffer>((resolve, reject) => {
      let until = program.now + Math.max(REQUEST_MS_MIN, timeoutMs)
      const deadline = (): (() => void) =>
        program.after(until - program.now, `${apiName} has no answer`, () => reject(new Error(`Request ${apiName} timed out`)))
      let over = deadline()
      this.#waiting.set(correlationId, {
        putOff: (ms) => {
          over()
          until += ms
          over = deadline()
        },
        resolve: (payload) => {
          over()
          resolve(payload)
        },
        reject: (error) => {
          over()
          reject(error)
        },
      })
      const fate = weather.fate(apiName)
      const sentAt = this.#brokers.timeline.now
      leave(this.#site, apiName, () => this.#travel({ frame, request, fate }, sentAt))
    })
  }

  putOff(ms: number): void {
    for (const waiting of this.#waiting.values()) waiting.putOff(ms)
  }

  end(error: Error): void {
    if (!this.#open) return
    this.#open = false
    this.#severed = true
    this.#deaf = true
    this.#forgetDown()
    for (const { reject } of this.#waiting.values()) reject(error)
    this.#waiting.clear()
  }

  #travel(arrived: Arrived, sentAt: number): void {
    if (this.#severed) return
    const { fate, request } = arrived
    const { weather } = this.#site
    const { timeline } = this.#brokers
    if (fate === 'lost') {
      this.#reset('the connection was reset')
      return
    }
    const late = fate === 'slow' || fate === 'late' ? weather.lateMs() : 0
    this.#arriveAt = Math.max(this.#arriveAt, timeline.now + weather.legMs() + late)
    const { lostMs } = weather
    if (lostMs !== undefined && this.#arriveAt - sentAt > lostMs) {
      this.#reset('the connection was reset')
      return
    }
    timeline.after(this.#arriveAt - timeline.now, `${request.apiName} arrives`, () => {
      if (lostMs !== undefined && weather.gone?.() === true) return
      if (this.#brokers.life(this.#node) !== this.#life) return
      this.#inbox.push(arrived)
      void this.#serve()
    })
    if (fate === 'late') this.#reset('the connection was reset')
  }

  /** The broker works on one request of a socket at a time. */
  async #serve(): Promise<void> {
    if (this.#serving) return
    this.#serving = true
    for (let next = this.#inbox.shift(); next !== undefined; next = this.#inbox.shift()) {
      const answer = await this.#brokers.handle(this.#node, next.frame)
      if (next.fate === 'late') this.#site.weather.onLate?.()
      if (this.#brokers.life(this.#node) !== this.#life) break
      if (answer === undefined || next.fate === 'unanswered') this.#reset('the connection was reset')
      else if (!this.#deaf) this.#answer(next, answer.bytes)
      if (answer !== undefined && answer.throttleMs > 0) await this.#rest(answer.throttleMs)
    }
    this.#serving = false
  }

  #rest(ms: number): Promise<void> {
    return new Promise((resolve) => void this.#brokers.timeline.after(ms, 'the broker reads the socket again', resolve))
  }

  #answer({ request, fate }: Arrived, answer: Buffer): void {
    const { road, weather } = this.#site
    const late = fate === 'slow-answer' ? weather.lateMs() : 0
    this.#answerAt = Math.max(this.#answerAt, road.now + weather.legMs() + late)
    road.after(this.#answerAt - road.now, `${request.apiName} answered`, () => {
      const waiting = this.#waiting.get(request.correlationId)
      this.#waiting.delete(request.correlationId)
      waiting?.resolve(answer.subarray(ANSWER_HEADER_BYTES))
    })
  }

  /** The socket is gone, and its client hears of it a little later. */
  #reset(why: string): void {
    this.#severed = true
    this.#deaf = true
    const { road, weather } = this.#site
    road.after(weather.legMs(), why, () => {
      if (!this.#open) return
      this.end(new Error(why))
      for (const listener of this.#listeners.splice(0)) listener()
    })
  }
}
