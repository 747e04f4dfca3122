/**
 * What is served: rows with their freshness, pages of rows, and health. Nothing here changes anything.
 *
 *   GET /                          what there is
 *   GET /views                     names of the views
 *   GET /views/<view>              a page of rows: ?prefix= &after= &limit=; 503 where it has none while that cannot be told. `untold` lists
 *                                  the partitions whose rows may be missing from it
 *   GET /views/<view>/<key>        one row and how fresh it is; 404 where there is none, 503 while that cannot be told
 *                                  ?decide=<name>: 200 when the read may carry that decision, 409 with the reason when not
 *   GET /health/live, /health/ready
 *
 * A word of a query that says nothing, or is said twice, is refused with 400: whoever asks for ?prefx= would take all rows for some. Health is asked by
 * whatever looks after processes, and answers whatever is behind the question mark.
 */
import { type Context, Hono } from 'hono'
import { codeOf, type ErrorCode, messageOf, TidemarkError } from '../base/errors.ts'
import { meantOf } from '../base/options.ts'
import type { Freshness } from '../contract/window.ts'
import type { Answer, Decided, View } from '../runtime/view.ts'
import { answer, guard, refusal } from './guard.ts'

/** What of an application is served. `App` has it all. */
export interface Served {
  readonly plan: { readonly app: string }
  readonly views: readonly string[]
  /** @throws TidemarkError VIEW_UNKNOWN */
  view(name: string): View<unknown, unknown, string>
  readonly tasks: readonly { readonly name: string; readonly state: string }[]
  /** Whether all of them run: before the group has given any, there is nothing that could. */
  readonly ready: boolean
  /** What stopped a task or the whole worker; undefined while all is well. */
  readonly failure: TidemarkError | undefined
}

type AnyView = View<unknown, unknown, string>

/** @param port the port that is listened on, known once it is */
export function routesOf(app: Served, port: () => number): Hono {
  const routes = new Hono()
  routes.use('*', guard(port))
  routes.get('/', () => answer(200, indexOf(app)))
  routes.get('/views', (context) => {
    checkQuery(context, 'the list of views', [])
    return answer(200, { views: app.views })
  })
  routes.get('/views/:view', (context) => page(app.view(nameOf(context)), context))
  routes.get('/views/:view/:key{.+}', (context) => row(app.view(nameOf(context)), context))
  routes.get('/health/live', () => live(app))
  routes.get('/health/ready', () => ready(app))
  routes.notFound(() =>
    refusal(404, new TidemarkError('VIEW_UNKNOWN', 'there is nothing under this path', { hint: 'GET / tells what there is.' })),
  )
  routes.onError((error) => refusal(statusOf(codeOf(error)), asRefusal(error)))
  return routes
}

function indexOf(app: Served): unknown {
  return {
    app: app.plan.app,
    views: app.views.map((name) => ({
      name,
      page: `/views/${name}?limit=10`,
      row: `/views/${name}/<key>`,
      freshness: app.view(name).freshness().projection,
    })),
    health: ['/health/live', '/health/ready'],
  }
}

async function page(view: AnyView, context: Context): Promise<Response> {
  checkQuery(context, `a page of "${view.name}"`, ['prefix', 'after', 'limit'])
  const limit = limitOf(context.req.query('limit'))
  const prefix = context.req.query('prefix')
  const after = context.req.query('after')
  const { rows, next } = await view.page({ limit, ...(prefix === undefined ? {} : { prefix }), ...(after === undefined ? {} : { after }) })
  const { projection, partitions } = view.freshness()
  const untold = partitions.filter(({ freshness }) => cannotTell(freshness))
  // As with one row: what is there is told, however old it may be, and nothing is called absent that somebody else may have.
  const status = rows.length === 0 && cannotTell(projection) ? 503 : 200
  return answer(status, { view: view.name, rows, next: next ?? null, freshness: projection, untold }, freshnessHeaders(projection))
}

async function row(view: AnyView, context: Context): Promise<Response> {
  checkQuery(context, `a row of "${view.name}"`, ['decide'], ' A "?" within a key is %3F.')
  const key = view.keyOf(keyTextOf(context))
  const decision = context.req.query('decide')
  if (decision !== undefined) return decided(view, key, decision)
  const read = await view.get(key)
  return answer(statusOfRead(read), { key, ...bodyOf(read) }, freshnessHeaders(read.freshness))
}

