/** The views of a running shop over HTTP. */
import { readFileSync } from 'node:fs'
import { mkdtemp, rm } from 'node:fs/promises'
import { request } from 'node:http'
import { createServer } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { type Running, start } from '#tidemark'
import type { App } from '../../src/runtime/app.ts'
import { jsonText } from '../../src/server/json.ts'
import { type Serving, serve } from '../../src/server/server.ts'
import { feed, shop } from '../fixtures/shop/index.ts'

let dir: string
let running: Running<readonly unknown[]>
let serving: Serving

beforeAll(async () => {
  dir = await mkdtemp(join(tmpdir(), 'tidemark-'))
  running = await start(shop, { dir })
  const customers = await feed.open(running.access, { dir, unpaced: true, options: { orders: '60' } })
  await customers.run(new AbortController().signal)
  await customers.close()
  const view = running.app.view('demand-by-sku')
  while (!(await running.caughtUp()) || view.freshness().projection.state !== 'fresh')
    await new Promise((resolve) => setTimeout(resolve, 10))
  serving = await serve(running.app, { port: 0 })
})

afterAll(async () => {
  await serving.close()
  await running.close()
  await rm(dir, { recursive: true })
})

/** What bodies may have; each test says which it expects. */
interface Body {
  readonly value: { readonly orders: number; readonly units: number; readonly cents: string }
  readonly rows: readonly { readonly text: string }[]
  readonly untold: readonly object[]
  readonly freshness: { readonly state: string }
  readonly next: string | null
  readonly why: string
  readonly error: { readonly code: string; readonly hint: string }
}

interface Got {
  readonly status: number
  readonly headers: Headers
  readonly body: Body
}

async function get(path: string, init: RequestInit = {}): Promise<Got> {
  const response = await fetch(`${serving.url}${path}`, init)
  const text = await response.text()
  return { status: response.status, headers: response.headers, body: (text === '' ? undefined : JSON.parse(text)) as Body }
}

/** `fetch` sets the Host header itself. */
function statusWith(headers: Record<string, string>): Promise<number | undefined> {
  return new Promise((resolve, reject) => {
    request(`${serving.url}/views`, { headers }, (response) => {
      response.resume()
      resolve(response.statusCode)
    })
      .on('error', reject)
      .end()
  })
}

const KEY = encodeURIComponent('sku 0|shop/customer-0')

describe('a row', () => {
  test('comes with its freshness, in the body and as headers', async () => {
    const { status, headers, body } = await get(`/views/demand-by-sku/${KEY}`)
    expect(status).toBe(200)
    expect(body).toMatchObject({
      key: { sku: 'sku 0', shop: 'shop/customer-0' },
      value: { orders: 4, units: 90 },
      freshness: { state: 'fresh' },
      row: { version: 4, source: { topic: 'orders.v1' } },
    })
    expect(headers.get('tidemark-freshness')).toBe('fresh')
    expect(Number(headers.get('tidemark-age-ms'))).toBeGreaterThanOrEqual(0)
    expect(headers.get('cache-control')).toBe('no-store')
    expect(headers.has('access-control-allow-origin')).toBe(false)
  })

  test('has the members that the README shows, and no others', async () => {
    const shown = /^```json\n([\s\S]*?)^```$/m.exec(readFileSync(join(import.meta.dirname, '..', '..', 'README.md'), 'utf8'))?.[1]
    const sample = JSON.parse(shown as string) as Record<'freshness' | 'row', { source?: object }>
    const body = (await get(`/views/demand-by-sku/${KEY}`)).body as unknown as typeof sample
    const names = (member: object | undefined): string[] => Object.keys(member ?? {}).sort()
    expect(names(body)).toEqual(names(sample))
    expect(names(body.freshness)).toEqual(names(sample.freshness))
    expect(names(body.row)).toEqual(names(sample.row))
    expect(names(body.row.source)).toEqual(names(sample.row.source))
  })

  test('with a bigint keeps all its digits', async () => {
    expect((await get(`/views/demand-by-sku/${KEY}`)).body.value.cents).toBe('9000')
    expect(jsonText({ large: 2n ** 63n, bytes: Buffer.from('ab'), none: undefined })).toBe('{"large":"9223372036854775808","bytes":"YWI="}')
  })

  test('is found by a key whose slash was not encoded', async () => {
    expect((await get('/views/demand-by-sku/sku%200%7Cshop/customer-0')).body.value.orders).toBe(4)
  })

  test('that is not there is 404, and says how fresh that answer is', async () => {
    const { status, body } = await get('/views/demand-by-sku/no%7Cwhere')
    expect(status).toBe(404)
    expect(body).toMatchObject({ key: { sku: 'no', shop: 'where' }, value: null, row: null, freshness: { state: 'fresh' } })
  })

  test('that cannot be told to be absent is 503', async () => {
    const blind = await serve(blindTo(running.app), { port: 0 })
    const response = await fetch(`${blind.url}/views/demand-by-sku/${KEY}`)
    expect(response.status).toBe(503)
    expect(response.headers.get('tidemark-freshness')).toBe('restoring')
    await blind.close()
  })

  test.each([
    ['one%7Ctwo%7Cthree', 'KEY_INVALID'],
    ['%FF%7Cx', 'KEY_INVALID'],
    ['%zz', 'KEY_INVALID'],
  ])('under a key that is none (%s) is 400 with a code', async (key, code) => {
    const { status, body } = await get(`/views/demand-by-sku/${key}`)
    expect([status, body.error.code]).toEqual([400, code])
    // How a key is written in a URL.
    expect(body.error.hint).toMatch(/%7C|UTF-8/)
  })
})

