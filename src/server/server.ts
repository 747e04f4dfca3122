/**
 * The HTTP server of one application: opens a port on the loopback address, and closes it again.
 *
 * Not promised: anything that an open network needs. There is no TLS, no user and no quota; it is for this machine.
 */
import { createServer, type Server } from 'node:http'
import { getRequestListener } from '@hono/node-server'
import { messageOf, TidemarkError } from '../base/errors.ts'
import { routesOf, type Served } from './routes.ts'

export interface ServeOptions {
  /** The first port to try; 0 takes any free one. Default 8080. */
  readonly port?: number
  /** How many further ports are tried where one is taken. Default 100. */
  readonly further?: number
}

export interface Serving {
  readonly port: number
  /** Without a slash at its end. */
  readonly url: string
  /** Ends what is being answered, and lets go of the port. */
  close(): Promise<void>
}

const HOST = '127.0.0.1'
/** A request has so long to arrive, ms: a client that only holds a socket open is not waited for. */
const REQUEST_MS = 10_000
const HEADER_BYTES_MAX = 8 * 1024
const CONNECTIONS_MAX = 256

/**
 * Serves an application on 127.0.0.1, on the first free port from `port` on.
 * @throws TidemarkError OPTION_INVALID when no port is free, or none may be taken
 * @example const { url } = await serve(app, { port: 8080 })
 */
export async function serve(app: Served, options: ServeOptions = {}): Promise<Serving> {
  const { port: first = 8080, further = 100 } = options
  let port = first
  const server = createServer(
    { requestTimeout: REQUEST_MS, headersTimeout: REQUEST_MS, maxHeaderSize: HEADER_BYTES_MAX },
    // Everything that a handler may throw is answered by the routes; what is left is a client that went away.
    (incoming, outgoing) => void listener(incoming, outgoing).catch(() => outgoing.destroy()),
  )
  const listener = getRequestListener(routesOf(app, () => port).fetch, { overrideGlobalObjects: false })
  server.maxConnections = CONNECTIONS_MAX
  const last = first === 0 ? 0 : Math.min(65_535, first + further)
  for (; ; port++) {
    const failure = await listening(server, port)
    if (failure === undefined) break
    if (failure.code === 'EADDRINUSE' && port < last) continue
    throw new TidemarkError('OPTION_INVALID', `port ${port} cannot be listened on`, {
      detail: `${messageOf(failure)}.`,
      hint:
        failure.code === 'EACCES' ? 'Ports below 1024 belong to the system. Choose another: --port 8080.' : 'Choose another: --port 9000.',
      cause: failure,
    })
  }
  port = (server.address() as { readonly port: number }).port
  return {
    port,
    url: `http://${HOST}:${port}`,
    close: () =>
      new Promise((resolve) => {
        server.close(() => resolve())
        server.closeAllConnections()
      }),
  }
}

/** Resolves with what was in the way; undefined once the port is listened on. */
function listening(server: Server, port: number): Promise<NodeJS.ErrnoException | undefined> {
  return new Promise((resolve) => {
    const failed = (error: NodeJS.ErrnoException): void => resolve(error)
    server.once('error', failed)
    server.listen({ host: HOST, port, exclusive: true }, () => {
      server.off('error', failed)
      resolve(undefined)
    })
  })
}
