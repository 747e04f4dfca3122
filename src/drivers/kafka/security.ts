/**
 * TLS and logins. Secrets come from files or from the environment, are read when the log is opened, and are in no error and no output.
 */
import { readFile } from 'node:fs/promises'
import { env } from 'node:process'
import { messageOf, TidemarkError } from '../../base/errors.ts'
import { bearerLogin } from './oauth.ts'

export interface Ssl {
  /** Certificates of the authorities that may sign the brokers', PEM. Default: those that Node trusts. */
  readonly caFile?: string
  /** Our own certificate, for brokers that ask for one, PEM. */
  readonly certFile?: string
  readonly keyFile?: string
  /** The name that the brokers' certificates carry, when it is not the host that we connect to. */
  readonly serverName?: string
}

/** Where a secret is: in a file, whose last line end is left out, or in an environment variable. */
export type Secret<Name extends string> = { readonly [N in `${Name}File`]?: string } & { readonly [N in `${Name}Env`]?: string }

/** A login that says its secret as it is. */
export interface Revealing {
  /**
   * Log in without TLS, too: whoever is on the way reads the secret. Default false: that is refused, but to brokers on the loopback.
   * @example withoutTls: true // the network between here and there is encrypted by itself
   */
  readonly withoutTls?: boolean
}

export type Sasl =
  | ({ readonly mechanism: 'plain'; readonly username: string } & Secret<'password'> & Revealing)
  | ({ readonly mechanism: 'scram-sha-256' | 'scram-sha-512'; readonly username: string } & Secret<'password'>)
  | ({
      readonly mechanism: 'oauthbearer'
      /**
       * Gives a token that is good for a while, without "Bearer" before it. Called for every connection, and again before a login runs out: when
       * 85 % of what the broker gave it have passed, or all but the last 10 s. The broker gives it what the token has left, and no more than its
       * `connections.max.reauth.ms` where that is set. The new login has a new connection, after all that was asked over the old one is answered;
       * nothing fails for it.
       *
       * When it rejects, or takes longer than `connectMs`, that is as if the broker could not be reached: it is asked again. A token that the
       * broker refuses is AUTHENTICATION_FAILED, which ends a worker: do not give out one that has run out.
       */
      readonly token: () => Promise<string>
    } & Revealing)

/** Mechanisms that say the secret as it is; SCRAM never does. */
const REVEALING: ReadonlySet<string> = new Set(['plain', 'oauthbearer'])
const LOOPBACK = /^(localhost|127(\.\d{1,3}){3}|::1)$/i

/**
 * Refuses to send a password or a token where others can read it.
 * @throws TidemarkError OPTION_INVALID
 */
export function requireSecrecy(
  host: string,
  { sasl, tls, withoutTls }: { readonly sasl: string | undefined; readonly tls: boolean; readonly withoutTls: boolean },
): void {
  if (sasl === undefined || !REVEALING.has(sasl) || tls || withoutTls || LOOPBACK.test(host)) return
  const what = sasl === 'plain' ? 'password' : 'token'
  throw new TidemarkError('OPTION_INVALID', `the ${what} would be readable by everybody on the way to ${host}`, {
    detail: `"sasl" is ${sasl}, which sends the ${what} as it is, and "ssl" is not set.`,
    hint: 'Set "ssl", and use the port of the TLS listener. Or say that the way is safe: "sasl.withoutTls".',
  })
}

const MECHANISMS = ['plain', 'scram-sha-256', 'scram-sha-512', 'oauthbearer']

/** What `tls.connect` takes. @throws TidemarkError OPTION_INVALID */
export async function sslOf(ssl: boolean | Ssl | undefined): Promise<object | undefined> {
  if (ssl === undefined || ssl === false) return undefined
  if (ssl === true) return {}
  const { caFile, certFile, keyFile, serverName } = ssl
  if ((certFile === undefined) !== (keyFile === undefined)) {
    throw new TidemarkError('OPTION_INVALID', '"ssl.certFile" and "ssl.keyFile" go together', {
      hint: 'Give both, to be known by a certificate of your own, or neither.',
    })
  }
  return {
    ...(caFile === undefined ? {} : { ca: await file('ssl.caFile', caFile) }),
    ...(certFile === undefined ? {} : { cert: await file('ssl.certFile', certFile) }),
    ...(keyFile === undefined ? {} : { key: await file('ssl.keyFile', keyFile) }),
    ...(serverName === undefined ? {} : { servername: serverName }),
  }
}

/** What kafkajs takes. @throws TidemarkError OPTION_INVALID */
export async function saslOf(sasl: Sasl | undefined, connectMs: number): Promise<Readonly<Record<string, unknown>> | undefined> {
  if (sasl === undefined) return undefined
  if (!MECHANISMS.includes(sasl.mechanism)) {
    throw new TidemarkError('OPTION_INVALID', `"sasl.mechanism" is ${JSON.stringify(sasl.mechanism)}`, {
      hint: `It is one of ${MECHANISMS.join(', ')}.`,
    })
  }
  if (sasl.mechanism === 'oauthbearer') {
    if (typeof sasl.token !== 'function') {
      throw new TidemarkError('OPTION_INVALID', '"sasl.token" is no function', {
        hint: 'Give one that resolves to a token, as `async () => ...`.',
      })
    }
    return { mechanism: 'oauthbearer', authenticationProvider: bearerLogin(sasl.token, connectMs) }
  }
  if (!REVEALING.has(sasl.mechanism) && 'withoutTls' in sasl) {
    throw new TidemarkError('OPTION_INVALID', `"sasl.withoutTls" says nothing about ${sasl.mechanism}`, {
      hint: 'Leave it out: this mechanism never sends the password itself.',
    })
  }
  const { mechanism, username, passwordFile, passwordEnv } = sasl
  if (username === '') throw new TidemarkError('OPTION_INVALID', '"sasl.username" is empty', { hint: 'Name who logs in.' })
  if ((passwordFile === undefined) === (passwordEnv === undefined)) {
    throw new TidemarkError('OPTION_INVALID', 'a login needs "sasl.passwordFile" or "sasl.passwordEnv", and not both', {
      hint: 'Such as passwordFile: "/run/secrets/kafka". A password is never an option itself.',
    })
  }
  const password =
    passwordFile === undefined ? env[passwordEnv as string] : (await file('sasl.passwordFile', passwordFile)).replace(/\r?\n$/, '')
  if (password === undefined || password === '') {
    throw new TidemarkError(
      'OPTION_INVALID',
      `there is no password in ${passwordFile === undefined ? `variable ${passwordEnv}` : passwordFile}`,
      { hint: passwordFile === undefined ? 'Set it, or name a file with "sasl.passwordFile".' : 'Its first line must be the password.' },
    )
  }
  return { mechanism, username, password }
}

async function file(option: string, path: string): Promise<string> {
  try {
    return await readFile(path, 'utf8')
  } catch (error) {
    throw new TidemarkError('OPTION_INVALID', `the file of "${option}" cannot be read`, {
      detail: messageOf(error),
      hint: 'Look at the path, and whether this user may read the file.',
      cause: error,
    })
  }
}
