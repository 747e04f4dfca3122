/**
 * What can go wrong between us and a broker, each once: numbers of the protocol that the driver acts on, the loss of a socket, and the
 * sentences that a person reads. A sentence names the broker, the topic, group or writer, and the right or the setting that is missing.
 */
import { messageOf, TidemarkError } from '../../base/errors.ts'
import type { Api } from './wire/api.ts'
import { KAFKA_ERROR as E, kafkaError } from './wire/errors.ts'

/** A partition moved, or its leader is not ready: ask who leads, and send the same again. */
const MOVED: ReadonlySet<number> = new Set([
  E.UNKNOWN_TOPIC_OR_PARTITION,
  E.LEADER_NOT_AVAILABLE,
  E.NOT_LEADER_OR_FOLLOWER,
  E.REPLICA_NOT_AVAILABLE,
  E.KAFKA_STORAGE_ERROR,
  E.FENCED_LEADER_EPOCH,
  E.UNKNOWN_LEADER_EPOCH,
  E.OFFSET_NOT_AVAILABLE,
])
export function isMoved(error: number): boolean {
  return MOVED.has(error)
}

/** A coordinator moved or is not ready: ask where it is, and send the same again. */
export function isCoordinatorMoved(error: number): boolean {
  return error === E.COORDINATOR_LOAD_IN_PROGRESS || error === E.COORDINATOR_NOT_AVAILABLE || error === E.NOT_COORDINATOR
}

/** Somebody else is this producer by now. */
export function isFenced(error: number): boolean {
  return error === E.INVALID_PRODUCER_EPOCH || error === E.PRODUCER_FENCED || error === E.INVALID_PRODUCER_ID_MAPPING
}

/** The group does not count the author among its members. */
export function isExpelled(error: number): boolean {
  return error === E.ILLEGAL_GENERATION || error === E.UNKNOWN_MEMBER_ID || error === E.FENCED_INSTANCE_ID
}

/** A socket was lost, or did not answer in time. */
export class LinkLost extends Error {
  /** Whether the request may have reached the broker. */
  readonly sent: boolean
  constructor(what: string, sent: boolean, cause: unknown) {
    super(cause === undefined ? what : `${what}: ${messageOf(cause)}`, { cause })
    this.name = 'LinkLost'
    this.sent = sent
  }
}

/** A broker refused a login; the message is what it said. */
export class LoginRefused extends Error {
  readonly what: keyof typeof REFUSED
  constructor(what: keyof typeof REFUSED, said: string) {
    super(said)
    this.name = 'LoginRefused'
    this.what = what
  }
}

/** What a broker does not take, and where to look. */
const REFUSED = {
  token: {
    does: 'refuses the token',
    hint: 'Look at what "sasl.token" gives: whether it has run out, and whether its issuer, audience and subject are what the broker expects.',
  },
  password: {
    does: 'refuses the user or the password',
    hint: 'Look at "sasl.username" and the file or variable of the password, and that the user exists for this mechanism.',
  },
  mechanism: {
    does: 'does not take this kind of login',
    hint: 'The mechanisms of a listener are set at the broker ("sasl.enabled.mechanisms").',
  },
} as const

export function closedError(what = 'the log'): TidemarkError {
  return new TidemarkError('LOG_CLOSED', `${what} was closed`)
}

export function topicUnknown(topic: string): TidemarkError {
  return new TidemarkError('TOPIC_UNKNOWN', `topic "${topic}" does not exist`, {
    hint: 'Make it with "tidemark topics apply", or let its owner make it. tidemark never lets a broker make topics by itself. A topic that exists may also be hidden from a user without the right DESCRIBE.',
  })
}

export function recreated(topic: string): TidemarkError {
  return new TidemarkError('TOPIC_RECREATED', `topic "${topic}" was deleted and made again`, {
    detail: 'The position belongs to the topic that is gone; under it the new one has other records.',
    hint: 'Begin with a new group or another generation, or bring the old topic back.',
  })
}

