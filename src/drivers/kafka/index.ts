/**
 * Apache Kafka as the log: topics, exactly-once transactions and groups on real brokers, by our own requests over kafkajs's sockets.
 *
 * What it needs: brokers from 3.7 on. What it does not do: make topics by accident, reset a position, print a secret.
 */
import { TidemarkError } from '../../base/errors.ts'
import { needTexts, refuseUnknown, wholeNumber } from '../../base/options.ts'
import type { LogDriver } from '../../ports/log.ts'
import { DEFAULT_LIMITS, type Limits } from '../../ports/record-batch/index.ts'
import { openClient } from './client.ts'
import { requireSecrecy, type Sasl, type Ssl, saslOf, sslOf } from './security.ts'
import type { BrokerAddress } from './transport.ts'

export { KAFKA_MANIFEST } from './client.ts'
export type { Revealing, Sasl, Secret, Ssl } from './security.ts'
export { differences, differenceText, remedyOf, type TopicDifference } from './topic-settings.ts'

export interface KafkaOptions {
  /** `host:port` of some brokers; the others are learnt from them. */
  readonly brokers: readonly string[]
  /** What the brokers' logs and quotas call us. Default `tidemark`. */
  readonly clientId?: string
  /** TLS: `true` with the authorities that Node trusts, or with files of one's own. Default: none. */
  readonly ssl?: boolean | Ssl
  /** A login. Default: none. */
  readonly sasl?: Sasl
  /** Copies of each partition of topics that are made. Default: what the brokers have as theirs. */
  readonly replication?: number
  /** After this long the brokers abort a transaction that is still open, ms. Default 10,000. */
  readonly transactionMs?: number
  /** How long a connection may take to come about, ms. Default 3,000. */
  readonly connectMs?: number
  /** What one batch may cost its readers. */
  readonly limits?: Limits
}

const OPTIONS: readonly (keyof KafkaOptions)[] = [
  'brokers',
  'clientId',
  'ssl',
  'sasl',
  'replication',
  'transactionMs',
  'connectMs',
  'limits',
]
const SSL: readonly (keyof Ssl)[] = ['caFile', 'certFile', 'keyFile', 'serverName']
const SASL = ['mechanism', 'username', 'passwordFile', 'passwordEnv', 'token', 'withoutTls']

/**
 * A log on Kafka, for `start` and its like.
 * @throws TidemarkError OPTION_INVALID; opening it throws BROKER_UNREACHABLE, AUTHENTICATION_FAILED, TLS_FAILED, API_UNSUPPORTED,
 * KAFKAJS_UNSUPPORTED
 * @example
 * const app = await start(retail, { log: kafka({ brokers: ['127.0.0.1:9092'] }) })
 * @example
 * kafka({
 *   brokers: ['kafka-1:9093'],
 *   ssl: { caFile: '/etc/kafka/ca.pem' },
 *   sasl: { mechanism: 'scram-sha-512', username: 'retail', passwordFile: '/run/secrets/kafka' },
 * })
 */
export function kafka(options: KafkaOptions): LogDriver {
  refuseUnknown(options, OPTIONS, 'kafka()')
  if (typeof options.ssl === 'object') refuseUnknown(options.ssl, SSL, 'ssl of kafka()')
  if (options.sasl !== undefined) refuseUnknown(options.sasl, SASL, 'sasl of kafka()')
  needTexts(options.brokers, 'brokers of kafka()', "List some of them: brokers: ['127.0.0.1:9092'].")
  const seeds = options.brokers.map(address)
  if (seeds.length === 0) throw new TidemarkError('OPTION_INVALID', '"brokers" names no broker', { hint: "Such as ['127.0.0.1:9092']." })
  const { replication = -1, transactionMs = 10_000, connectMs = 3_000, clientId = 'tidemark', limits = DEFAULT_LIMITS } = options
  if (replication !== -1) wholeNumber(replication, 1, 'replication')
  wholeNumber(transactionMs, 1_000, 'transactionMs')
  wholeNumber(connectMs, 1, 'connectMs')
  const tls = options.ssl !== undefined && options.ssl !== false
  const withoutTls = (options.sasl !== undefined && 'withoutTls' in options.sasl && options.sasl.withoutTls) || false
  for (const { host } of seeds) requireSecrecy(host, { sasl: options.sasl?.mechanism, tls, withoutTls })
  return {
    name: 'kafka',
    words: `--brokers ${options.brokers.join(',')}`,
    open: async ({ clock, random, codecs, tell }) => {
      const { batchBytesMax } = limits
      const link = {
        clientId,
        connectMs,
        batchBytesMax,
        withoutTls,
        ssl: await sslOf(options.ssl),
        sasl: await saslOf(options.sasl, connectMs),
      }
      const client = await openClient({ of: { seeds, link, clock, random, tell }, codecs, limits, replication, transactionMs })
      return { log: client, close: () => client.close() }
    },
  }
}

function address(broker: string): BrokerAddress {
  // [::1]:9092, host:9092
  const found = /^(?:\[([0-9a-fA-F:.]+)\]|([^:\s[\]]+)):(\d{1,5})$/.exec(broker)
  const port = Number(found?.[3])
  const host = found?.[1] ?? found?.[2]
  if (host !== undefined && port >= 1 && port <= 65_535) return { host, port }
  throw new TidemarkError('OPTION_INVALID', `"${broker}" is no address of a broker`, { hint: 'Write host:port, such as 127.0.0.1:9092.' })
}
