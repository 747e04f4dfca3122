/**
 * Logins by kafkajs's own mechanisms, with what went wrong told apart. kafkajs says of a socket that was lost, of a deadline that passed and of
 * a broker that refuses one and the same thing, and forgets the cause; only the last is for a person to mend.
 */
import { messageOf } from '../../base/errors.ts'
import { LoginRefused } from './failures.ts'
import { KAFKA_ERROR as E } from './wire/errors.ts'

/** What kafkajs hands to a mechanism. */
export interface LoginTools {
  readonly saslAuthenticate: (message: unknown) => Promise<unknown>
}
/** A mechanism, as kafkajs has them and takes them. */
export type Mechanism = (tools: LoginTools) => { authenticate(): Promise<void> }

/** What a broker may ask of SCRAM: more rounds than this would keep a thread for seconds, and brokers have 4096 to 16384. */
const ROUNDS_MAX = 1_000_000

/** The same mechanism, failing with what really happened: `LoginRefused` when the broker said no. */
export function candid(mechanism: Mechanism): Mechanism {
  return (tools) => ({
    authenticate: async () => {
      let failure: unknown
      const saslAuthenticate = async (message: unknown): Promise<unknown> => {
        try {
          const answer = await tools.saslAuthenticate(message)
          checkAnswer(answer)
          return answer
        } catch (error) {
          failure = refusalOf(error, 'password')
          throw failure
        }
      }
      try {
        await mechanism({ ...tools, saslAuthenticate }).authenticate()
      } catch (error) {
        throw failure ?? error
      }
    },
  })
}

/** What a broker said no to, or the error as it was: then it said nothing that can be believed. */
export function refusalOf(error: unknown, asked: 'password' | 'mechanism'): unknown {
  if (error instanceof LoginRefused) return error
  const { code } = error as { code?: unknown }
  if (code === E.SASL_AUTHENTICATION_FAILED) return new LoginRefused('password', messageOf(error))
  if (asked === 'mechanism' && (code === E.UNSUPPORTED_SASL_MECHANISM || code === E.ILLEGAL_SASL_STATE)) {
    return new LoginRefused('mechanism', messageOf(error))
  }
  return error
}

/** Of SCRAM's answers, what kafkajs does not look at (RFC 5802): `e` refuses, `i` is how many rounds are asked for. */
function checkAnswer(answer: unknown): void {
  if (typeof answer !== 'object' || answer === null) return
  const { e, i } = answer as { e?: unknown; i?: unknown }
  if (typeof e === 'string') throw new LoginRefused('password', e)
  if (Number(i) > ROUNDS_MAX) throw new Error(`the broker asks for ${Number(i)} rounds, and ${ROUNDS_MAX} are the most`)
}
