/**
 * Kafka for test files. Where there is none, tests are skipped and say why in their names; with TIDEMARK_EXPECT_BROKER=1, as `.ci/run` sets
 * it, the file fails instead.
 */
import { describe, inject } from 'vitest'
import { type KafkaVersion, whyNoKafka } from '../../src/testing/broker/index.ts'

/** Either brokers, or why there are none. */
export type SharedKafka =
  | { readonly brokers: readonly string[]; readonly reason: undefined }
  | { readonly brokers: undefined; readonly reason: string }

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

/** `describe`, skipped when there is a reason to, which then stands in the name. */
export function describeUnless(reason: string | undefined, name: string, tests: () => void): void {
  if (reason === undefined) describe(name, tests)
  else describe.skip(`${name} (skipped: ${reason})`, tests)
}

function expected(reason: string): string {
  if (process.env.TIDEMARK_EXPECT_BROKER === '1') throw new Error(`a Kafka broker was expected (TIDEMARK_EXPECT_BROKER=1): ${reason}`)
  return reason
}
