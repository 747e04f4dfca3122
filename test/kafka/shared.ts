/**
 * Kafka for test files. Where there is none, tests are skipped and say why in their names; with TIDEMARK_EXPECT_BROKER=1, as `.ci/run` sets
 * it, the file fails instead.
 */
import { describe, inject } from 'vitest'
import { ownKafka, whyNoBroker } from '../../src/testing/broker/availability.ts'
import { type KafkaOptions, type KafkaVersion, whyNoKafka } from '../../src/testing/broker/index.ts'

/** Either brokers, or why there are none. */
export type SharedKafka =
  | { readonly brokers: readonly string[]; readonly reason: undefined }
  | { readonly brokers: undefined; readonly reason: string }

/** A broker, and its end. */
export interface OwnKafka {
  readonly brokers: readonly string[]
  stop(): Promise<void>
}

/** What a shared broker may have of its own: it is started once for each combination. */
export interface SharedOptions {
  readonly version?: KafkaVersion
  readonly features?: Readonly<Record<string, number>>
}

/**
 * The broker that all files of this run share; to be awaited at the top of a file. Others use it at the same time: use names of your own for
 * topics, groups and transactions, and leave its node alone. Whoever wants to kill one calls `startKafka`.
 */
export async function sharedKafka(options: SharedOptions = {}): Promise<SharedKafka> {
  const answer = await fetch(`${inject('sharedKafkaUrl')}?options=${encodeURIComponent(JSON.stringify(options))}`)
  if (!answer.ok) throw new Error(await answer.text())
  const { brokers, reason } = (await answer.json()) as { brokers?: readonly string[]; reason?: string }
  return brokers === undefined ? { brokers, reason: expected(reason ?? 'no reason was given') } : { brokers, reason: undefined }
}

/** Why `startKafka` cannot work here; undefined when it can. */
export async function whyNotStarted(version?: KafkaVersion): Promise<string | undefined> {
  const reason = await whyNoKafka(version)
  return reason === undefined ? undefined : expected(reason)
}

/** Why `startOwn` cannot work here; undefined when it can. */
export async function whyNoneOwn(version?: KafkaVersion): Promise<string | undefined> {
  const reason = await whyNoBroker(version)
  return reason === undefined ? undefined : expected(reason)
}

/**
 * A broker that nobody else uses, in a container where there can be one: so these tests need no Java. For who only talks to it; whoever kills it,
 * or wants it secured, calls `startKafka`. Whoever asked stops it.
 */
export async function startOwn(options: Pick<KafkaOptions, 'version' | 'config'> = {}): Promise<OwnKafka> {
  const kafka = await ownKafka(options)
  if (kafka.source === 'none') throw new Error(kafka.reason)
  return kafka.source === 'container' ? kafka : kafka.cluster
}

/** `describe`, skipped when there is a reason to, which then stands in the name. */
export function describeUnless(reason: string | undefined, name: string, tests: () => void): void {
  if (reason === undefined) describe(name, tests)
  else describe.skip(`${name} (skipped: ${reason})`, tests)
}

function expected(reason: string): string {
  if (process.env.TIDEMARK_EXPECT_BROKER === '1') throw new Error(`a Kafka broker was expected (TIDEMARK_EXPECT_BROKER=1): ${reason}`)
  return reason
}
