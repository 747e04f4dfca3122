/**
 * The jars of a Kafka version: fetched once with Maven into a folder outside the project, checked against the checksums of `artifacts.ts`
 * every time. A folder of jars appears whole or not at all: it is filled under another name and then renamed. One process fetches at a time,
 * and the lock goes with the process that holds it.
 */
import { createHash } from 'node:crypto'
import { mkdir, mkdtemp, readdir, readFile, rename, rm, writeFile } from 'node:fs/promises'
import { homedir } from 'node:os'
import { join } from 'node:path'
import { codeOf, TidemarkError } from '../../base/errors.ts'
import { nodeClock, nodeFs } from '../../drivers/node/index.ts'
import { KAFKA_ARTIFACTS, type KafkaVersion } from './artifacts.ts'
import { requireMaven, run, tailOf } from './java.ts'

const COPY_PLUGIN = 'org.apache.maven.plugins:maven-dependency-plugin:3.6.1'
const LOCK_POLL_MS = 100
/** Another process may have a slow network; after this time it is more likely stuck. */
const LOCK_WAIT_MS_MAX = 10 * 60_000

interface Jar {
  readonly group: string
  readonly artifact: string
  readonly version: string
  readonly file: string
  readonly sha256: string
}

/** `TIDEMARK_CACHE`, else `tidemark` under `XDG_CACHE_HOME`, else under `~/.cache`. */
export function cacheFolder(): string {
  const { TIDEMARK_CACHE: own, XDG_CACHE_HOME: shared } = process.env
  if (own !== undefined && own !== '') return own
  return join(shared === undefined || shared === '' ? join(homedir(), '.cache') : shared, 'tidemark')
}

/**
 * The folder of the checked jars of a version, which it fetches when they are missing or damaged (38 MB, some 15 seconds).
 * @throws TidemarkError TEST_BROKER_UNAVAILABLE when they cannot be had: no Maven, no network, or not the jars that were asked for
 */
export async function jarsOf(version: KafkaVersion): Promise<string> {
  const jars = listOf(version)
  // Another list is another folder, so a newer checkout never takes the jars of an older one.
  const list = createHash('sha256').update(KAFKA_ARTIFACTS[version].jars).digest('hex').slice(0, 12)
  const root = join(cacheFolder(), 'kafka')
  const folder = join(root, `${version}-${list}`)
  if ((await damageIn(folder, jars)) === undefined) return folder
  await alone(root, async () => {
    // Whoever held the lock before may have fetched them.
    if ((await damageIn(folder, jars)) === undefined) return
    await requireMaven()
    for (const left of await readdir(root)) if (left.startsWith('partial-')) await rm(join(root, left), { recursive: true, force: true })
    const partial = await mkdtemp(join(root, 'partial-'))
    try {
      await fetchInto(partial, version, jars)
      await rm(folder, { recursive: true, force: true })
      await rename(partial, folder)
    } finally {
      await rm(partial, { recursive: true, force: true })
    }
  })
  return folder
}

/** Runs while no other process runs anything for this folder. */
export async function alone<T>(folder: string, work: () => Promise<T>): Promise<T> {
  await mkdir(folder, { recursive: true })
  const deadline = nodeClock.mono() + LOCK_WAIT_MS_MAX
  for (;;) {
    try {
      const lock = await nodeFs.lock(join(folder, 'lock'))
      try {
        return await work()
      } finally {
        await lock.release()
      }
    } catch (error) {
      if (codeOf(error) !== 'LOG_LOCKED' || nodeClock.mono() > deadline) throw error
      await nodeClock.sleep(LOCK_POLL_MS)
    }
  }
}

function listOf(version: KafkaVersion): readonly Jar[] {
  const lines = KAFKA_ARTIFACTS[version].jars.trim().split('\n')
  return lines.map((line) => {
    const [coordinates, sha256] = line.split(' ') as [string, string]
    const [group, artifact, jarVersion] = coordinates.split(':') as [string, string, string]
    return { group, artifact, version: jarVersion, file: `${artifact}-${jarVersion}.jar`, sha256 }
  })
}

/** What is wrong with a folder of jars; nothing when each is there and has its checksum. */
async function damageIn(folder: string, jars: readonly Jar[]): Promise<string | undefined> {
  for (const { file, sha256 } of jars) {
    const content = await readFile(join(folder, file)).catch(() => undefined)
    if (content === undefined) return `${file} is missing.`
    const found = createHash('sha256').update(content).digest('hex')
    if (found !== sha256) return `${file} has the SHA-256 ${found} instead of ${sha256}.`
  }
  return undefined
}

async function fetchInto(folder: string, version: KafkaVersion, jars: readonly Jar[]): Promise<void> {
  const pom = join(folder, 'pom.xml')
  await writeFile(pom, pomOf(jars))
  const { status, output } = await run('mvn', ['-q', '-B', '-f', pom, `${COPY_PLUGIN}:copy`, `-DoutputDirectory=${folder}`])
  const damage = status === 0 ? await damageIn(folder, jars) : tailOf(output)
  await rm(pom)
  if (damage === undefined) return
  throw new TidemarkError('TEST_BROKER_UNAVAILABLE', `the jars of Kafka ${version} could not be fetched`, {
    detail: damage,
    hint:
      status === 0
        ? 'Delete this jar from the local repository of Maven and try again; when it stays, do not trust where it comes from.'
        : 'Check the network, and the mirror in the settings of Maven; or name brokers that run already in TIDEMARK_TEST_BROKERS.',
  })
}

/** Names every jar, so that Maven resolves nothing by itself. */
function pomOf(jars: readonly Jar[]): string {
  const items = jars.map(
    ({ group, artifact, version }) =>
      `<artifactItem><groupId>${group}</groupId><artifactId>${artifact}</artifactId><version>${version}</version></artifactItem>`,
  )
  const [group, artifact] = COPY_PLUGIN.split(':') as [string, string]
  return `<project>
<modelVersion>4.0.0</modelVersion><groupId>tidemark</groupId><artifactId>kafka</artifactId><version>1</version><packaging>pom</packaging>
<build><plugins><plugin><groupId>${group}</groupId><artifactId>${artifact}</artifactId><configuration><artifactItems>
${items.join('\n')}
</artifactItems></configuration></plugin></plugins></build>
</project>
`
}
