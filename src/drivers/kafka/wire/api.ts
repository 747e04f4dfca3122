/**
 * The face of every API: one request and its answer, in the versions that we speak, all of them flexible. Both directions exist for both:
 * a client writes requests and reads answers; tests, fault proxies and captures do the opposite.
 */
import type { WireReader, WireWriter } from './bytes.ts'
import type { Shape } from './shape.ts'

export interface Api<Request, Response> {
  readonly key: number
  readonly name: string
  /** The oldest and the newest version that we speak. */
  readonly versions: readonly [oldest: number, newest: number]
  /** The most bytes that the answer to a request may have; absent for the APIs whose answers carry no records. */
  answerBytesMax?(request: Request, batchBytesMax: number): number
  /**
   * Writes the body of a request, without its header.
   * @throws TypeError for a value that its field or this version cannot hold
   */
  encode(request: Request, version: number, writer: WireWriter): void
  /**
   * Reads the body of an answer. Error numbers stay numbers: `errors.ts` tells what they mean, the caller what to do.
   * @throws TidemarkError WIRE_INVALID
   */
  decode(reader: WireReader, version: number): Response
  /** @throws TidemarkError WIRE_INVALID */
  decodeRequest(reader: WireReader, version: number): Request
  encodeResponse(response: Response, version: number, writer: WireWriter): void
}

export interface ApiLayout<Request, Response> {
  readonly key: number
  readonly name: string
  readonly versions: readonly [oldest: number, newest: number]
  readonly request: Shape<Request>
  readonly response: Shape<Response>
  readonly answerBytesMax?: (request: Request, batchBytesMax: number) => number
}

/** An API whose layouts are shapes. */
export function api<Request, Response>(layout: ApiLayout<Request, Response>): Api<Request, Response> {
  const { key, name, versions, request, response, answerBytesMax } = layout
  const check = (version: number): number => {
    if (version >= versions[0] && version <= versions[1]) return version
    throw new TypeError(`${name} ${version} is not spoken here, only ${versions[0]} to ${versions[1]}`)
  }
  const read = <T>(shape: Shape<T>, reader: WireReader, version: number, what: string): T => {
    reader.version = check(version)
    reader.message = `${what} of ${name} ${version}`
    return shape.read(reader)
  }
  const write = <T>(shape: Shape<T>, value: T, version: number, writer: WireWriter): void => {
    writer.version = check(version)
    shape.write(writer, value)
  }
  return {
    key,
    name,
    versions,
    ...(answerBytesMax === undefined ? {} : { answerBytesMax }),
    encode: (value, version, writer) => write(request, value, version, writer),
    decode: (reader, version) => read(response, reader, version, 'an answer'),
    decodeRequest: (reader, version) => read(request, reader, version, 'a request'),
    encodeResponse: (value, version, writer) => write(response, value, version, writer),
  }
}

/**
 * The newest version that we and a broker speak, or undefined when there is none.
 * @example newestVersion(fetch, { minVersion: 4, maxVersion: 18 }) // 12
 */
export function newestVersion(
  spoken: { readonly versions: readonly [number, number] },
  broker: { readonly minVersion: number; readonly maxVersion: number },
): number | undefined {
  const [oldest, newest] = spoken.versions
  const version = Math.min(newest, broker.maxVersion)
  return version >= Math.max(oldest, broker.minVersion) ? version : undefined
}
