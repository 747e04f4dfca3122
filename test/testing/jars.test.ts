/** How the jars of a broker come to be there. A script plays Maven: it copies the real jars, or others, and counts how often it was asked. */
import { execFile } from 'node:child_process'
import { access, chmod, mkdir, mkdtemp, readdir, readFile, rm, symlink, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { delimiter, join } from 'node:path'
import { afterEach, beforeEach, expect, it } from 'vitest'
import { KAFKA_VERSIONS } from '../../src/testing/broker/artifacts.ts'
import { jarsOf } from '../../src/testing/broker/jars.ts'
import { describeUnless, whyNotStarted } from '../kafka/shared.ts'

const CHILD = join(import.meta.dirname, 'broker-child.ts')
const reason = await whyNotStarted()

describeUnless(reason, 'the jars of a broker', () => {
  let folder: string
  let programs: string
  let java: string

  beforeEach(async () => {
    folder = await mkdtemp(join(tmpdir(), 'tidemark-jars-'))
    programs = join(folder, 'bin')
    await mkdir(programs)
    java = await which('java')
    await symlink(java, join(programs, 'java'))
  })
  afterEach(() => rm(folder, { recursive: true }))

  /** What another process finds, which has these programs and this cache only. */
  async function why(environment: Readonly<Record<string, string>> = {}): Promise<string> {
    const { JAVA_HOME: _, ...inherited } = process.env
    const env = { ...inherited, PATH: programs, TIDEMARK_CACHE: join(folder, 'cache'), ...environment }
    return new Promise((resolve, reject) => {
      execFile(process.execPath, [CHILD, 'why'], { env }, (error, stdout) => (error === null ? resolve(stdout.trim()) : reject(error)))
    })
  }

  /** Puts a Maven on the path that copies the jars and then does something more in the folder where they are. */
  async function maven(more: string, version = '3.9.9'): Promise<void> {
    const script = `#!/bin/sh
PATH=/usr/bin:/bin
case "$*" in *--version*) echo "Apache Maven ${version}"; exit 0;; esac
for argument; do case "$argument" in -DoutputDirectory=*) to=\${argument#*=};; esac; done
echo asked >> '${join(folder, 'asked')}'
cp '${await jarsOf(KAFKA_VERSIONS[0])}'/*.jar "$to" && cd "$to" || exit 1
${more}
`
    await writeFile(join(programs, 'mvn'), script)
    await chmod(join(programs, 'mvn'), 0o755)
  }

  const asked = async (): Promise<number> => (await readFile(join(folder, 'asked'), 'utf8')).trim().split('\n').length
  const kept = async (): Promise<string[]> => (await readdir(join(folder, 'cache', 'kafka'))).filter((name) => name !== 'lock')

  it('are fetched once, by one of two processes that want them at the same time', async () => {
    await maven('sleep 0.3')
    expect(await Promise.all([why(), why()])).toEqual(['it can', 'it can'])
    expect(await why()).toBe('it can')
    expect([await asked(), (await kept()).length]).toEqual([1, 1])
  })

  it('are refused when they are not the ones that were asked for, and nothing of them stays', async () => {
    await maven('echo more >> kafka-clients-4.3.1.jar')
    expect(await why()).toMatch(
      /TEST_BROKER_UNAVAILABLE: the jars of Kafka 4.3.1 could not be fetched kafka-clients-4.3.1.jar has the SHA-256 /,
    )
    expect(await kept()).toEqual([])
  })

  it('are fetched again when they were damaged or half of them is gone, and what a killed process left is cleared away', async () => {
    await maven('')
    await why()
    const [version] = (await kept()) as [string]
    const cache = join(folder, 'cache', 'kafka')
    await writeFile(join(cache, version, 'slf4j-api-1.7.36.jar'), 'half')
    await rm(join(cache, version, 'kafka-raft-4.3.1.jar'))
    await mkdir(join(cache, 'partial-left'))
    expect(await why()).toBe('it can')
    expect([await asked(), await kept()]).toEqual([2, [version]])
  })

  it('cannot be had when Maven fails, and its words are passed on', async () => {
    await maven('echo "no route to anywhere"; exit 1')
    expect(await why()).toContain('no route to anywhere')
  })

  it('cannot be had without Maven, or with one that is too old', async () => {
    expect(await why()).toMatch(/There is no mvn on the path. hint: Install Maven 3.6 or newer/)
    await maven('', '3.5.4')
    expect(await why()).toMatch(/Maven 3.6 is needed, and here is 3.5/)
  })

  it('are of no use without Java, or with one that is too old', async () => {
    expect(await why({ JAVA_HOME: join(folder, 'nowhere') })).toMatch(
      /needs Java, and there is none There is no .*java. hint: Install Java 17/,
    )
    await rm(join(programs, 'java'))
    await writeFile(join(programs, 'java'), '#!/bin/sh\necho \'openjdk version "1.8.0_402"\' >&2\n')
    await chmod(join(programs, 'java'), 0o755)
    expect(await why()).toMatch(/this Kafka needs Java 17, and here is Java 8/)
  })
})

async function which(program: string): Promise<string> {
  const { JAVA_HOME: home, PATH: path = '' } = process.env
  const folders = [...(home === undefined || home === '' ? [] : [join(home, 'bin')]), ...path.split(delimiter)]
  for (const folder of folders) {
    const file = join(folder, program)
    if (
      await access(file).then(
        () => true,
        () => false,
      )
    ) {
      return file
    }
  }
  throw new Error(`there is no ${program}`)
}
