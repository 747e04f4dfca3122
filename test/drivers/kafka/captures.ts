/** What scripts/kafka-captures.ts recorded, ready for tests. */
import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { APIS, type Api } from '../../../src/drivers/kafka/wire/index.ts'

export interface Captured {
  readonly api: Api<unknown, unknown>
  readonly name: string
  readonly client: string
  /** Kafka's version. */
  readonly broker: string
  readonly version: number
  /** Whole frames, size and header included. */
  readonly request: Buffer
  readonly response: Buffer
}

/** Where the captures lie that name no version that we speak: the broker's refusal is what counts. */
export const UNKNOWN_VERSION = 99

const FOLDER = join(import.meta.dirname, 'captures')

export const captures: readonly Captured[] = readdirSync(FOLDER).flatMap((file) => {
  const { key, captures } = JSON.parse(readFileSync(join(FOLDER, file), 'utf8')) as {
    key: number
    captures: { name: string; client: string; broker: string; version: number; request: string; response: string }[]
  }
  const api = APIS.find((each) => each.key === key)
  if (api === undefined) throw new Error(`${file} is of no API that we speak`)
  return captures.map(({ request, response, ...rest }) => ({
    ...rest,
    api,
    request: Buffer.from(request, 'hex'),
    response: Buffer.from(response, 'hex'),
  }))
})

/** One capture of ours by the name that the script gave it. */
export function captured(api: string, name: string, broker = '4.3.1'): Captured {
  const found = captures.find((each) => each.api.name === api && each.name === name && each.client === 'tidemark' && each.broker === broker)
  if (found === undefined) throw new Error(`there is no capture "${name}" of ${api}`)
  return found
}
