/** How a simulated broker serves one API: bytes in, bytes out, by our own codec. */
import type { Api } from '../../drivers/kafka/wire/api.ts'
import { decodeRequest, encodeResponse } from '../../drivers/kafka/wire/framing.ts'
import type { SimKafka } from './cluster.ts'

export interface Call {
  readonly kafka: SimKafka
  /** The broker that was asked. */
  readonly node: number
  readonly version: number
  readonly clientId: string
}

export type Handler = (kafka: SimKafka, node: number, frame: Buffer) => Promise<Buffer>

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
      return encodeResponse(api, version, correlationId, response)
    },
  ]
}
