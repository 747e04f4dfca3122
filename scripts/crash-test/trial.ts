/**
 * What becomes of a folder that is not as it was left: opened, fed on, and every row read and compared with the truth. A row may be refused,
 * and the application may refuse to start; a wrong row that is said to be fresh is what must never be.
 */
import { createHash } from 'node:crypto'
import { rm } from 'node:fs/promises'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { codeOf, messageOf, TidemarkError } from '../../src/base/errors.ts'
import { partitionName } from '../../src/ports/log.ts'
import { replay } from '../../src/runtime/replay.ts'
import { type Verified, verify } from '../../src/runtime/verify.ts'
import type { World } from '../../src/runtime/world.ts'
import { start } from '../../src/start.ts'
import { feed, retail } from '../../topologies/retail/index.ts'
import { batchesOf, copy, inScratch, openFolder } from './look.ts'
import { pagedRows, type Rows, rowsOf, VIEWS } from './truth.ts'

/** What is fed, and what must come of it. */
export interface Truth {
  readonly csv: string
  readonly rows: Rows
}

/** How going on in a folder went. */
export interface WentOn {
  /** How often state was dropped and restored. */
  readonly wipes: number
  /** The code that the start, the feed or a task was refused with. */
  readonly refused: string | undefined
  /** Reads of rows that were refused, or answered without a row and not called fresh. */
  readonly unread: number
  /** Rows that read as if they had never been, and fresh. */
  readonly missing: number
  /** What must never be. */
  readonly wrong: readonly string[]
}

/** What damage came to. */
export interface Outcome {
  /** Codes that verify named, without double. */
  readonly found: readonly string[]
  readonly start: 'as if nothing were' | 'restored' | 'refused' | 'reads refused' | 'rows missing'
  readonly wrong: readonly string[]
}

/** Nothing here takes so long; who is not through by then has stopped, and must have said why. */
const STOPPED_MS = 20_000
/** After an error was told: what is not mended by then is not being mended. */
const TOLD_MS = 1_500

/** Opens a folder as the application does, feeds what is left, and reads all rows. */
export async function goOn(dir: string, { csv, rows: truth }: Truth): Promise<WentOn> {
  let wipes = 0
  let told: TidemarkError | undefined
  let toldAt = Number.POSITIVE_INFINITY
  const hear = (error: TidemarkError | undefined): void => {
    if (error === undefined) return
    if (told === undefined) toldAt = performance.now()
    told ??= error
  }
  const refusedBy = (error: unknown): WentOn => ({
    wipes,
    refused: codeOf(error) ?? 'none',
    unread: truth.size,
    missing: 0,
    wrong: error instanceof TidemarkError ? [] : [`it ended with no error of ours: ${messageOf(error)}`],
  })
  const telemetry: Parameters<typeof start>[1] = {
    telemetry: {
      count: (counter, _labels, by = 1) => {
        if (counter === 'wipes') wipes += by
      },
      event: (event) => hear('error' in event ? event.error : undefined),
    },
  }
  const running = await start(retail, { dir, fsync: 'never', ...telemetry }).catch(refusedBy)
  if (!('app' in running)) return running
  try {
    const { app } = running
    const end = new AbortController()
    const invoices = await feed.open(running.access, { dir, unpaced: true, options: { csv } })
    const stopped = (): boolean => app.failure !== undefined || performance.now() - toldAt > TOLD_MS
    const settled = async (within: number): Promise<boolean> => {
      const until = performance.now() + within
      for (;;) {
        if ((await running.caughtUp()) && app.lag() === 0) return true
        if (performance.now() > until || stopped()) return false
        await sleep(2)
      }
    }
    try {
      await invoices.run(end.signal)
      const ready = await settled(STOPPED_MS)
      if (!ready) hear(app.failure)
      const read = await readAll(app, truth)
      const hangs = ready || told !== undefined ? [] : ['it does not become ready, and does not say why']
      return { wipes, refused: ready ? undefined : told?.code, ...read, wrong: [...read.wrong, ...hangs] }
    } finally {
      await invoices.close()
    }
  } catch (error) {
    return refusedBy(error)
  } finally {
    // A log that refused a write refuses to be closed in peace; that was told before.
    await running.close().catch((error: unknown) => {
      if (!(error instanceof TidemarkError)) throw error
    })
  }
}

type App = Awaited<ReturnType<typeof start>>['app']

async function readAll(app: App, truth: Rows): Promise<Pick<WentOn, 'unread' | 'missing' | 'wrong'>> {
  let unread = 0
  let missing = 0
  const wrong: string[] = []
  for (const [key, is] of truth) {
    const [, name, text] = /^([^/]+)\/(.*)$/s.exec(key) as unknown as [string, string, string]
    const view = app.view(name)
    try {
      const { value, row, freshness } = await view.get(view.keyOf(text))
      if (value === undefined) {
        if (freshness.state === 'fresh') missing++
        else unread++
      } else if (JSON.stringify(value) !== is.value || row?.version !== is.version) {
        if (freshness.state === 'fresh')
          wrong.push(`${key} reads as ${JSON.stringify(value)} of ${row?.version} facts, and is ${is.value} of ${is.version}`)
        else unread++
      }
    } catch (error) {
      if (!(error instanceof TidemarkError)) wrong.push(`${key} cannot be read: ${messageOf(error)}`)
      unread++
    }
  }
  if (unread > 0) return { unread, missing, wrong }
  try {
    for (const [key, value] of await pagedRows(app))
      if (truth.get(key)?.value !== value) wrong.push(`a page has ${key} as ${value}, and it is ${truth.get(key)?.value}`)
  } catch (error) {
    if (!(error instanceof TidemarkError)) wrong.push(`pages cannot be read: ${messageOf(error)}`)
    unread++
  }
  return { unread, missing, wrong }
}

