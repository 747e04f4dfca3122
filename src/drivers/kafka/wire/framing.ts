/**
 * What surrounds a body on the wire.
 *
 *   request  => size:int32 apiKey:int16 apiVersion:int16 correlationId:int32 clientId:nullable classic string tags body   (header 2)
 *   response => size:int32 correlationId:int32 tags body   (header 1; ApiVersions has no tags here, header 0, so that an old broker's
 *               answer can be read before anybody knows how old it is)
 */
import type { Api } from './api.ts'
import { WireReader, WireWriter } from './bytes.ts'

const API_VERSIONS_KEY = 18
const SIZE_BYTES = 4
/** Of a request: size, key, version, correlation id. */
const FIXED_BYTES = 12

export interface RequestHeader {
  readonly key: number
  readonly version: number
  readonly correlationId: number
  readonly clientId: string | null
}

/**
 * A whole request in one piece.
 * @throws TypeError for a value that its field or this version cannot hold
 * @example socket.write(encodeRequest(heartbeat, 4, 17, 'tidemark', { groupId: 'retail', generationId: 3, memberId, instanceId: null }))
 */
export function encodeRequest<Request>(
  api: Api<Request, unknown>,
  version: number,
  correlationId: number,
  clientId: string | null,
  request: Request,
): Buffer {
  return requestWriter(api, version, correlationId, clientId, request).bytes()
}

/** The same in pieces for `writev`, for a socket of our own: large record sets are referred to, not copied. */
export function encodeRequestParts<Request>(
  api: Api<Request, unknown>,
  version: number,
  correlationId: number,
  clientId: string | null,
  request: Request,
): Buffer[] {
  return requestWriter(api, version, correlationId, clientId, request).parts()
}

/**
 * An answer from what follows its correlation id.
 * @throws TidemarkError WIRE_INVALID
 * @example decodeResponse(fetch, 12, frame.subarray(8))
 */
export function decodeResponse<Response>(api: Api<unknown, Response>, version: number, bytes: Buffer): Response {
  const reader = responseReader(api, version, bytes)
  const response = api.decode(reader, version)
  refuseRest(reader)
  return response
}

/** The correlation id of a whole answer, size included. */
export function correlationIdOf(frame: Buffer): number {
  const reader = new WireReader(frame, SIZE_BYTES)
  reader.message = 'an answer'
  return reader.int32()
}

/** The header of a whole request, size included, and a reader at the tags before its body. For tests, proxies and captures. */
export function readRequestHeader(frame: Buffer): { header: RequestHeader; reader: WireReader } {
  const reader = new WireReader(frame, SIZE_BYTES)
  reader.message = 'a request'
  const key = reader.int16()
  const version = reader.int16()
  const correlationId = reader.int32()
  reader.flexible = false
  const clientId = reader.nullableString()
  reader.flexible = true
  return { header: { key, version, correlationId, clientId }, reader }
}

/** The request in a whole frame, size included. For tests, proxies and captures. */
export function decodeRequest<Request>(api: Api<Request, unknown>, frame: Buffer): { header: RequestHeader; request: Request } {
  const { header, reader } = readRequestHeader(frame)
  skipTags(reader)
  const request = api.decodeRequest(reader, header.version)
  refuseRest(reader)
  return { header, request }
}

/** A whole answer in one piece. For tests, proxies and captures. */
export function encodeResponse<Response>(api: Api<unknown, Response>, version: number, correlationId: number, response: Response): Buffer {
  const writer = new WireWriter()
  writer.int32(0)
  writer.int32(correlationId)
  if (api.key !== API_VERSIONS_KEY) writer.uvarint(0)
  api.encodeResponse(response, version, writer)
  const bytes = writer.bytes()
  bytes.writeInt32BE(bytes.length - SIZE_BYTES, 0)
  return bytes
}

function requestWriter<Request>(
  api: Api<Request, unknown>,
  version: number,
  correlationId: number,
  clientId: string | null,
  request: Request,
): WireWriter {
  const body = new WireWriter()
  api.encode(request, version, body)
  const writer = new WireWriter(64 + (clientId === null ? 0 : clientId.length * 3))
  const idBytes = clientId === null ? 0 : Buffer.byteLength(clientId)
  // The size counts what follows it: the fixed fields, the client id with its length, an empty list of tags, the body.
  writer.int32(FIXED_BYTES - SIZE_BYTES + 2 + idBytes + 1 + body.length)
  writer.int16(api.key)
  writer.int16(version)
  writer.int32(correlationId)
  writer.flexible = false
  writer.nullableString(clientId)
  writer.flexible = true
  writer.uvarint(0)
  for (const part of body.parts()) writer.put(part)
  return writer
}

function responseReader(api: Api<unknown, unknown>, version: number, bytes: Buffer): WireReader {
  const reader = new WireReader(bytes)
  reader.message = `an answer of ${api.name} ${version}`
  if (api.key !== API_VERSIONS_KEY) skipTags(reader)
  return reader
}

function skipTags(reader: WireReader): void {
  for (let rest = reader.uvarint(); rest > 0; rest--) {
    reader.uvarint()
    reader.take(reader.uvarint())
    reader.skippedTags++
  }
}

function refuseRest(reader: WireReader): void {
  if (reader.left > 0) reader.fail(`${reader.left} bytes are left over`)
}