/** The same application while its tasks are not there yet. */
function blindTo(app: App): Parameters<typeof serve>[0] {
  const freshness = { state: 'restoring', done: 0.5 } as const
  return {
    plan: app.plan,
    views: app.views,
    tasks: [{ name: 'demand/0', state: 'restoring' }],
    ready: false,
    failure: undefined,
    view: (name) => ({
      name,
      keyOf: (text) => app.view(name).keyOf(text),
      get: async () => ({ value: undefined, row: undefined, freshness }),
      decide: async () => ({ answer: 'refused', why: 'restoring', freshness }),
      page: async () => ({ rows: [], next: undefined }),
      freshness: () => ({ projection: freshness, partitions: [] }),
      count: async () => 0,
    }),
  }
}

describe('a decision', () => {
  test('that may rest on the read gets the value', async () => {
    const { status, body } = await get(`/views/demand-by-sku/${KEY}?decide=show-on-page`)
    expect(status).toBe(200)
    expect(body).toMatchObject({ decision: 'show-on-page', value: { orders: 4 }, degraded: false, freshness: { state: 'fresh' } })
  })

  test('that may not is refused with the reason', async () => {
    const { status, body } = await get(`/views/demand-by-sku/${KEY}?decide=promise`)
    expect([status, body.why]).toEqual([409, 'too-stale'])
    expect(body.value).toBeUndefined()
  })

  test('that nobody declared is 400 and lists those that are', async () => {
    const { status, body } = await get(`/views/demand-by-sku/${KEY}?decide=guess`)
    expect([status, body.error.code]).toEqual([400, 'DECISION_UNKNOWN'])
    expect(body.error.hint).toContain('show-on-page')
  })
})

