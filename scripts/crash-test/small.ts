/**
 * The retail application with everything small, to be killed: segments, journal and LevelDB's buffers of a few kilobytes, so that a kill also
 * meets files being begun, merged and compacted, which the shipped sizes need hundreds of megabytes for. Feeds and applies everything as fast
 * as it goes, and ends with the JSON object that `tidemark dev --once --json` ends with.
 *
 *   node scripts/crash-test/small.ts DIR [SEED [CSV]]
 */
import { setTimeout as sleep } from 'node:timers/promises'
import { TidemarkError } from '../../src/base/errors.ts'
import { Meter } from '../../src/cli/meter.ts'
import { start } from '../../src/start.ts'
import { feed, retail } from '../../topologies/retail/index.ts'
import { smallLog, smallState } from './files.ts'

const [dir, seed = '', csv] = process.argv.slice(2) as [string, string | undefined, string | undefined]
const meter = new Meter([])

async function work(): Promise<object> {
  const running = await start(retail, {
    dir,
    log: smallLog(dir),
    state: smallState(dir),
    commitInterval: '2ms',
    telemetry: meter,
  })
  try {
    const invoices = await feed.open(running.access, {
      dir,
      unpaced: true,
      options: { ...(seed === '' ? {} : { seed }), ...(csv === undefined ? {} : { csv }) },
    })
    const end = new AbortController()
    console.error(`retail on the embedded log in ${dir}, with small files`)
    try {
      await invoices.run(end.signal)
      while (!(await running.caughtUp())) {
        const failure = meter.refused ?? meter.stuck ?? running.app.failure
        if (failure !== undefined) throw failure
        await sleep(5)
      }
      return (await invoices.check(running.app)).figures
    } finally {
      await invoices.close()
    }
  } finally {
    await running.close()
  }
}

function counts(): Readonly<Record<string, number>> {
  const counters = ['applied', 'duplicate', 'gap', 'parked', 'dead', 'restored', 'wipes'] as const
  return Object.fromEntries(counters.map((counter) => [counter, meter.of(counter)]))
}

try {
  console.log(JSON.stringify({ ...(await work()), ...counts() }))
} catch (error) {
  if (!(error instanceof TidemarkError)) throw error
  const { code, message, detail, hint } = error
  console.error(error.explain())
  console.log(JSON.stringify({ ...counts(), error: { code, message, detail, hint } }))
  process.exitCode = 1
}
