/**
 * Where a container engine answers, asked in a second and without any package: the addresses that Docker's own programs and the library
 * `testcontainers` look at. Whether it is one, and of use, says only a client of it.
 */
import { readFile } from 'node:fs/promises'
import { connect, type NetConnectOpts } from 'node:net'
import { homedir, userInfo } from 'node:os'
import { join } from 'node:path'

export interface Place {
  readonly env: Readonly<Record<string, string | undefined>>
  readonly home: string
  readonly platform: string
  /** Of the user, where users have numbers. */
  readonly uid: number
}

const ANSWER_MS = 1_000
/** Docker's ports without and with TLS. */
const PORTS: Readonly<Record<string, number>> = { 'tcp:': 2375, 'http:': 2375, 'https:': 2376 }

/** The first address at which somebody takes a connection; undefined when nobody does. */
export async function answeringEngine(place: Place = here()): Promise<string | undefined> {
  const addresses = await addressesOf(place)
  const taken = await Promise.all(addresses.map(takes))
  return addresses.find((_, i) => taken[i])
}

function here(): Place {
  return { env: process.env, home: homedir(), platform: process.platform, uid: userInfo().uid }
}

/** What is configured, and where an engine listens when nothing is. */
async function addressesOf({ env, home, platform, uid }: Place): Promise<readonly string[]> {
  const own = await readFile(join(home, '.testcontainers.properties'), 'utf8').catch(() => '')
  const configured = (key: string): string | undefined =>
    new RegExp(`^\\s*${key}\\s*[=:\\s]\\s*(\\S+)`, 'm').exec(own)?.[1]?.replaceAll('\\', '')
  const named = [configured('tc\\.host'), env.DOCKER_HOST ?? configured('docker\\.host')]
  const sockets =
    platform === 'win32'
      ? ['npipe:////./pipe/docker_engine']
      : [
          '/var/run/docker.sock',
          ...(env.XDG_RUNTIME_DIR === undefined ? [] : [join(env.XDG_RUNTIME_DIR, 'docker.sock')]),
          join(home, '.docker/run/docker.sock'),
          join(home, '.docker/desktop/docker.sock'),
          `/run/user/${uid}/docker.sock`,
        ].map((path) => `unix://${path}`)
  return [...named.filter((address) => address !== undefined && address !== ''), ...sockets] as string[]
}

async function takes(address: string): Promise<boolean> {
  const to = target(address)
  if (to === undefined) return false
  return new Promise((resolve) => {
    const socket = connect(to)
    const end = (answered: boolean): void => {
      socket.destroy()
      resolve(answered)
    }
    socket.setTimeout(ANSWER_MS, () => end(false))
    socket.once('error', () => end(false))
    socket.once('connect', () => end(true))
  })
}

/** What to connect to; undefined for what is no such address, or one that the library does not know either, such as `ssh://`. */
function target(address: string): NetConnectOpts | undefined {
  if (!URL.canParse(address)) return undefined
  const { protocol, hostname, port, pathname } = new URL(address)
  if (protocol === 'unix:' || protocol === 'npipe:') return { path: pathname }
  const usual = PORTS[protocol]
  return usual === undefined ? undefined : { host: hostname, port: port === '' ? usual : Number(port) }
}