/** Every name is there, because JSON leaves out what is undefined and a reader should see that there is no row. */
function bodyOf({ value, freshness, row }: Answer<unknown>): object {
  return { value: value ?? null, freshness, row: row ?? null }
}

/** A row that is not found is absent only if the projection knows what it should hold. */
function statusOfRead({ value, freshness }: Answer<unknown>): number {
  if (value !== undefined) return 200
  return cannotTell(freshness) ? 503 : 404
}

/** Whether what is not found may be there all the same. */
function cannotTell({ state }: Freshness): boolean {
  return state === 'restoring' || state === 'unknown'
}

async function decided(view: AnyView, key: unknown, decision: string): Promise<Response> {
  const made: Decided<unknown> = await view.decide(decision, key)
  const headers = freshnessHeaders(made.freshness)
  if (made.answer === 'refused') return answer(409, { key, decision, why: made.why, freshness: made.freshness }, headers)
  return answer(200, { key, decision, value: made.value ?? null, degraded: made.degraded, freshness: made.freshness }, headers)
}

function freshnessHeaders(freshness: Freshness): Record<string, string> {
  return {
    'tidemark-freshness': freshness.state,
    ...('ageMs' in freshness ? { 'tidemark-age-ms': String(Math.round(freshness.ageMs)) } : {}),
  }
}

function live(app: Served): Response {
  const { failure } = app
  return failure === undefined
    ? answer(200, { live: true })
    : answer(503, { live: false, error: { code: failure.code, message: failure.message } })
}

function ready(app: Served): Response {
  const waiting = app.tasks.filter(({ state }) => state !== 'running')
  const all = app.failure === undefined && app.ready
  return answer(all ? 200 : 503, { ready: all, tasks: app.tasks.length, waiting: waiting.map(({ name, state }) => `${name} is ${state}`) })
}

function nameOf(context: Context): string {
  return context.req.param('view') as string
}

/**
 * The text of the key, as the client wrote it: the path is split before it is decoded, so that `%2F` stays within its key, and a `/` that was
 * not encoded is taken as it is.
 */
function keyTextOf(context: Context): string {
  const path = new URL(context.req.url).pathname
  const encoded = path.slice(path.indexOf('/', '/views/'.length) + 1)
  try {
    return decodeURIComponent(encoded)
  } catch (cause) {
    throw new TidemarkError('KEY_INVALID', 'the key in the path is not URL-encoded text', {
      detail: `It is ${encoded.slice(0, 200)}.`,
      hint: 'Encode its UTF-8 bytes: "|" is %7C, a space is %20, "%" is %25.',
      cause,
    })
  }
}

/**
 * @param of what is asked for
 * @param more what else the hint says
 * @throws TidemarkError OPTION_INVALID
 */
function checkQuery(context: Context, of: string, known: readonly string[], more = ''): void {
  for (const [word, values] of Object.entries(context.req.queries())) {
    if (!known.includes(word))
      throw new TidemarkError('OPTION_INVALID', `${of} has no query word "${word}"`, {
        hint: known.length === 0 ? 'It has none: leave out what is behind the question mark.' : `${meantOf(word, known, 'It has')}${more}`,
      })
    if (values.length > 1)
      throw new TidemarkError('OPTION_INVALID', `the query says "${word}" ${values.length} times`, { hint: 'Say it once.' })
  }
}

function limitOf(text: string | undefined): number {
  const limit = text === undefined ? 100 : Number(text)
  if (Number.isInteger(limit) && limit >= 1 && limit <= 1_000) return limit
  throw new TidemarkError('OPTION_INVALID', 'limit is not a number of rows', {
    detail: `It is ${JSON.stringify(text)}.`,
    hint: 'Ask for 1 to 1000 rows; "next" of an answer is "after" of the next question.',
  })
}

function statusOf(code: ErrorCode | undefined): number {
  switch (code) {
    case 'VIEW_UNKNOWN':
      return 404
    case 'KEY_INVALID':
    case 'DECISION_UNKNOWN':
    case 'OPTION_INVALID':
      return 400
    case 'STORE_CLOSED':
    case 'LOG_CLOSED':
    case 'APP_CLOSED':
      return 503
    default:
      return 500
  }
}

function asRefusal(error: unknown): TidemarkError {
  if (error instanceof TidemarkError) return error
  return new TidemarkError('APP_CLOSED', 'the read failed', { detail: messageOf(error), cause: error })
}
