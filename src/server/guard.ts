/**
 * What is let in. The server listens on the loopback address, but a browser on this machine can be led there by any page: a page whose own
 * name is made to point to 127.0.0.1 (DNS rebinding) would read the views as if they were its own. Its requests still carry its name in
 * `Host`, so only the names of this machine are answered. No header allows other origins, so their scripts cannot read answers either.
 */
import type { Context, MiddlewareHandler } from 'hono'
import { TidemarkError } from '../base/errors.ts'
import { jsonText } from './json.ts'

/** Characters of a path with its query. Longer keys than that are nobody's. */
export const URL_MAX = 4_096

const NAMES = ['localhost', '127.0.0.1', '[::1]']

/** An answer in JSON, never kept by anything on the way. */
export function answer(status: number, body: unknown, headers: Readonly<Record<string, string>> = {}): Response {
  return new Response(`${jsonText(body)}\n`, {
    status,
    headers: {
      'content-type': 'application/json; charset=utf-8',
      'cache-control': 'no-store',
      'x-content-type-options': 'nosniff',
      ...headers,
    },
  })
}

/** An error in JSON: code, sentence, detail, hint. */
export function refusal(status: number, error: TidemarkError, headers: Readonly<Record<string, string>> = {}): Response {
  const { code, message, detail, hint } = error
  return answer(status, { error: { code, message, detail, hint } }, headers)
}

/** @param port the port that is listened on, known once it is */
export function guard(port: () => number): MiddlewareHandler {
  return async (context: Context, next) => {
    const refused = refuse(context.req.raw, port())
    if (refused !== undefined) return refused
    await next()
    return undefined
  }
}

function refuse(request: Request, port: number): Response | undefined {
  const host = request.headers.get('host') ?? ''
  if (!NAMES.some((name) => host === `${name}:${port}` || (port === 80 && host === name))) {
    const error = new TidemarkError('OPTION_INVALID', 'the Host header does not name this server', {
      hint: `Ask for http://127.0.0.1:${port}/ or http://localhost:${port}/.`,
    })
    return refusal(403, error)
  }
  if (request.method !== 'GET' && request.method !== 'HEAD') {
    const error = new TidemarkError('OPTION_INVALID', `method ${request.method} is not served`, {
      hint: 'Views are read with GET. Facts go in through their topic.',
    })
    return refusal(405, error, { allow: 'GET, HEAD' })
  }
  if (request.url.length > URL_MAX) {
    return refusal(
      414,
      new TidemarkError('OPTION_INVALID', `the URL has more than ${URL_MAX} characters`, {
        hint: 'No key is that long. Ask for a page: ?prefix=.',
      }),
    )
  }
  return undefined
}
