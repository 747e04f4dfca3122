/** The retail topology on the real embedded log in a folder, with its feed: what `tidemark dev` runs, without the display. */
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { type Counter, type FeedCheck, type Labels, type LogDriver, type Running, type RunningFeed, start } from '#tidemark'
import { feed, retail } from '../../topologies/retail/index.ts'

export const HEADER = 'InvoiceNo,StockCode,Description,Quantity,InvoiceDate,UnitPrice,CustomerID,Country'
/** Facts that the two inboxes get from the shipped file, in whatever order its rows come. */
export const APPLIED = 22_383
export const FIGURES = {
  rows: 2_504,
  sums: { physical: 2_502_981, reserved: 79_195, allocatable: 2_423_786 },
  hash: '483e60d96b34e57f3f5609baad900fb84e92f30a2d7d4ba70f32db3ae68b67bf',
} as const
export const SALES = {
  rows: 25,
  sums: { units: 90_010, cents: 18_031_618, returnedUnits: 10_815, returnedCents: 352_379 },
} as const
/** What a check of the shipped file says when all is well. */
export const RIGHT = { ...FIGURES, equal: true, brokenRows: 0, sales: SALES } as const

export interface FeedOptions {
  readonly csv?: string
  readonly seed?: string
  readonly pace?: string
}

/** A folder that is gone when the test is through. */
export async function inFolder<T>(work: (folder: string) => Promise<T>): Promise<T> {
  const folder = mkdtempSync(join(tmpdir(), 'tidemark-retail-'))
  try {
    return await work(folder)
  } finally {
    rmSync(folder, { recursive: true, force: true })
  }
}

export function csvIn(folder: string, rows: readonly string[], name = 'invoices.csv'): string {
  const file = join(folder, name)
  writeFileSync(file, `${[HEADER, ...rows].join('\n')}\n`)
  return file
}

/** One run of the program on a folder, begun and not ended. */
export class Session {
  readonly counts: Map<string, number>
  readonly running: Running<typeof retail.projections>
  readonly feed: RunningFeed

  private constructor(running: Running<typeof retail.projections>, opened: RunningFeed, counts: Map<string, number>) {
    this.running = running
    this.feed = opened
    this.counts = counts
  }

  /** @param log where facts travel. Default: the embedded log in the folder */
  static async begin(dir: string, options: FeedOptions = {}, log?: LogDriver): Promise<Session> {
    const counts = new Map<string, number>()
    const count = (counter: Counter, _labels: Labels, by = 1): unknown => counts.set(counter, (counts.get(counter) ?? 0) + by)
    const running = await start(retail, {
      dir,
      ...(log === undefined ? { fsync: 'never' } : { log }),
      telemetry: { count, event: () => {} },
    })
    try {
      const opened = await feed.open(running.access, { dir, unpaced: options.pace === undefined, options: { ...options } })
      return new Session(running, opened, counts)
    } catch (error) {
      await running.close()
      throw error
    }
  }

  count(counter: Counter): number {
    return this.counts.get(counter) ?? 0
  }

  /** Feeds what is left, waits until all of it is applied and on disk, and compares. */
  async finish(): Promise<FeedCheck> {
    await this.feed.run(new AbortController().signal)
    await this.applied()
    return this.feed.check(this.running.app)
  }

  async applied(): Promise<void> {
    const { app } = this.running
    while (app.lag() !== 0 || !(await this.running.caughtUp())) {
      if (app.failure !== undefined) throw app.failure
      await sleep(10)
    }
  }

  /** Facts that the rows of both views were made of: each row counts those that it took in. */
  async factsInRows(): Promise<number> {
    let facts = 0
    for (const name of ['allocatable-stock', 'sales-by-day'] as const) {
      const view = this.running.app.view(name)
      for (let after: string | undefined; ; ) {
        const page = await view.page({ limit: 1_000, ...(after === undefined ? {} : { after }) })
        for (const { key } of page.rows) facts += (await view.get(key)).row?.version ?? 0
        if (page.next === undefined) break
        after = page.next
      }
    }
    return facts
  }

  async close(): Promise<void> {
    await this.feed.close()
    await this.running.close()
  }
}

/** A whole run: begun, fed, compared, closed. */
export async function whole(
  dir: string,
  options: FeedOptions = {},
): Promise<{
  readonly check: FeedCheck
  readonly count: (counter: Counter) => number
  readonly facts: number
  readonly problems: readonly string[]
}> {
  const session = await Session.begin(dir, options)
  try {
    const check = await session.finish()
    return { check, count: (counter) => session.count(counter), facts: await session.factsInRows(), problems: session.feed.problems }
  } finally {
    await session.close()
  }
}
