/**
 * A proxy between clients and one broker that does harm when a test says so, and nothing by chance: delays, connections that are cut or fall
 * silent, answers that get lost after the request went through, requests that arrive long after their client gave up. Of what passes it
 * reads the size of a frame, the api key and the correlation id, so it can lie before plain listeners only.
 */
import { connect, createServer, type Socket } from 'node:net'
import { HOST, portOf } from './ports.ts'
import { type Direction, Lane, type LaneShared, type Trapped } from './proxy-lane.ts'

export type { Direction } from './proxy-lane.ts'

export interface Wanted {
  /** Kafka's number of the api, such as 26 for EndTxn. Default: any. */
  readonly apiKey?: number
  readonly at: 'request' | 'response'
  /** Which of those that pass from now on. Default 1, the next. */
  readonly nth?: number
  /**
   * `cut`: the frame is lost, and the connection is reset on both sides. `halve`: half of it arrives, then the connection ends. `silence`: it
   * is lost, as is all that follows in its direction, while the connection stays open. `hold`: it waits for `release`, and what follows
   * waits with it. `late`, for requests: the client is reset, the broker gets the request at `release`, and nobody gets the answer.
   */
  readonly harm: 'cut' | 'halve' | 'silence' | 'hold' | 'late'
}

export interface Trap {
  /** Resolves when the frame came and the harm is done, with the connection that it came on. */
  readonly caught: Promise<ProxiedConnection>
  /** Lets go of a frame that is held, or delivers one that is late. Before a frame is caught it takes the trap away. */
  release(): void
}

interface Faults {
  /** Delays frames by so many ms, as a longer way would: they do not wait for one another. 0 ends it. Default: both directions. */
  delay(ms: number, direction?: Direction): void
  /** Nothing passes until `heal`, not even the end of a connection, and nothing is lost: a cable that is out. Default: both directions. */
  blackhole(direction?: Direction): void
  /** Ends delays and black holes: what was on its way arrives. */
  heal(): void
  /** Resets connections on both sides. */
  cut(): void
}

export interface ProxiedConnection extends Faults {
  readonly open: boolean
}

/** Its faults apply to all connections, and, but for `cut`, to those that come later. */
export interface FaultProxy extends Faults {
  readonly port: number
  readonly connections: readonly ProxiedConnection[]
  /** Where new connections lead. Without a target they are reset, as they are before the first call. */
  aim(target: { readonly host: string; readonly port: number } | undefined): void
  /**
   * Waits for a frame, on whichever connection, and does it harm.
   * @example proxy.catchNext({ apiKey: 26, at: 'response', harm: 'cut' }) // the broker commits, and the client never hears of it
   */
  catchNext(wanted: Wanted): Trap
  /** Resets all connections and stops listening. */
  close(): Promise<void>
}

const BOTH: readonly Direction[] = ['toBroker', 'toClient']

class Connection implements ProxiedConnection {
  readonly lanes: Readonly<Record<Direction, Lane<ProxiedConnection>>>
  readonly #sockets: readonly Socket[]

  constructor(client: Socket, broker: Socket, options: { readonly frames: boolean; readonly traps: Set<Trapped<ProxiedConnection>> }) {
    const shared: LaneShared<ProxiedConnection> = { ...options, asked: new Map<number, number>(), connection: this }
    this.#sockets = [client, broker]
    this.lanes = { toBroker: new Lane('toBroker', client, broker, shared), toClient: new Lane('toClient', broker, client, shared) }
  }

  get open(): boolean {
    return this.#sockets.every((socket) => !socket.destroyed)
  }

  delay(ms: number, direction?: Direction): void {
    for (const one of lanesOf(direction)) this.lanes[one].delayMs = ms
  }

  blackhole(direction?: Direction): void {
    for (const one of lanesOf(direction)) this.lanes[one].shut = true
  }

  heal(): void {
    for (const one of BOTH) this.lanes[one].heal()
  }

  cut(): void {
    for (const socket of this.#sockets) socket.resetAndDestroy()
  }
}

/** Starts a proxy on a free port of the loopback. `frames: false` is for what is not Kafka's protocol: `catchNext` then catches nothing. */
export async function faultProxy({ frames = true }: { readonly frames?: boolean } = {}): Promise<FaultProxy> {
  const connections = new Set<Connection>()
  const traps = new Set<Trapped<ProxiedConnection>>()
  const delays: Record<Direction, number> = { toBroker: 0, toClient: 0 }
  const shut = new Set<Direction>()
  let target: { readonly host: string; readonly port: number } | undefined

  // Half open, because the end of one direction passes like its bytes.
  const server = createServer({ allowHalfOpen: true, noDelay: true }, (client) => {
    client.on('error', () => {})
    if (target === undefined) {
      client.resetAndDestroy()
      return
    }
    const broker = connect({ ...target, allowHalfOpen: true, noDelay: true })
    const connection = new Connection(client, broker, { frames, traps })
    for (const direction of BOTH) connection.delay(delays[direction], direction)
    for (const direction of shut) connection.blackhole(direction)
    connections.add(connection)
    const closed = (): boolean => client.closed && broker.closed && connections.delete(connection)
    client.once('close', closed)
    broker.once('close', closed)
  })
  await new Promise<void>((resolve, reject) => {
    server.once('error', reject)
    server.listen({ port: 0, host: HOST }, resolve)
  })
  server.unref()

  return {
    port: portOf(server),
    get connections() {
      return [...connections]
    },
    aim(next) {
      target = next
    },
    delay(ms, direction) {
      for (const one of lanesOf(direction)) delays[one] = ms
      for (const connection of connections) connection.delay(ms, direction)
    },
    blackhole(direction) {
      for (const one of lanesOf(direction)) shut.add(one)
      for (const connection of connections) connection.blackhole(direction)
    },
    heal() {
      for (const one of BOTH) delays[one] = 0
      shut.clear()
      for (const connection of connections) connection.heal()
    },
    cut() {
      for (const connection of connections) connection.cut()
    },
    catchNext({ apiKey, at, nth = 1, harm }) {
      if (harm === 'late' && at === 'response') throw new TypeError('only requests can be late')
      const { promise: caught, resolve } = Promise.withResolvers<ProxiedConnection>()
      const { promise: released, resolve: release } = Promise.withResolvers<void>()
      const trap: Trapped<ProxiedConnection> = { apiKey, at, harm, left: nth, released, caught: resolve }
      traps.add(trap)
      return {
        caught,
        release() {
          traps.delete(trap)
          release()
        },
      }
    },
    async close() {
      target = undefined
      for (const connection of connections) connection.cut()
      await new Promise((resolve) => server.close(resolve))
    },
  }
}

function lanesOf(direction: Direction | undefined): readonly Direction[] {
  return direction === undefined ? BOTH : [direction]
}