export function fencedError(id: string, error: number): TidemarkError {
  return new TidemarkError('WRITER_FENCED', `writer "${id}" was taken over`, {
    detail: `The broker answered ${kafkaError(error).name}: a newer holder of its transactional id was opened, or its transaction ran out of time.`,
    hint: 'Two processes run under one instance name, or two of them feed (--feed), or this one stood still for longer than the transaction timeout. Stop one of them, or let it go on.',
  })
}

/** What a broker answered, where nothing more particular is known. */
export function brokerError(doing: string, error: number, message?: string | null): TidemarkError {
  const { name, sentence } = kafkaError(error)
  return new TidemarkError('BROKER_ERROR', `a broker refused to ${doing}: ${name}`, {
    detail: message === undefined || message === null || message === '' ? sentence : `${sentence} The broker says: ${message}`,
  })
}

/** A right that is missing, with the line that grants it. */
export function missingRight(right: string, on: string): TidemarkError {
  const implied = right === 'describe' ? ', which READ and WRITE imply' : ''
  return new TidemarkError('NOT_AUTHORIZED', `this user may not ${right} ${on}`, {
    detail: `The broker refused for want of the right ${right.toUpperCase()} on ${on}${implied}.`,
    hint: '"tidemark acl <topology> --format commands" prints the rights that it needs, to be run by an administrator.',
  })
}

/** The error of an answer about a topic. */
export function topicError(doing: string, right: string, topic: string, error: number, message?: string | null): TidemarkError {
  if (error === E.TOPIC_AUTHORIZATION_FAILED) return missingRight(right, `topic "${topic}"`)
  if (error === E.UNKNOWN_TOPIC_OR_PARTITION) return topicUnknown(topic)
  if (error === E.TRANSACTIONAL_ID_AUTHORIZATION_FAILED) return missingRight('write', 'its transactional id')
  if (error === E.CLUSTER_AUTHORIZATION_FAILED) return missingRight(right, 'the cluster')
  return brokerError(`${doing} topic "${topic}"`, error, message)
}

/** The error of an answer about a group. */
export function groupError(doing: string, group: string, error: number): TidemarkError {
  if (error === E.GROUP_AUTHORIZATION_FAILED) return missingRight('read', `group "${group}"`)
  return brokerError(`${doing} group "${group}"`, error)
}

/** The error of an answer about a transactional id. */
export function writerError(doing: string, id: string, error: number): TidemarkError {
  if (error === E.TRANSACTIONAL_ID_AUTHORIZATION_FAILED) return missingRight('write', `transactional id "${id}"`)
  if (isFenced(error)) return fencedError(id, error)
  return brokerError(`${doing} writer "${id}"`, error)
}

/** An API that is needed, and what a broker has of it. */
export interface LackedApi {
  readonly api: Pick<Api<unknown, unknown>, 'name' | 'versions'>
  readonly range: { readonly minVersion: number; readonly maxVersion: number } | undefined
}
const LACKED_SHOWN = 4

/** A broker that does not speak what is needed. */
export function unsupportedApi(broker: string, lacked: readonly LackedApi[]): TidemarkError {
  const some = lacked.slice(0, LACKED_SHOWN)
  const more = lacked.length > some.length ? `, and ${lacked.length - some.length} more` : ''
  const facts = some.map(({ api: { name, versions }, range }) => {
    const [oldest, newest] = versions
    const has = range === undefined ? `no ${name}` : `${name} ${range.minVersion} to ${range.maxVersion}`
    return `${has} (needed: ${oldest === newest ? oldest : `${oldest} to ${newest}`})`
  })
  return new TidemarkError(
    'API_UNSUPPORTED',
    `broker ${broker} lacks what is needed: ${some.map(({ api }) => api.name).join(', ')}${more}`,
    {
      detail: `It has ${facts.join(', ')}${more}.`,
      hint: 'Kafka 3.7 or newer is needed. A port of a controller also answers, and is the wrong one.',
    },
  )
}

/** Nothing answers: whatever was to be done, for as long as it may take. */
export function unreachable(doing: string, brokers: string, cause: unknown): TidemarkError {
  const foreign = foreignAnswer(cause)
  return new TidemarkError('BROKER_UNREACHABLE', `no broker answered to ${doing}`, {
    detail: `${brokers}: ${messageOf(cause)}${foreign?.detail === undefined ? '' : `. ${foreign.detail}`}`,
    hint: foreign?.hint ?? silenceHint(cause),
    cause,
  })
}

