/** How a membership ends, by what the group said, and what no later try can change. */
import { codeOf, type ErrorCode, TidemarkError } from '../../base/errors.ts'
import { groupError, LinkLost } from './failures.ts'
import { KAFKA_ERROR as E, kafkaError } from './wire/errors.ts'

/**
 * Whether it is tried again: `again` under the same member id, `anew` as another member, never, because it is over `for good`, or anew for a
 * session, and never again `when it lasts`: until then dead members may take the room.
 */
type How = 'again' | 'anew' | 'when it lasts' | 'for good'

/** All that a broker tells of a group whose record it could not write. */
const TOO_LARGE =
  'If it goes on, look into the log of the broker. What a group decides is one record of the topic __consumer_offsets: with very many tasks and workers it may be larger than that topic takes ("max.message.bytes").'

/** Membership is over; the member joins again, but for one that was replaced or may not be one. */
export class Ended extends Error {
  readonly failure: TidemarkError
  readonly how: How
  constructor(failure: TidemarkError, how: How) {
    super(failure.message)
    this.failure = failure
    this.how = how
  }
}

/** Errors that only a person can mend. All others pass, and what met one tries again. */
const FINAL: ReadonlySet<ErrorCode> = new Set([
  'MEMBER_REPLACED',
  'OPTION_INVALID',
  'GROUP_REFUSED',
  'NOT_AUTHORIZED',
  'AUTHENTICATION_FAILED',
  'TLS_FAILED',
  'API_UNSUPPORTED',
  'KAFKAJS_UNSUPPORTED',
  'LOG_CLOSED',
])

/** Whether trying again is in vain: for want of a right or a setting, or because it is a defect, which has no code. */
export function isFinal(error: unknown): boolean {
  const code = codeOf(error)
  return code === undefined ? !(error instanceof LinkLost) : FINAL.has(code)
}

export interface Member {
  readonly group: string
  /** '' before the group gave it an id. */
  readonly member: string
  readonly instance: string | undefined
  readonly sessionMs: number
}

/** What the group said, as the end of this membership. */
export function endOf({ group, member, instance, sessionMs }: Member, doing: string, error: number): Ended {
  switch (error) {
    case E.FENCED_INSTANCE_ID:
      return new Ended(
        new TidemarkError('MEMBER_REPLACED', `another process is "${instance}" of group "${group}" by now`, {
          detail: `Member ${member} was replaced and is not let in again.`,
          hint: 'Two processes run under one instance name. Give each its own, or stop one of them.',
        }),
        'for good',
      )
    case E.INVALID_SESSION_TIMEOUT:
      return new Ended(
        new TidemarkError('OPTION_INVALID', 'the brokers do not allow such a session', {
          detail: `sessionMs is ${sessionMs}.`,
          hint: 'The limits are "group.min.session.timeout.ms" and "group.max.session.timeout.ms" of the brokers: 6 s and 30 min unless set.',
        }),
        'for good',
      )
    case E.GROUP_AUTHORIZATION_FAILED:
      return new Ended(groupError(doing, group, error), 'for good')
    case E.INCONSISTENT_GROUP_PROTOCOL:
      return new Ended(
        new TidemarkError('GROUP_REFUSED', `group "${group}" belongs to another kind of program`, {
          detail: 'Its members share out their work by a protocol that is not that of tidemark.',
          hint: 'Stop what else uses a group of this name, or give the application another name.',
        }),
        'for good',
      )
    case E.GROUP_MAX_SIZE_REACHED:
      return new Ended(
        new TidemarkError('GROUP_REFUSED', `group "${group}" has as many members as it may have`, {
          detail: 'A member that died counts until its session is over, so it is tried for as long as one lasts.',
          hint: 'Stop a worker, or raise "group.max.size" of the brokers.',
        }),
        'when it lasts',
      )
    default: {
      const lost = new TidemarkError('MEMBER_LOST', `group "${group}" has given up a member`, {
        detail: `Member ${member || '(new)'}: the broker answered ${kafkaError(error).name} when it was to ${doing} the group.`,
        hint: error === E.UNKNOWN_SERVER_ERROR ? TOO_LARGE : undefined,
      })
      // As another member it would leave the one that it was behind.
      return new Ended(lost, error === E.ILLEGAL_GENERATION || error === E.UNKNOWN_SERVER_ERROR ? 'again' : 'anew')
    }
  }
}
