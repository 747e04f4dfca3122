/** `tidemark export`: all rows of a view as JSON lines, from a folder that nobody has open, or from the changelogs on Kafka. */
import { openResting } from '../../runtime/offline.ts'
import { jsonText } from '../../server/json.ts'
import { offline, type WantedAnywhere } from '../offline.ts'
import { EXIT, type Shell } from '../shell.ts'

export interface ExportOptions extends WantedAnywhere {
  /** Only rows whose key's text begins so. */
  readonly prefix: string | undefined
}

const PAGE_ROWS = 1_000

/** @throws TidemarkError VIEW_UNKNOWN, LOG_LOCKED, INPUT_INVALID, PLAN_CHANGED */
export async function exportView(view: string, options: ExportOptions, shell: Shell): Promise<number> {
  const instead = (url: string | undefined): string =>
    url === undefined ? 'Stop that process, or read the view from it over HTTP.' : `Stop it, or read the view from it: ${url}/views/${view}`
  await offline(options, shell, instead, async ({ graph, world, signal, shared }) => {
    const resting = await openResting(graph, view, world, { signal, shared })
    try {
      let after: string | undefined
      do {
        signal.throwIfAborted()
        const page = await resting.page({
          limit: PAGE_ROWS,
          ...(options.prefix === undefined ? {} : { prefix: options.prefix }),
          ...(after === undefined ? {} : { after }),
        })
        if (page.rows.length > 0) await shell.out.write(page.rows.map(({ key, value }) => `${jsonText({ key, value })}\n`).join(''))
        after = page.next
      } while (after !== undefined && !shell.out.gone)
    } finally {
      await resting.close()
    }
  })
  return EXIT.ok
}