export interface TryOptions {
  readonly replayed: boolean
  /** What the log had to say before the damage; undefined where a process was killed, and may have lost what no disk had confirmed. */
  readonly log: string | undefined
}

/** Tries a damaged folder in copies: verifies it, mends it, replays it where that is asked for, and starts it as it is. */
export async function tryFolder(damaged: string, truth: Truth, also: TryOptions): Promise<Outcome> {
  const wrong: string[] = []
  const found = await inScratch(async (scratch) => {
    const verified = await verifiedAndMended(damaged, join(scratch, 'mended'), truth, also, wrong)
    if (also.replayed) await replayedIn(damaged, join(scratch, 'replayed'), wrong)
    return verified
  })
  const went = await goOn(damaged, truth)
  wrong.push(...went.wrong)
  if (went.missing > 0 && found.length === 0) wrong.push(`${went.missing} rows are missing, and verify finds nothing`)
  if (went.refused !== undefined && found.length === 0) wrong.push(`it is refused with ${went.refused}, and verify finds nothing`)
  return { found, start: startOf(went), wrong }
}

function startOf({ refused, missing, unread, wipes }: WentOn): Outcome['start'] {
  if (refused !== undefined) return 'refused'
  if (unread > 0) return 'reads refused'
  if (missing > 0) return 'rows missing'
  return wipes > 0 ? 'restored' : 'as if nothing were'
}

/** Codes that verify names. State that it moved aside must come back whole; what it calls whole must hold what it held. */
async function verifiedAndMended(
  damaged: string,
  into: string,
  truth: Truth,
  { log }: TryOptions,
  wrong: string[],
): Promise<readonly string[]> {
  copy(damaged, into)
  const verified = await verifiedIn(into, { repair: true })
  if (verified instanceof TidemarkError) return [verified.code]
  if (verified.problems.length === 0) {
    if (log !== undefined && verified.log !== log) wrong.push('verify finds nothing, and the log has other records than it had')
    return []
  }
  const inLog = verified.problems.some(({ where }) => !verified.repaired.includes(where))
  // What a journal that was not closed has lost may be what the state was made from: then it is refused, which is right.
  if (log !== undefined && !inLog) {
    const mended = await goOn(into, truth)
    const { refused, unread, missing } = mended
    if (refused !== undefined || unread + missing > 0)
      wrong.push(`after verify --repair it is refused with ${refused}, ${unread + missing} rows cannot be read`)
    wrong.push(...mended.wrong)
    const again = await verifiedIn(into, { repair: false })
    if (again instanceof TidemarkError || again.problems.length > 0) wrong.push('after verify --repair, verify still finds something')
  }
  return [...new Set(verified.problems.map(({ error }) => error.code))]
}

async function verifiedIn(
  dir: string,
  options: { readonly repair: boolean },
): Promise<(Verified & { readonly log: string }) | TidemarkError> {
  try {
    const opened = await openFolder(dir)
    try {
      const verified = await verify(retail.graph, opened.world, options)
      return { ...verified, log: verified.problems.length === 0 ? await digestOfLog(opened.world) : '' }
    } finally {
      await opened.close()
    }
  } catch (error) {
    if (error instanceof TidemarkError) return error
    throw error
  }
}

/** A replay reads an inbox from its beginning: it must come to the same state, or be refused. */
async function replayedIn(damaged: string, into: string, wrong: string[]): Promise<void> {
  copy(damaged, into)
  try {
    const opened = await openFolder(into)
    try {
      for (const view of VIEWS) {
        const { equal } = await replay(retail.graph, view, opened.world, { switch: 'never' })
        if (!equal) wrong.push(`a replay of ${view} gives another state`)
      }
    } finally {
      await opened.close()
    }
  } catch (error) {
    if (!(error instanceof TidemarkError)) throw error
  }
}

/**
 * What the log has to say, as a hash: every committed record, and of topics that are compacted the last value of each key, because when that
 * is done is not determined.
 */
export async function digestOfLog({ log }: World): Promise<string> {
  const hash = createHash('sha256')
  for (const { name, partitions, cleanup } of (await log.describe()).toSorted((a, b) => (a.name < b.name ? -1 : 1))) {
    for (let partition = 0; partition < partitions; partition++) {
      const own = partitionName(name, partition)
      const last = new Map<string, string>()
      hash.update(`${own}\n`)
      for await (const { columns } of batchesOf(log, own)) {
        const { payload, keyAt, keyEnd, valueAt, headersEnd } = columns
        for (const [i, offset] of columns.offsets.entries()) {
          const key = payload.toString('latin1', keyAt[i], keyEnd[i])
          const rest = payload.toString('latin1', valueAt[i] === -1 ? keyEnd[i] : valueAt[i], headersEnd[i])
          const record = `${offset} ${columns.timestamps[i]} ${key} ${rest}\n`
          if (cleanup === 'delete') hash.update(record)
          else if (valueAt[i] === -1) last.delete(key)
          else last.set(key, record)
        }
      }
      for (const key of [...last.keys()].toSorted()) hash.update(last.get(key) ?? '')
    }
  }
  return hash.digest('hex')
}

/** What is true of a folder that was fed to its end. */
export async function truthOf(dir: string, csv: string): Promise<Truth> {
  const running = await start(retail, { dir, fsync: 'never' })
  try {
    await running.settled()
    return { csv, rows: await rowsOf(running.app) }
  } finally {
    await running.close()
  }
}

/** Removes all state: what is in the log is all there is. */
export function withoutState(dir: string): Promise<void> {
  return rm(join(dir, 'state'), { recursive: true, force: true })
}
