/** How a simulated broker serves one API: bytes in, bytes out, by our own codec. */
import type { Api } from '../../drivers/kafka/wire/api.ts'
import { decodeRequest, encodeResponse } from '../../drivers/kafka/wire/framing.ts'
import type { SimKafka } from './cluster.ts'
import type { Answered } from './line.ts'

const FETCH = 1

export interface Call {
  readonly kafka: SimKafka
  /** The broker that was asked. */
  readonly node: number
  readonly version: number
  readonly clientId: string
}

export type Handler = (kafka: SimKafka, node: number, frame: Buffer) => Promise<Answered>

export function serve<Request, Response>(
  api: Api<Request, Response>,
  answer: (request: Request, call: Call) => Response | Promise<Response>,
): readonly [key: number, handler: Handler] {
  return [
    api.key,
    async (kafka, node, frame) => {
      const { header, request } = decodeRequest(api, frame)
      const { version, correlationId, clientId } = header
      const response = await answer(request, { kafka, node, version, clientId: clientId ?? '' })
      const bytes = encodeResponse(api, version, correlationId, response)
      const throttleMs = kafka.throttle({ api: api.name, clientId: clientId ?? '', bytes: bytes.length, asked: frame.length })
      if (throttleMs === 0) return { bytes, throttleMs }
      // What a quota keeps back is not sent at all: a Fetch is answered with nothing.
      const held = { ...response, throttleMs, ...(api.key === FETCH ? { topics: [] } : {}) }
      return { bytes: encodeResponse(api, version, correlationId, held), throttleMs }
    },
  ]
}
