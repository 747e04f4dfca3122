/**
 * W1 on the embedded log in a process of its own: started on a folder whose source topic is loaded, it works until everything is committed and
 * prints one line of JSON. Its CPU time and memory are its own from the first instruction on, start-up and compilation included.
 */
import { readdirSync, readFileSync } from 'node:fs'
import { start } from '#tidemark'
import { w1, w1Schemas } from './topology.ts'

const [dir, total] = [process.argv[2] as string, Number(process.argv[3])]
const guarantee = (process.argv[4] ?? 'exactly-once') as 'exactly-once' | 'at-least-once'
const counts: Record<string, number> = {}
const running = await start(w1, {
  dir,
  guarantee,
  schemas: await w1Schemas(),
  telemetry: {
    count: (counter, _labels, by = 1) => {
      counts[counter] = (counts[counter] ?? 0) + by
    },
    event: (event) => {
      if ('error' in event && event.error !== undefined) console.error(event.kind, event.error.explain())
    },
  },
})
const startedMs = performance.now()
let tenthAt: number | undefined
for (;;) {
  const done = counts.records_in ?? 0
  if (tenthAt === undefined && done >= total / 10) tenthAt = performance.now()
  if (done >= total && (await running.caughtUp())) break
  if (running.app.failure !== undefined) throw running.app.failure
  await new Promise((resolve) => setTimeout(resolve, 10))
}
const endMs = performance.now()
const { user, system } = process.cpuUsage()
const threads = threadCpu()
const memory = process.memoryUsage()
await running.close()
console.log(
  JSON.stringify({
    records: total,
    seconds: endMs / 1_000,
    startS: startedMs / 1_000,
    rate10to100: tenthAt === undefined ? undefined : Math.round((0.9 * total) / ((endMs - tenthAt) / 1_000)),
    rateOverall: Math.round(total / (endMs / 1_000)),
    cpuS: (user + system) / 1e6,
    cpuMicrosPerRecord: (user + system) / total,
    rssMaxMB: Math.round(process.resourceUsage().maxRSS / 1024),
    memoryMB: Object.fromEntries(Object.entries(memory).map(([part, bytes]) => [part, Math.round(bytes / 2 ** 20)])),
    threads,
    counts,
  }),
)

/** CPU seconds by kind of thread, where the system tells (Linux): what the main thread uses, and what others do for it. */
function threadCpu(): Record<string, number> {
  const seconds: Record<string, number> = {}
  if (process.platform !== 'linux') return seconds
  for (const task of readdirSync('/proc/self/task')) {
    const stat = readFileSync(`/proc/self/task/${task}/stat`, 'utf8')
    const name = stat.slice(stat.indexOf('(') + 1, stat.lastIndexOf(')'))
    const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ')
    seconds[name] = Number(((seconds[name] ?? 0) + (Number(fields[11]) + Number(fields[12])) / 100).toFixed(2))
  }
  return seconds
}
