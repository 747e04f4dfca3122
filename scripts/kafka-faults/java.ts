/** Kafka's own clients (`KafkaClients.java`), from the jars that the brokers of tests are started from: a judge that shares no code with us. */
import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { KAFKA_VERSIONS } from '../../src/testing/broker/index.ts'
import { jarsOf } from '../../src/testing/broker/jars.ts'

const PROGRAM = join(import.meta.dirname, 'KafkaClients.java')
export type Codec = 'none' | 'gzip' | 'snappy' | 'lz4' | 'zstd'

export interface Line {
  readonly partition: number
  readonly offset: number
  readonly key: Buffer | null
  readonly value: Buffer | null
}

/** Every committed record of a topic up to what is decided now, partition by partition in order. */
export async function* readCommitted(brokers: readonly string[], topic: string): AsyncGenerator<Line, void, undefined> {
  const child = await java(['read', brokers.join(','), topic])
  child.stdin?.end()
  const ended = finished(child)
  for await (const line of createInterface({ input: child.stdout as NodeJS.ReadableStream })) {
    const [partition, offset, key, value] = line.split('\t') as [string, string, string, string]
    yield { partition: Number(partition), offset: Number(offset), key: unhex(key), value: unhex(value) }
  }
  await ended
}

export interface Written {
  readonly partition: number
  readonly timestamp: number
  readonly key: Uint8Array
  readonly value: Uint8Array | null
}

/** Writes records as Kafka's producer does; with `aborts`, among transactions that are aborted. */
export async function write(
  brokers: readonly string[],
  topic: string,
  records: Iterable<Written>,
  { codec = 'none', mode = 'plain' }: { readonly codec?: Codec; readonly mode?: 'plain' | 'aborts' } = {},
): Promise<void> {
  const child = await java(['write', brokers.join(','), topic, codec, mode])
  const ended = finished(child)
  const to = child.stdin as NodeJS.WritableStream
  for (const { partition, timestamp, key, value } of records) {
    const line = `${partition}\t${timestamp}\t${hex(key)}\t${value === null ? '-' : hex(value)}\n`
    if (!to.write(line)) await Promise.race([once(to, 'drain'), ended])
  }
  to.end()
  await ended
}

async function java(args: readonly string[]): Promise<ChildProcess> {
  const jars = await jarsOf(KAFKA_VERSIONS[0])
  return spawn('java', ['-XX:+UseSerialGC', '-XX:TieredStopAtLevel=1', '-cp', `${jars}/*`, PROGRAM, ...args], { stdio: 'pipe' })
}

async function finished(child: ChildProcess): Promise<void> {
  let said = ''
  child.stderr?.on('data', (bytes: Buffer) => {
    said = (said + bytes.toString()).slice(-4_000)
  })
  const [code] = (await once(child, 'close')) as [number | null]
  if (code !== 0) throw new Error(`Kafka's own client failed: ${said}`)
}

const hex = (bytes: Uint8Array): string => Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength).toString('hex')
const unhex = (text: string): Buffer | null => (text === '-' ? null : Buffer.from(text, 'hex'))
