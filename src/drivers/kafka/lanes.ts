/** The lanes of one client: one for each broker and purpose, opened when it is first wanted, and given up with its broker. */
import { closedError, LinkLost } from './failures.ts'
import type { Throttles } from './throttle.ts'
import { type BrokerAddress, type Dial, Lane, type LinkOptions } from './transport.ts'

/** What lanes are for. Whatever may wait at the broker has one of its own. */
export type Purpose = string
export const DATA: Purpose = 'data'
/** For what would wait behind data that a quota holds up: a transaction must be ended while it may. */
const ASIDE: Purpose = 'aside'

export interface LanesParts {
  readonly options: LinkOptions
  readonly dial: Dial | undefined
  readonly throttles: Throttles
}

export class Lanes {
  private readonly parts: LanesParts
  private readonly lanes = new Map<string, Lane>()

  constructor(parts: LanesParts) {
    this.parts = parts
  }

  /** A lane that is nobody else's; whoever has it closes it. */
  alone(address: BrokerAddress): Lane {
    return new Lane({ address, ...this.parts })
  }

  /** The lane of a purpose to a broker; without one, for a question that may go anywhere. */
  to(node: number, address: BrokerAddress, purpose?: Purpose): Lane {
    if (purpose !== undefined) return this.named(`${purpose} ${node}`, address)
    const lane = this.named(`${DATA} ${node}`, address)
    return lane.throttled ? this.named(`${ASIDE} ${node}`, address) : lane
  }

  seed(address: BrokerAddress): Lane {
    return this.named(`seed ${address.host}:${address.port}`, address)
  }

  private named(name: string, address: BrokerAddress): Lane {
    let lane = this.lanes.get(name)
    if (lane !== undefined && (lane.address.host !== address.host || lane.address.port !== address.port)) {
      lane.close(new LinkLost(`${name} moved to ${address.host}:${address.port}`, true, undefined))
      lane = undefined
    }
    if (lane === undefined) {
      lane = this.alone(address)
      this.lanes.set(name, lane)
    }
    return lane
  }

  /** Ends the sockets of a purpose. */
  drop(purpose: Purpose): void {
    for (const [name, lane] of this.lanes) {
      if (!name.startsWith(`${purpose} `)) continue
      lane.close(closedError('the connection'))
      this.lanes.delete(name)
    }
  }

  /** Ends sockets to brokers that left the cluster. */
  keepOnly(isThere: (node: number) => boolean): void {
    for (const [name, lane] of this.lanes) {
      const node = Number(name.slice(name.lastIndexOf(' ') + 1))
      if (name.startsWith('seed ') || isThere(node)) continue
      lane.close(new LinkLost(`broker ${node} left the cluster`, true, undefined))
      this.lanes.delete(name)
    }
  }

  close(error: Error): void {
    for (const lane of this.lanes.values()) lane.close(error)
    this.lanes.clear()
  }
}
