/**
 * TLS, logins and access lists for a cluster of tests: a certificate made for this one start, users with passwords or tokens, nothing allowed by
 * default.
 */
import { join } from 'node:path'
import { TidemarkError } from '../../base/errors.ts'
import { nodeClock, nodeRandom } from '../../drivers/node/index.ts'
import { type Java, run, tailOf } from './java.ts'
import { CLIENT_LISTENER } from './properties.ts'

export interface KafkaSecurity {
  /**
   * Passwords by user name. They log in with SCRAM-SHA-512, SCRAM-SHA-256 or PLAIN over TLS, and may do what access lists grant them:
   * nothing, before an administrator grants it.
   */
  readonly users: Readonly<Record<string, string>>
  /**
   * Lets in with OAUTHBEARER, too, whoever has a token of `unsignedToken`: as anybody, because nothing signs it. Kafka makes this for
   * development, and it proves a client's part of the login; what an issuer signs is checked by other code of the broker. Default false.
   */
  readonly tokens?: boolean
  /** Users that may do everything. Default none; `adminBrokers` needs no login. */
  readonly superUsers?: readonly string[]
}

export interface SecuredAccess {
  /** The certificate to trust, as PEM. It is valid for 127.0.0.1 and localhost. */
  readonly ca: string
}

const NAME = /^[\w.-]+$/
const PASSWORD = /^[\w.~!@#%^&*+-]+$/

/** @throws TidemarkError OPTION_INVALID for a name or password with letters that Kafka's tools give a meaning */
export function checkSecurity({ users, tokens = false, superUsers = [] }: KafkaSecurity): void {
  for (const [name, password] of Object.entries(users)) {
    if (NAME.test(name) && PASSWORD.test(password)) continue
    throw new TidemarkError('OPTION_INVALID', `the user "${name}" of the test cluster, or the password, has letters that are not allowed`, {
      hint: 'Use letters, digits, ".", "_" and "-"; in passwords also ~!@#%^&*+.',
    })
  }
  const stranger = superUsers.find((name) => users[name] === undefined && !(tokens && NAME.test(name)))
  if (stranger !== undefined)
    throw new TidemarkError('OPTION_INVALID', `the super user "${stranger}" is not among the users`, {
      hint: `Users are ${Object.keys(users).join(', ') || 'none'}: give it a password there.`,
    })
}

/** Makes the certificate, and the broker's properties that go with it. */
export async function securityOf(
  java: Java,
  folder: string,
  { users, tokens = false, superUsers = [] }: KafkaSecurity,
): Promise<{ readonly access: SecuredAccess; readonly properties: Readonly<Record<string, string>> }> {
  const keystore = join(folder, 'keystore.p12')
  const password = nodeRandom.id()
  const store = ['-keystore', keystore, '-storetype', 'PKCS12', '-storepass', password, '-alias', 'broker']
  const subject = ['-dname', 'CN=127.0.0.1', '-ext', 'san=ip:127.0.0.1,dns:localhost', '-validity', '30']
  await keytool(java, ['-genkeypair', ...store, '-keyalg', 'EC', '-groupname', 'secp256r1', ...subject])
  const said = await keytool(java, ['-exportcert', '-rfc', ...store])
  const ca = /-----BEGIN CERTIFICATE-----[\s\S]*?-----END CERTIFICATE-----/.exec(said)?.[0]
  if (ca === undefined)
    throw new TidemarkError('TEST_BROKER_FAILED', 'keytool did not print the certificate', {
      detail: tailOf(said),
      hint: 'It comes with the JDK: is JAVA_HOME, or the java in PATH, a whole JDK from 17 on?',
    })
  const listener = `listener.name.${CLIENT_LISTENER.toLowerCase()}`
  const plainUsers = Object.entries(users).map(([name, secret]) => `user_${name}="${secret}"`)
  const scram = 'org.apache.kafka.common.security.scram.ScramLoginModule required;'
  return {
    access: { ca: `${ca.replaceAll('\r', '')}\n` },
    properties: {
      [`${listener}.ssl.keystore.location`]: keystore,
      [`${listener}.ssl.keystore.type`]: 'PKCS12',
      [`${listener}.ssl.keystore.password`]: password,
      [`${listener}.ssl.key.password`]: password,
      [`${listener}.sasl.enabled.mechanisms`]: `SCRAM-SHA-512,SCRAM-SHA-256,PLAIN${tokens ? ',OAUTHBEARER' : ''}`,
      [`${listener}.scram-sha-512.sasl.jaas.config`]: scram,
      [`${listener}.scram-sha-256.sasl.jaas.config`]: scram,
      [`${listener}.plain.sasl.jaas.config`]: `org.apache.kafka.common.security.plain.PlainLoginModule required ${plainUsers.join(' ')};`,
      ...(tokens ? bearerProperties(`${listener}.oauthbearer`) : {}),
      'authorizer.class.name': 'org.apache.kafka.metadata.authorizer.StandardAuthorizer',
      // Who comes over the plain listeners has no name: the other brokers, and the administrator of the test.
      'super.users': ['ANONYMOUS', ...superUsers].map((name) => `User:${name}`).join(';'),
    },
  }
}

const OAUTH = 'org.apache.kafka.common.security.oauthbearer'

function bearerProperties(mechanism: string): Readonly<Record<string, string>> {
  return {
    // The broker logs in itself, although nobody asks it to.
    [`${mechanism}.sasl.jaas.config`]: `${OAUTH}.OAuthBearerLoginModule required unsecuredLoginStringClaim_sub="broker";`,
    [`${mechanism}.sasl.login.callback.handler.class`]: `${OAUTH}.internals.unsecured.OAuthBearerUnsecuredLoginCallbackHandler`,
    [`${mechanism}.sasl.server.callback.handler.class`]: `${OAUTH}.internals.unsecured.OAuthBearerUnsecuredValidatorCallbackHandler`,
  }
}

/**
 * A token for the login with OAUTHBEARER at a test cluster with `tokens`: an unsigned JWS, good from now on.
 * @param user who logs in, the claim `sub`
 * @param lifetimeMs how long it is good, ms; one that is over already when this is negative. Default one hour.
 * @example kafka({ brokers, ssl, sasl: { mechanism: 'oauthbearer', token: async () => unsignedToken('retail') } })
 */
export function unsignedToken(user: string, lifetimeMs = 3_600_000): string {
  const now = nodeClock.now()
  const claims = { sub: user, iat: Math.min(now, now + lifetimeMs - 1) / 1_000, exp: (now + lifetimeMs) / 1_000 }
  const part = (content: object): string => Buffer.from(JSON.stringify(content)).toString('base64url')
  return `${part({ alg: 'none' })}.${part(claims)}.`
}

async function keytool(java: Java, args: readonly string[]): Promise<string> {
  const { status, output } = await run(java.keytool, args)
  if (status === 0) return output
  throw new TidemarkError('TEST_BROKER_UNAVAILABLE', 'keytool could not make a certificate', {
    detail: status === -1 ? `There is no ${java.keytool}.` : tailOf(output),
    hint: 'Install a full Java (a JRE with its tools); keytool is part of it.',
  })
}
