/**
 * The client's part of SASL OAUTHBEARER (RFC 7628). kafkajs has one that takes every answer for a yes: a broker that refuses a token says so in
 * an answer without an error, and fails the login only when the client has confirmed that. So kafkajs runs this instead.
 *
 * A token is in no error and no output, whoever made the error.
 */
import { messageOf, TidemarkError } from '../../base/errors.ts'
import { LinkLost, LoginRefused } from './failures.ts'

/** What kafkajs asks for a login of its user's own. What is sent and what comes has its length before it. */
interface Login {
  readonly saslAuthenticate: (exchange: {
    readonly request: { readonly encode: () => Promise<Buffer> }
    readonly response: { readonly decode: (raw: Buffer) => Promise<Buffer>; readonly parse: (content: Buffer) => Promise<Buffer> }
  }) => Promise<Buffer>
}

/** What RFC 6750 lets a token have. Anything else could change what is said around it. */
const TOKEN = /^[A-Za-z0-9._~+/-]+=*$/
const SEPARATOR = '\u0001'
/** Of what a broker says about a token. */
const WORDS_MAX = 500

/** Logs in over a connection. @param connectMs how long a token is waited for, ms */
export function bearerLogin(token: () => Promise<string>, connectMs: number): (login: Login) => { authenticate(): Promise<void> } {
  return ({ saslAuthenticate }) => ({
    authenticate: async () => {
      const given = await tokenOf(token, connectMs)
      const send = (message: string): Promise<Buffer> =>
        saslAuthenticate({
          request: { encode: () => Promise.resolve(framed(message)) },
          response: { decode: (raw) => Promise.resolve(raw.subarray(4)), parse: (content) => Promise.resolve(content) },
        })
      let said = ''
      try {
        said = (await send(`n,,${SEPARATOR}auth=Bearer ${given}${SEPARATOR}${SEPARATOR}`)).toString()
        if (said === '') return
        await send(SEPARATOR)
      } catch (error) {
        if (said === '' && (error as { type?: unknown }).type !== 'SASL_AUTHENTICATION_FAILED') throw error
        said ||= messageOf(error)
      }
      throw new LoginRefused('token', said.replaceAll(given, '(the token)').slice(0, WORDS_MAX))
    },
  })
}

/**
 * @throws LinkLost when there is none now: who gives them out may be away for a while, and that ends no worker
 * @throws TidemarkError OPTION_INVALID for what is no token
 */
async function tokenOf(token: () => Promise<string>, connectMs: number): Promise<string> {
  let given: unknown
  let late: NodeJS.Timeout | undefined
  try {
    const deadline = new Promise<never>((_, reject) => {
      late = setTimeout(() => reject(new Error(`"sasl.token" gave no token within ${connectMs} ms`)), connectMs)
    })
    given = await Promise.race([token(), deadline])
  } catch (error) {
    throw error instanceof TidemarkError ? error : new LinkLost('there is no token to log in with', false, error)
  } finally {
    clearTimeout(late)
  }
  if (typeof given === 'string' && TOKEN.test(given)) return given
  throw new TidemarkError('OPTION_INVALID', 'what "sasl.token" gave is no token to log in with', {
    detail: typeof given === 'string' ? `It has ${given.length} characters.` : `It is of type ${typeof given}.`,
    hint: 'It must resolve to the token alone: letters, digits and "-._~+/=", without "Bearer" and without a line end.',
  })
}

function framed(message: string): Buffer {
  const content = Buffer.from(message)
  const length = Buffer.alloc(4)
  length.writeInt32BE(content.length)
  return Buffer.concat([length, content])
}