describe('pages', () => {
  test('follow each other to the end, in the order of the keys, and hold every row once', async () => {
    const seen: string[] = []
    let after = ''
    for (;;) {
      const { body } = await get(`/views/demand-by-sku?limit=4${after}`)
      seen.push(...body.rows.map(({ text }) => text))
      if (body.next === null) break
      after = `&after=${encodeURIComponent(body.next)}`
    }
    expect(seen).toHaveLength(15)
    expect(new Set(seen).size).toBe(15)
    expect(seen).toEqual([...seen].sort())
  })

  test('with a prefix hold only its keys, wherever they begin', async () => {
    const texts = async (query: string): Promise<string[]> => (await get(`/views/demand-by-sku?${query}`)).body.rows.map(({ text }) => text)
    expect(await texts('prefix=sku%201')).toHaveLength(5)
    // A page that is asked for behind a key before the prefix begins with the prefix.
    expect(await texts('prefix=sku%201&after=sku%200%7Cshop%2Fcustomer-0')).toEqual(await texts('prefix=sku%201'))
    expect(await texts('prefix=sku%201&after=sku%202%7Cx')).toEqual([])
    expect(await texts('prefix=nothing')).toEqual([])
  })

  test('that are empty are 503 while nobody can tell that nothing is there, as a row is, and 200 where it is known', async () => {
    const blind = await serve(blindTo(running.app), { port: 0 })
    const response = await fetch(`${blind.url}/views/demand-by-sku?prefix=sku`)
    expect([response.status, response.headers.get('tidemark-freshness')]).toEqual([503, 'restoring'])
    expect(await response.json()).toMatchObject({ rows: [], freshness: { state: 'restoring' } })
    await blind.close()
    const { status, body } = await get('/views/demand-by-sku?prefix=nothing')
    expect([status, body.freshness.state, body.rows, body.untold]).toEqual([200, 'fresh', [], []])
  })

  test('that miss a part hold what is there, and say which partitions are not told', async () => {
    const freshness = { state: 'unknown', reason: 'another worker has its task' } as const
    const half = await serve(
      {
        ...blindTo(running.app),
        view: (name) => {
          const view = running.app.view(name)
          const [here] = view.freshness().partitions
          const partitions = [here as NonNullable<typeof here>, { partition: 1, freshness }]
          return {
            name,
            keyOf: (text) => view.keyOf(text),
            get: (key) => view.get(key),
            decide: (decision, key) => view.decide(decision, key),
            page: (options) => view.page(options),
            count: () => view.count(),
            freshness: () => ({ projection: freshness, partitions }),
          }
        },
      },
      { port: 0 },
    )
    const response = await fetch(`${half.url}/views/demand-by-sku?limit=2`)
    expect([response.status, response.headers.get('tidemark-freshness')]).toEqual([200, 'unknown'])
    expect(await response.json()).toMatchObject({ rows: [{}, {}], freshness, untold: [{ partition: 1, freshness }] })
    await half.close()
  })

  test.each(['0', '1001', '-1', 'ten', '1.5'])('of %s rows are refused', async (limit) => {
    const { status, body } = await get(`/views/demand-by-sku?limit=${limit}`)
    expect([status, body.error.code]).toEqual([400, 'OPTION_INVALID'])
  })
})

describe('a query', () => {
  test.each([
    [
      '/views/demand-by-sku?prefx=sku',
      'a page of "demand-by-sku" has no query word "prefx"',
      'Did you mean "prefix"? It has prefix, after, limit.',
    ],
    ['/views/demand-by-sku?limit=5&decide=sell', 'a page of "demand-by-sku" has no query word "decide"', 'It has prefix, after, limit.'],
    [
      `/views/demand-by-sku/${KEY}?decid=sell`,
      'a row of "demand-by-sku" has no query word "decid"',
      'Did you mean "decide"? It has decide. A "?" within a key is %3F.',
    ],
    ['/views?limit=5', 'the list of views has no query word "limit"', 'It has none: leave out what is behind the question mark.'],
    ['/views/demand-by-sku?limit=5&limit=6', 'the query says "limit" 2 times', 'Say it once.'],
    [`/views/demand-by-sku/${KEY}?decide=a&decide=b`, 'the query says "decide" 2 times', 'Say it once.'],
  ])('with a word that says nothing, or one that is said twice, is refused: %s', async (path, message, hint) => {
    expect(await get(path)).toMatchObject({ status: 400, body: { error: { code: 'OPTION_INVALID', message, hint } } })
  })

  test('is no matter to health, which is asked by what looks after processes', async () => {
    expect((await get('/health/live?at=12')).status).toBe(200)
    expect((await get('/health/ready?at=12')).status).toBe(200)
  })
})

