/** Words of a command line to a Kafka log. */
import { join } from 'node:path'
import { TidemarkError } from '../base/errors.ts'
import type { Sasl } from '../drivers/kafka/index.ts'
import type { LogDriver } from '../ports/log.ts'
import type { SchemaStore } from '../ports/serde.ts'
import type { Shell } from './shell.ts'

export const DEFAULT_BROKERS = '127.0.0.1:9092'
export const MECHANISMS = ['plain', 'scram-sha-256', 'scram-sha-512'] as const

/** What every command may say about Kafka. */
export interface KafkaWords {
  readonly brokers?: string
  readonly replication?: number
  readonly tls?: boolean
  readonly tlsCa?: string
  readonly tlsCert?: string
  readonly tlsKey?: string
  readonly sasl?: (typeof MECHANISMS)[number]
  readonly saslUsername?: string
  readonly saslPasswordFile?: string
  readonly saslWithoutTls?: boolean
}

/** The brokers that are meant, as they were named. */
export function brokersOf({ brokers }: KafkaWords, shell: Shell): string[] {
  const named = brokers ?? shell.env.TIDEMARK_BROKERS ?? DEFAULT_BROKERS
  return named
    .split(',')
    .map((broker) => broker.trim())
    .filter((broker) => broker !== '')
}

/** @throws TidemarkError OPTION_INVALID */
export async function kafkaOf(words: KafkaWords, shell: Shell): Promise<LogDriver> {
  const { tls = false, tlsCa, tlsCert, tlsKey, replication } = words
  const files = {
    ...(tlsCa === undefined ? {} : { caFile: tlsCa }),
    ...(tlsCert === undefined ? {} : { certFile: tlsCert }),
    ...(tlsKey === undefined ? {} : { keyFile: tlsKey }),
  }
  const ssl = Object.keys(files).length > 0 ? files : tls
  const sasl = saslOf(words)
  const { kafka } = await import('../drivers/kafka/index.ts')
  const brokers = brokersOf(words, shell)
  try {
    const driver = kafka({
      brokers,
      ssl,
      ...(sasl === undefined ? {} : { sasl }),
      ...(replication === undefined ? {} : { replication }),
    })
    return impatient(driver, brokers, shell)
  } catch (error) {
    throw inOurWords(error)
  }
}

/** Options of the driver, by what they are called on a command line. */
const CALLED: Readonly<Record<string, string>> = {
  brokers: '--brokers',
  replication: '--replication',
  ssl: '--tls',
  'ssl.caFile': '--tls-ca',
  'ssl.certFile': '--tls-cert',
  'ssl.keyFile': '--tls-key',
  sasl: '--sasl',
  'sasl.username': '--sasl-username',
  'sasl.passwordFile': '--sasl-password-file',
  'sasl.withoutTls': '--sasl-without-tls',
}

/** The same error for who has a command line before him and no program. */
function inOurWords(error: unknown): unknown {
  if (!(error instanceof TidemarkError)) return error
  const words = (text: string): string => text.replaceAll(/"([a-zA-Z.]+)"/g, (quoted, name: string) => CALLED[name] ?? quoted)
  const { code, message, detail, hint } = error
  return new TidemarkError(code, words(message), {
    detail: detail === undefined ? undefined : words(detail),
    hint: hint === undefined ? undefined : words(hint),
    cause: error,
  })
}

/** Ids of schemas must mean the same to every worker: only what is committed with the code does. */
export async function committedSchemas(): Promise<SchemaStore> {
  const { schemaCatalogue } = await import('../drivers/schemas/index.ts')
  return schemaCatalogue({ file: join('schemas', 'catalogue.json'), writable: false })
}

/** Who waits longer for a first answer is told why, ms. */
const SAY_AFTER_MS = 1_500

/** The same driver, whose opening says so when no broker answers, in the words of the command line. */
function impatient(driver: LogDriver, brokers: readonly string[], shell: Shell): LogDriver {
  return {
    name: driver.name,
    open: async (parts) => {
      const opened = new AbortController()
      const say = (): Promise<void> => shell.err.write(`no broker answers yet at ${brokers.join(', ')}; they are tried for some seconds\n`)
      void shell.clock.sleep(SAY_AFTER_MS, opened.signal).then(say, () => {})
      try {
        return await driver.open(parts)
      } catch (error) {
        throw inOurWords(error)
      } finally {
        opened.abort()
      }
    },
  }
}

function saslOf({ sasl, saslUsername, saslPasswordFile, saslWithoutTls }: KafkaWords): Sasl | undefined {
  if (sasl === undefined) {
    if (saslUsername === undefined && saslPasswordFile === undefined && saslWithoutTls !== true) return undefined
    throw new TidemarkError('OPTION_INVALID', 'a login needs its mechanism', { hint: `Add --sasl, with one of ${MECHANISMS.join(', ')}.` })
  }
  if (saslUsername === undefined) throw new TidemarkError('OPTION_INVALID', 'a login needs a name', { hint: 'Add --sasl-username.' })
  const secret = saslPasswordFile === undefined ? { passwordEnv: 'TIDEMARK_SASL_PASSWORD' } : { passwordFile: saslPasswordFile }
  if (sasl === 'plain') return { mechanism: sasl, username: saslUsername, ...secret, withoutTls: saslWithoutTls === true }
  if (saslWithoutTls === true) {
    throw new TidemarkError('OPTION_INVALID', `--sasl-without-tls says nothing about ${sasl}`, {
      hint: 'Leave it out: this mechanism never sends the password itself.',
    })
  }
  return { mechanism: sasl, username: saslUsername, ...secret }
}
