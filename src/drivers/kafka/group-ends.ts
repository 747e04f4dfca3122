/** How a membership ends, by what the group said. */
import { TidemarkError } from '../../base/errors.ts'
import { groupError } from './failures.ts'
import { KAFKA_ERROR as E, kafkaError } from './wire/errors.ts'

/** Membership is over; the member joins again, but for one that was replaced or may not be one. */
export class Ended extends Error {
  readonly failure: TidemarkError
  readonly how: 'again' | 'anew' | 'for good'
  /** @param how `again` under the same member id, `anew` as another member, or not `for good` */
  constructor(failure: TidemarkError, how: 'again' | 'anew' | 'for good') {
    super(failure.message)
    this.failure = failure
    this.how = how
  }
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
    case E.INCONSISTENT_GROUP_PROTOCOL:
      return new Ended(groupError(doing, group, error), 'for good')
    default: {
      const lost = new TidemarkError('MEMBER_LOST', `group "${group}" has given up a member`, {
        detail: `Member ${member || '(new)'}: the broker answered ${kafkaError(error).name}.`,
      })
      return new Ended(lost, error === E.ILLEGAL_GENERATION ? 'again' : 'anew')
    }
  }
}
