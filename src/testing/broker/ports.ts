/**
 * Ports of this machine that nobody listens on. They lie below those that systems give to outgoing connections (32768 on Linux, 49152
 * elsewhere), because a broker that was killed wants its ports back when it starts again.
 */
import { createServer, type Server } from 'node:net'
import { TidemarkError } from '../../base/errors.ts'
import { nodeRandom } from '../../drivers/node/index.ts'

const FIRST = 15_000
const LAST = 32_000
const TRIES_MAX = 200

/** Loopback, and nothing else: brokers of tests are nobody else's. */
export const HOST = '127.0.0.1'

/** Ports that were free a moment ago. Somebody may still be faster: whoever listens must be ready to ask again. */
export async function freePorts(count: number): Promise<readonly number[]> {
  // Held together until all are found, so that none is found twice.
  const held: Server[] = []
  try {
    for (let tries = 0; held.length < count && tries < TRIES_MAX; tries++) {
      const server = await listening(FIRST + Math.floor(nodeRandom.unit() * (LAST - FIRST)))
      if (server !== undefined) held.push(server)
    }
    if (held.length < count)
      throw new TidemarkError('TEST_BROKER_FAILED', `no free port was found between ${FIRST} and ${LAST}`, {
        hint: 'Something on this machine holds very many. Brokers that were left behind do: look for java processes.',
      })
    return held.map((server) => portOf(server))
  } finally {
    await Promise.all(held.map((server) => new Promise((resolve) => server.close(resolve))))
  }
}

/** Whether nobody listens on a port of this machine. */
export async function portFree(port: number): Promise<boolean> {
  const server = await listening(port)
  await new Promise((resolve) => (server === undefined ? resolve(undefined) : server.close(resolve)))
  return server !== undefined
}

export function portOf(server: Server): number {
  const address = server.address()
  if (address === null || typeof address === 'string') throw new TypeError('the server does not listen on a port')
  return address.port
}

function listening(port: number): Promise<Server | undefined> {
  return new Promise((resolve) => {
    const server = createServer()
    server.once('error', () => resolve(undefined))
    server.listen({ port, host: HOST, exclusive: true }, () => resolve(server))
  })
}
