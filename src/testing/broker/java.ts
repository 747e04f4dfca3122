/**
 * The programs that a broker of tests needs from the machine: Java, its keytool, and Maven when the jars are not in the cache yet. What is
 * missing, or too old, is said with what to do about it.
 */
import { execFile } from 'node:child_process'
import { join } from 'node:path'
import { TidemarkError } from '../../base/errors.ts'

/** Enough for what `java -version`, keytool and Maven say. */
const OUTPUT_BYTES_MAX = 16 * 1024 * 1024
const MAVEN_MIN = '3.6'

export interface Java {
  readonly command: string
  readonly keytool: string
  /** As it says itself, such as `17.0.15+6-Debian-1deb12u1`. Archives of classes belong to exactly one. */
  readonly build: string
}

export interface Ran {
  readonly status: number
  readonly output: string
}

/** Runs a program to its end. `status` is -1 when there is no such program. Never throws for what the program does. */
export function run(command: string, args: readonly string[], options: { readonly cwd?: string } = {}): Promise<Ran> {
  return new Promise((resolve) => {
    execFile(command, args, { ...options, maxBuffer: OUTPUT_BYTES_MAX }, (error, stdout, stderr) => {
      const status = error === null ? 0 : typeof error.code === 'number' ? error.code : error.code === 'ENOENT' ? -1 : 1
      resolve({ status, output: `${stdout}${stderr}`.trim() })
    })
  })
}

/** The last lines of what a program said: where its reason stands. */
export function tailOf(output: string, lines = 15): string {
  return output.trimEnd().split('\n').slice(-lines).join('\n')
}

let known: Promise<{ readonly java: Java; readonly major: number }> | undefined

/**
 * The Java of `JAVA_HOME`, else the one on the path; asked once a process.
 * @throws TidemarkError TEST_BROKER_UNAVAILABLE when there is none, or only one older than `major`
 */
export async function javaOf(major: number): Promise<Java> {
  known ??= askJava()
  const found = await known.catch((error: unknown) => {
    known = undefined
    throw error
  })
  if (found.major >= major) return found.java
  throw new TidemarkError('TEST_BROKER_UNAVAILABLE', `this Kafka needs Java ${major}, and here is Java ${found.major}`, {
    detail: `${found.java.command} says ${found.java.build}.`,
    hint: `Install Java ${major} or newer, or point JAVA_HOME to one.`,
  })
}

async function askJava(): Promise<{ readonly java: Java; readonly major: number }> {
  const { JAVA_HOME: home } = process.env
  const program = (name: string): string => (home === undefined || home === '' ? name : join(home, 'bin', name))
  const command = program('java')
  const { status, output } = await run(command, ['-version'])
  // Java 8 calls itself 1.8.
  const major = Number(/version "(?:1\.)?(\d+)/.exec(output)?.[1])
  if (status !== 0 || !Number.isInteger(major)) {
    throw new TidemarkError('TEST_BROKER_UNAVAILABLE', 'a Kafka broker needs Java, and there is none', {
      detail: status === -1 ? `There is no ${command}.` : tailOf(output),
      hint: 'Install Java 17 or newer, or point JAVA_HOME to one; or run a container engine, and install testcontainers; or name brokers that run already in TIDEMARK_TEST_BROKERS.',
    })
  }
  const build = /\(build ([^,)]+)/.exec(output)?.[1] ?? String(major)
  return { major, java: { command, keytool: program('keytool'), build } }
}

/** @throws TidemarkError TEST_BROKER_UNAVAILABLE when there is no Maven, or one that is too old */
export async function requireMaven(): Promise<void> {
  const { status, output } = await run('mvn', ['-B', '--version'])
  const version = /Apache Maven (\d+)\.(\d+)/.exec(output)
  const hint = `Install Maven ${MAVEN_MIN} or newer; or name brokers that run already in TIDEMARK_TEST_BROKERS.`
  if (status !== 0 || version === null) {
    throw new TidemarkError('TEST_BROKER_UNAVAILABLE', 'the jars of Kafka are fetched with Maven, and there is none', {
      detail: status === -1 ? 'There is no mvn on the path.' : tailOf(output),
      hint,
    })
  }
  const [major, minor] = version.slice(1).map(Number) as [number, number]
  const [majorMin, minorMin] = MAVEN_MIN.split('.').map(Number) as [number, number]
  if (major > majorMin || (major === majorMin && minor >= minorMin)) return
  throw new TidemarkError('TEST_BROKER_UNAVAILABLE', `Maven ${MAVEN_MIN} is needed, and here is ${major}.${minor}`, { hint })
}
