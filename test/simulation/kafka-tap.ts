/**
 * A tap on the sockets of a driver: requests are taken apart, may be changed, and are put together again, so a deliberate bug is what a broker
 * sees of it, and the driver holds no switch for it.
 */
import { nativeCodecs } from '../../src/drivers/codecs/index.ts'
import type { Dial, Line, Outgoing } from '../../src/drivers/kafka/sockets.ts'
import { APIS } from '../../src/drivers/kafka/wire/apis.ts'
import { decodeRequest, decodeResponse, encodeRequestParts, encodeResponse } from '../../src/drivers/kafka/wire/framing.ts'
import type { ProduceRequest } from '../../src/drivers/kafka/wire/produce.ts'

export interface Tap {
  /** By the name of the API: what is sent in place of a request. */
  readonly sends?: Readonly<Record<string, (request: never) => unknown>>
  /** By the name of the API: what is answered in place of a broker, which hears nothing then, as a value, as bytes, or later; undefined lets the request pass. */
  readonly answers?: Readonly<Record<string, (request: never) => unknown>>
  /** By the name of the API: hears what was answered to which request. */
  readonly hears?: Readonly<Record<string, (answer: never, request: never) => void>>
}

/** Of an answer: its size and its correlation id. */
const ANSWER_HEADER_BYTES = 8

export function tapped(dial: Dial, { sends = {}, answers = {}, hears = {} }: Tap): Dial {
  return async (address, options) => {
    const line = await dial(address, options)
    const exchange = async (outgoing: Outgoing): Promise<Buffer> => {
      const { apiKey, apiName, apiVersion, correlationId, parts } = outgoing
      const change = sends[apiName]
      const hear = hears[apiName]
      const answer = answers[apiName]
      const api = APIS.find(({ key }) => key === apiKey)
      if (api === undefined || (change === undefined && hear === undefined && answer === undefined)) return line.exchange(outgoing)
      const { request, header } = decodeRequest(api, Buffer.concat(parts))
      const instead = answer === undefined ? undefined : await answer(request as never)
      if (instead instanceof Buffer) return instead
      if (instead !== undefined) return encodeResponse(api, apiVersion, correlationId, instead).subarray(ANSWER_HEADER_BYTES)
      const sent = change?.(request as never) ?? request
      const answered = line.exchange({ ...outgoing, parts: encodeRequestParts(api, apiVersion, correlationId, header.clientId, sent) })
      const payload = await answered
      hear?.(decodeResponse(api, apiVersion, payload) as never, sent as never)
      return payload
    }
    return new Proxy(line, { get: (target, name) => (name === 'exchange' ? exchange : bound(target, name)) })
  }
}

function bound(line: Line, name: string | symbol): unknown {
  const value: unknown = Reflect.get(line, name, line)
  return typeof value === 'function' ? (value as (...given: unknown[]) => unknown).bind(line) : value
}

/** A batch as it lies in a request, for whoever changes its sequence. */
export interface SentBatch {
  readonly partition: string
  readonly producerId: number
  readonly epoch: number
  readonly sequence: number
  readonly count: number
}

/** The same request with other sequences in its batches. */
export function resequenced(request: ProduceRequest, sequenceOf: (batch: SentBatch) => number): ProduceRequest {
  const topics = request.topics.map(({ topic, partitions }) => ({
    topic,
    partitions: partitions.map(({ partition, records }) => {
      if (records === null) return { partition, records }
      const bytes = Buffer.from(records)
      const sequence = sequenceOf({
        partition: `${topic}/${partition}`,
        producerId: Number(bytes.readBigInt64BE(43)),
        epoch: bytes.readInt16BE(51),
        sequence: bytes.readInt32BE(53),
        count: bytes.readInt32BE(57),
      })
      bytes.writeInt32BE(sequence, 53)
      bytes.writeUInt32BE(nativeCodecs.crc32c(bytes.subarray(21)), 17)
      return { partition, records: bytes }
    }),
  }))
  return { ...request, topics }
}
