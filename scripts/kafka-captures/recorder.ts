/** What is captured, and where it is kept: one JSON file an API, bytes as hex, so that a change shows in a diff. */
import { mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'

export interface Capture {
  /** What happened. */
  readonly name: string
  /** Who wrote the request: `tidemark`, or the name of an independent client. */
  readonly client: string
  /** Kafka's version. */
  readonly broker: string
  readonly version: number
  /** Whole frames with size and header, as hex. */
  readonly request: string
  readonly response: string
}
interface CaptureFile {
  readonly api: string
  readonly key: number
  readonly captures: readonly Capture[]
}

interface Named {
  readonly key: number
  readonly name: string
}

const DIRECTORY = join(import.meta.dirname, '..', '..', 'test', 'drivers', 'kafka', 'captures')
/** Larger frames prove nothing more. */
const FRAME_BYTES_MAX = 6000

export class Recorder {
  readonly broker: string
  private readonly files = new Map<number, { api: string; captures: Capture[] }>()

  constructor(broker: string) {
    this.broker = broker
  }

  add({ key, name }: Named, capture: Omit<Capture, 'broker' | 'request' | 'response'>, request: Buffer, response: Buffer): void {
    if (request.length > FRAME_BYTES_MAX || response.length > FRAME_BYTES_MAX) return
    const file = this.files.get(key) ?? { api: name, captures: [] }
    this.files.set(key, file)
    const { name: what, client, version } = capture
    file.captures.push({
      name: what,
      client,
      broker: this.broker,
      version,
      request: request.toString('hex'),
      response: response.toString('hex'),
    })
  }

  count({ key }: Named, which: (capture: Capture) => boolean): number {
    return this.files.get(key)?.captures.filter(which).length ?? 0
  }

  /** Replaces the captures of one client with this broker, and leaves those of others. */
  save(client: string): string[] {
    mkdirSync(DIRECTORY, { recursive: true })
    return [...this.files].map(([key, { api, captures }]) => {
      const file = `${api.replaceAll(/(?<=[a-z])(?=[A-Z])/g, '-').toLowerCase()}.json`
      const path = join(DIRECTORY, file)
      const kept = readdirSync(DIRECTORY).includes(file)
        ? (JSON.parse(readFileSync(path, 'utf8')) as CaptureFile).captures.filter(
            (capture) => !(capture.client.startsWith(client) && capture.broker === this.broker),
          )
        : []
      const content: CaptureFile = { api, key, captures: [...kept, ...captures] }
      writeFileSync(path, `${JSON.stringify(content, undefined, 2)}\n`)
      return `${api}: ${captures.length} of ${client} with ${this.broker}`
    })
  }
}
