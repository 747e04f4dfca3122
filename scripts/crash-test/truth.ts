/** What must be true of a retail folder in the end, whatever happened on the way: every row, and how many facts each was made of. */
import { replay } from '../../src/runtime/replay.ts'
import { verify } from '../../src/runtime/verify.ts'
import { start } from '../../src/start.ts'
import { APPLIED, FIGURES } from '../../test/topologies/rig.ts'
import { retail } from '../../topologies/retail/index.ts'
import { openFolder, wipedIn } from './look.ts'
import { type Ended, jsonOf, run } from './process.ts'

export const TOPOLOGY = 'topologies/retail'
export const VIEWS = ['allocatable-stock', 'sales-by-day'] as const
export { APPLIED }

/** What `tidemark dev --once --json` ends with. */
export interface Result {
  readonly rows?: number
  readonly hash?: string
  readonly equal?: boolean
  readonly applied: number
  readonly duplicate: number
  readonly gap: number
  readonly parked: number
  readonly dead: number
  readonly restored: number
  readonly wipes: number
  readonly error?: { readonly code: string; readonly message: string; readonly detail?: string; readonly hint?: string }
}

/** @throws Error with everything it said when it ended without one */
export function resultOf(ended: Ended): Result {
  return jsonOf(ended) as Result
}

/** Feeds and applies what is left, as fast as it goes. */
export function finish(dir: string, ...more: readonly string[]): Promise<Ended> {
  return run('dev', TOPOLOGY, '--dir', dir, '--once', '--json', ...more)
}

/** What is wrong with how a finishing run ended; nothing when every row equals the recomputation from the CSV. */
export function wrongIn(ended: Ended): string[] {
  const { equal, hash, rows, parked, wipes, error } = resultOf(ended)
  const wrong: string[] = []
  if (ended.code !== 0) wrong.push(`it ended with ${ended.code ?? ended.signal}: ${error?.code ?? ended.err.slice(-500)}`)
  if (equal !== true) wrong.push('its rows are not those of the recomputation')
  else if (rows !== FIGURES.rows || hash !== FIGURES.hash) wrong.push(`it has ${rows} rows with hash ${hash}`)
  if (parked !== 0) wrong.push(`${parked} keys are parked`)
  if (wipes !== 0) wrong.push(`${wipes} times local state was dropped`)
  return wrong
}

/** A row as text: its value, and how many facts it was made of. */
export type Rows = ReadonlyMap<string, { readonly value: string; readonly version: number }>

type App = Awaited<ReturnType<typeof start>>['app']

/** All rows of both views that page reads give, under their view and key. @throws TidemarkError what a read is refused with */
export async function pagedRows(app: App): Promise<ReadonlyMap<string, string>> {
  const rows = new Map<string, string>()
  for (const name of app.views) {
    for (let after: string | undefined; ; ) {
      const page = await app.view(name).page({ limit: 1_000, ...(after === undefined ? {} : { after }) })
      for (const { text, value } of page.rows) rows.set(`${name}/${text}`, JSON.stringify(value))
      if (page.next === undefined) break
      after = page.next
    }
  }
  return rows
}

/** One row by a point read; undefined when there is none. @throws TidemarkError what the read is refused with */
export async function rowOf(app: App, key: string): Promise<{ readonly value: string; readonly version: number } | undefined> {
  const [, name, text] = /^([^/]+)\/(.*)$/s.exec(key) as unknown as [string, string, string]
  const view = app.view(name)
  const { value, row } = await view.get(view.keyOf(text))
  return value === undefined ? undefined : { value: JSON.stringify(value), version: row?.version ?? 0 }
}

export async function rowsOf(app: App): Promise<Rows> {
  const rows = new Map<string, { readonly value: string; readonly version: number }>()
  for (const key of (await pagedRows(app)).keys()) {
    const row = await rowOf(app, key)
    if (row !== undefined) rows.set(key, row)
  }
  return rows
}

export function factsIn(rows: Rows): number {
  return [...rows.values()].reduce((sum, { version }) => sum + version, 0)
}

/** What is wrong with a folder that was fed to its end: facts applied twice or not at all, state that was dropped, sums that do not add up. */
export async function wrongInFolder(dir: string): Promise<string[]> {
  const wrong = wipedIn(dir).map((task) => `the state of ${task} was dropped`)
  const running = await start(retail, { dir, fsync: 'never' })
  try {
    await running.settled()
    const facts = factsIn(await rowsOf(running.app))
    if (facts !== APPLIED) wrong.push(`its rows were made of ${facts} facts, and there are ${APPLIED}`)
  } finally {
    await running.close()
  }
  const opened = await openFolder(dir)
  const { world } = opened
  try {
    for (const { where, error } of (await verify(retail.graph, world)).problems) wrong.push(`${where}: ${error.explain()}`)
    for (const projection of VIEWS) {
      const { equal } = await replay(retail.graph, projection, world, { switch: 'never' })
      if (!equal) wrong.push(`a replay of ${projection} gives another state`)
    }
  } finally {
    await opened.close()
  }
  return wrong
}