function silenceHint(cause: unknown): string {
  if (/Closed connection/.test(messageOf(cause))) {
    return 'It closed the connection without a word, as brokers do to clients that should log in ("sasl") or speak TLS ("ssl") and do not. Or it is no broker of Kafka.'
  }
  if (/before secure TLS/.test(messageOf(cause))) {
    return 'It may speak no TLS there. Leave "ssl" out, or use the port of its TLS listener.'
  }
  const code = rootCode(cause) ?? ''
  if (['ENOTFOUND', 'EAI_AGAIN'].includes(code)) {
    return 'That name cannot be resolved here. Brokers are asked under the names that they advertise ("advertised.listeners"): these must be reachable from this machine.'
  }
  if (code === 'ECONNREFUSED') {
    return 'Nothing listens there. Is the broker running, and is it this port? "npm run kafka" starts one for development.'
  }
  return 'Is the broker running, and does the network let us through?'
}

export interface ConnectionFailure {
  readonly broker: string
  readonly stage: 'connect' | 'greet' | 'authenticate'
  readonly sasl: string | undefined
  readonly tls: boolean
  readonly cause: unknown
}

const TLS_CODES = /CERT|TLS|SSL|EPROTO|SELF_SIGNED|UNABLE_TO|ALTNAME/

/** Why a socket could not be used: something to try again (`LinkLost`), or something that a person must change. */
export function connectionFailure({ broker, stage, sasl, tls, cause }: ConnectionFailure): Error {
  if (cause instanceof LinkLost || (cause instanceof TidemarkError && cause.code !== 'WIRE_INVALID')) return cause
  if (cause instanceof LoginRefused) {
    const { does, hint } = REFUSED[cause.what]
    return new TidemarkError('AUTHENTICATION_FAILED', `broker ${broker} ${does}`, { detail: `${sasl}: ${cause.message}`, hint })
  }
  const code = rootCode(cause) ?? ''
  if (stage === 'connect' && tls && (TLS_CODES.test(code) || /certificate|altnames|wrong version number|ssl/i.test(messageOf(cause)))) {
    return new TidemarkError('TLS_FAILED', `broker ${broker} and this client do not agree on TLS`, {
      detail: withoutPrefix(messageOf(cause)),
      hint: /wrong version|EPROTO/i.test(messageOf(cause) + code)
        ? 'That listener speaks no TLS. Leave "ssl" out, or use the port of its TLS listener.'
        : 'Give the certificate of the authority that signed the broker\'s ("ssl.caFile"), and the host name that is in it.',
      cause,
    })
  }
  // A broker that refuses says so. One that is lost, or slow, or not understood may let us in the next time.
  if (stage === 'authenticate') return new LinkLost(`logging in to ${broker} (${sasl})`, false, cause)
  if (stage === 'connect') return new LinkLost(`connecting to ${broker}`, false, cause)
  // The broker gives no reason when it closes a socket: a client without login or TLS looks like noise to it.
  const why =
    tls || sasl !== undefined
      ? 'Is this the port of a listener with these settings?'
      : 'Does this listener want TLS ("ssl") or a login ("sasl"), or is it no port of Kafka?'
  return new LinkLost(`${broker} closed the connection, or did not answer in the protocol of Kafka. ${why}`, false, cause)
}

/** What came instead of an answer, when that is why nobody answered. */
function foreignAnswer(cause: unknown): TidemarkError | undefined {
  for (let each = cause; each instanceof Error; each = each.cause) {
    if (each instanceof TidemarkError && each.code === 'WIRE_INVALID') return each
  }
  return undefined
}

function withoutPrefix(message: string): string {
  return message.replace(/^Connection error: /, '')
}

/** The system's code of the first cause that has one. */
function rootCode(error: unknown): string | undefined {
  for (let each = error as { code?: unknown; cause?: unknown } | undefined, depth = 0; each != null && depth < 5; depth++) {
    if (typeof each.code === 'string') return each.code
    each = each.cause as typeof each
  }
  return undefined
}