describe('what there is', () => {
  test('is listed', async () => {
    expect((await get('/views')).body).toEqual({ views: ['demand-by-sku'] })
    expect((await get('/')).body).toMatchObject({ app: 'shop', views: [{ name: 'demand-by-sku', freshness: { state: 'fresh' } }] })
  })

  test('is all there is: other views and paths are 404 with a hint', async () => {
    expect(await get('/views/demand')).toMatchObject({
      status: 404,
      body: { error: { code: 'VIEW_UNKNOWN', hint: expect.stringContaining('demand-by-sku') } },
    })
    expect(await get('/metrics')).toMatchObject({ status: 404, body: { error: { hint: expect.any(String) } } })
  })

  test('says whether it lives and is ready', async () => {
    expect(await get('/health/live')).toMatchObject({ status: 200, body: { live: true } })
    expect(await get('/health/ready')).toMatchObject({ status: 200, body: { ready: true, tasks: 4, waiting: [] } })
    const blind = await serve(blindTo(running.app), { port: 0 })
    const response = await fetch(`${blind.url}/health/ready`)
    expect([response.status, await response.json()]).toEqual([503, { ready: false, tasks: 1, waiting: ['demand/0 is restoring'] }])
    await blind.close()
  })

  test('is not ready before the last of its tasks runs: those that are still to be opened are waited for', async () => {
    const folder = await mkdtemp(join(tmpdir(), 'tidemark-'))
    const starting = await start(shop, { dir: folder })
    // Nothing can have been opened in the turn in which the group gave the tasks.
    expect(starting.app.tasks.map(({ state }) => state)).toEqual(['restoring', 'restoring', 'restoring', 'restoring'])
    const served = await serve(starting.app, { port: 0 })
    for (let status = 0; status !== 200; ) {
      const response = await fetch(`${served.url}/health/ready`)
      status = response.status
      const { tasks, waiting } = (await response.json()) as { tasks: number; waiting: string[] }
      expect([tasks, waiting.length === 0]).toEqual([4, status === 200])
    }
    await served.close()
    await starting.close()
    await rm(folder, { recursive: true })
  })
})

describe('strangers', () => {
  test('with another name for this machine are refused, so that no page of theirs reads the views', async () => {
    expect(await statusWith({ host: `evil.example:${serving.port}` })).toBe(403)
    expect(await statusWith({ host: 'evil.example' })).toBe(403)
    // The right name with another port is another server.
    expect(await statusWith({ host: `localhost:${serving.port + 1}` })).toBe(403)
    expect(await statusWith({ host: 'localhost' })).toBe(403)
  })

  test('are those of other machines only: every name of this one is answered', async () => {
    for (const name of ['localhost', '127.0.0.1', '[::1]']) expect(await statusWith({ host: `${name}:${serving.port}` })).toBe(200)
  })

  test('change nothing: only GET and HEAD are served', async () => {
    for (const method of ['POST', 'PUT', 'DELETE', 'PATCH', 'OPTIONS']) {
      const { status, headers } = await get('/views', { method })
      expect([status, headers.get('allow')]).toEqual([405, 'GET, HEAD'])
    }
    const head = await get(`/views/demand-by-sku/${KEY}`, { method: 'HEAD' })
    expect([head.status, head.body, head.headers.get('tidemark-freshness')]).toEqual([200, undefined, 'fresh'])
  })

  test('with endless URLs get an answer and no memory', async () => {
    expect((await get(`/views/demand-by-sku/${'a'.repeat(5_000)}`)).status).toBe(414)
    expect((await fetch(`${serving.url}/views/${'a'.repeat(50_000)}`)).status).toBe(431)
  })
})

describe('ports', () => {
  test('that are taken are passed over', async () => {
    const second = await serve(running.app, { port: serving.port })
    expect(second.port).toBeGreaterThan(serving.port)
    expect((await fetch(`${second.url}/views`)).status).toBe(200)
    await second.close()
  })

  test('that cannot be had are named', async () => {
    const taken = createServer()
    await new Promise<void>((resolve) => taken.listen(0, '127.0.0.1', resolve))
    const { port } = taken.address() as { port: number }
    await expect(serve(running.app, { port, further: 0 })).rejects.toMatchObject({
      code: 'OPTION_INVALID',
      message: expect.stringContaining(`${port}`),
    })
    await new Promise((resolve) => taken.close(resolve))
  })

  test('are free again once the server is closed, whoever still holds a connection', async () => {
    const first = await serve(running.app, { port: 0 })
    await fetch(`${first.url}/views`)
    await first.close()
    const again = await serve(running.app, { port: first.port, further: 0 })
    expect(again.port).toBe(first.port)
    await again.close()
  })
})
