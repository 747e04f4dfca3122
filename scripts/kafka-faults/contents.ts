/** What a log may hold, and lose: records that are gone, another topic under the same name, aborted transactions, holes, large records, codecs. */
import { join } from 'node:path'
import { Kafka, logLevel } from 'kafkajs'
import { start, type Topology, text, topology } from '#tidemark'
import { kafka } from '#tidemark/drivers/kafka'
import { copy, IN, OrderEvent, OUT, w1, w1Schemas } from '../../bench/w1/topology.ts'
import { codeOf, messageOf, TidemarkError } from '../../src/base/errors.ts'
import { type KafkaCluster, startKafka } from '../../src/testing/broker/index.ts'
import type { Check, CheckOptions, CheckResult } from './check.ts'
import { type Codec, type Line, readCommitted, type Written, write } from './java.ts'
import { GROUP, INPUT, PARTITIONS, Rig, sleep } from './w1-rig.ts'

const CODECS: readonly Codec[] = ['none', 'gzip', 'snappy', 'lz4', 'zstd']
const PATIENCE_MS = 60_000

const copyOfCompacted = topology('w1', (flow) => {
  flow.stream(IN, { key: text, value: OrderEvent }, { cleanup: 'compact' }).to('copied', OUT)
  return []
})
const TOPOLOGIES = { w1, copy, compacted: copyOfCompacted }

/** Records, where they are not the workload's. */
type Found = Omit<CheckResult, 'records'> & { readonly records?: number }

interface Lab {
  readonly cluster: KafkaCluster
  readonly rig: Rig
  readonly options: CheckOptions
  /** Runs the application here until it has caught up, or failed. */
  readonly work: (which?: 'w1' | 'copy' | 'compacted') => Promise<{
    readonly error: TidemarkError | undefined
    readonly wipes: number
    readonly failures: number
    readonly warnings: readonly string[]
  }>
}

async function inLab(options: CheckOptions, deed: (lab: Lab) => Promise<Found>): Promise<CheckResult> {
  const cluster = await startKafka()
  try {
    const rig = await Rig.open({ folder: options.folder, brokers: cluster.brokers, records: options.records, seed: options.seed })
    const work: Lab['work'] = async (which = 'w1') => {
      let [wipes, failures] = [0, 0]
      const warnings: string[] = []
      const app = await start(TOPOLOGIES[which] as Topology, {
        dir: join(options.folder, which),
        log: kafka({ brokers: cluster.brokers }),
        schemas: await w1Schemas(),
        telemetry: {
          count: (counter) => {
            if (counter === 'wipes') wipes += 1
            if (counter === 'commit_failures') failures += 1
          },
          event: (event) => {
            if (event.kind === 'warning') warnings.push(event.error.code)
          },
        },
      }).catch((error: unknown) => (error instanceof TidemarkError ? error : Promise.reject(error)))
      if (app instanceof TidemarkError) return { error: app, wipes, failures, warnings }
      const late = sleep(PATIENCE_MS).then(() => new TidemarkError('APP_CLOSED', `it neither ended nor failed in ${PATIENCE_MS / 1_000} s`))
      const error = await Promise.race([
        app.settled().then(
          () => undefined,
          (failure: unknown) => failure as TidemarkError,
        ),
        late,
      ])
      await app.close().catch(() => {})
      return { error, wipes, failures, warnings }
    }
    try {
      const result = await deed({ cluster, rig, options, work })
      return { records: rig.fed, ...result }
    } finally {
      await rig.close()
    }
  } finally {
    await cluster.stop()
  }
}

/** Deletes a topic that is there, and makes one of its name. */
async function renew(cluster: KafkaCluster, topic: string, config: Readonly<Record<string, string>> = {}): Promise<void> {
  const one = new Kafka({ brokers: [...cluster.brokers], logLevel: logLevel.NOTHING }).admin()
  await one.connect()
  try {
    const there = await one.listTopics()
    if (there.includes(topic)) await one.deleteTopics({ topics: [topic] })
    const configEntries = Object.entries(config).map(([name, value]) => ({ name, value }))
    const topics = [{ topic, numPartitions: PARTITIONS, configEntries }]
    // False, or an error, while the old one is still being deleted.
    while (!(await one.createTopics({ topics, waitForLeaders: false }).catch(() => false))) await sleep(50)
  } finally {
    await one.disconnect()
  }
  // Leaders come a little later.
  await sleep(1_000)
}

const says = (error: unknown): string => (error instanceof TidemarkError ? error.code : messageOf(error))

async function outputOf(cluster: KafkaCluster): Promise<Line[]> {
  const lines: Line[] = []
  for await (const line of readCommitted(cluster.brokers, OUT)) lines.push(line)
  return lines
}

/** Records were removed that had not been read: the task stops and says so, its neighbours go on, and no position moves. */
async function gap({ options, rig, work }: Lab): Promise<Found> {
  const faulty: string[] = []
  await rig.feed(Math.floor(options.records / 2))
  const before = await work()
  if (before.error !== undefined) faulty.push(`it did not work at all: ${before.error.explain()}`)
  const [victim = ''] = INPUT
  const at = new Map(stable(await rig.log.committed(GROUP, INPUT)))
  await rig.feed(options.records)
  const cut = (at.get(victim) as number) + 10
  await rig.log.trim(victim, cut)
  const codes: string[] = []
  for (let life = 0; life < options.times; life++) {
    const { error, wipes } = await work()
    codes.push(says(error))
    if (codeOf(error) !== 'POSITION_GAP') faulty.push(`life ${life} met ${says(error)} instead of POSITION_GAP`)
    if (wipes > 0) faulty.push(`life ${life} dropped local state`)
    const now = stable(await rig.log.committed(GROUP, [victim]))
    if (now.get(victim) !== at.get(victim)) faulty.push(`life ${life} moved the position from ${at.get(victim)} to ${now.get(victim)}`)
  }
  return { faults: options.times, faulty, seen: `${codes.join(', ')}; position of the partition unmoved` }
}

function stable<Positions>(positions: Positions | 'unstable'): Positions {
  if (positions === 'unstable') throw new Error('a transaction is open')
  return positions
}

/** The source is deleted and made again while nobody looks: never read on as if it were the old one. */
async function recreated(lab: Lab): Promise<Found> {
  const { rig, cluster, options, work } = lab
  const faulty: string[] = []
  await rig.feed(Math.floor(options.records / 4))
  const before = await work()
  if (before.error !== undefined) faulty.push(`it did not work at all: ${before.error.explain()}`)
  const rows = (await outputOf(cluster)).length
  await renew(cluster, IN)
  // More than the old one had, so that the old positions lie within it.
  await rig.feed(options.records)
  const after = await work()
  const wanted = ['TOPIC_RECREATED', 'OFFSETS_LOST', 'POSITION_GAP']
  if (!wanted.includes(codeOf(after.error) ?? ''))
    faulty.push(`it went on in the other topic and said: ${says(after.error)} (warnings: ${after.warnings.join(', ') || 'none'})`)
  const more = (await outputOf(cluster)).length - rows
  if (more > 0) faulty.push(`${more} rows were written from the other topic`)
  return { faults: 1, faulty, seen: `${says(after.error)}; ${more} rows from the other topic` }
}

/** Transactions of others, two of three aborted and all mixed up: what is aborted is not there. */
async function aborted({ rig, cluster, options, work }: Lab): Promise<Found> {
  await write(cluster.brokers, IN, rig.take(options.records), { codec: 'lz4', mode: 'aborts' })
  const { error } = await work()
  const verdict = await rig.verdict()
  const faulty = error === undefined ? [] : [error.explain()]
  if (verdict.first !== undefined) faulty.push(verdict.first)
  return {
    faults: 2 * Math.ceil(options.records / 100),
    faulty,
    seen: `${verdict.rows} rows; ${verdict.lost} lost, ${verdict.twice} twice, ${verdict.wrong} wrong`,
  }
}

/** Every codec as Kafka's own producer writes it. */
async function codecs({ rig, cluster, options, work }: Lab): Promise<Found> {
  for (const codec of CODECS) await write(cluster.brokers, IN, rig.take(Math.ceil(options.records / CODECS.length)), { codec })
  const { error } = await work()
  const verdict = await rig.verdict()
  const faulty = error === undefined ? [] : [error.explain()]
  if (verdict.first !== undefined) faulty.push(verdict.first)
  return {
    faults: CODECS.length,
    faulty,
    seen: `${CODECS.join(', ')}: ${verdict.lost} lost, ${verdict.twice} twice, ${verdict.wrong} wrong`,
  }
}

/** A source that is compacted under us: holes, batches without records, and a tail of markers and nothing else. */
async function compacted({ cluster, options, work }: Lab): Promise<Found> {
  await renew(cluster, IN, {
    'cleanup.policy': 'compact',
    'segment.bytes': '1048576',
    'segment.ms': '1000',
    'min.cleanable.dirty.ratio': '0.01',
    'delete.retention.ms': '0',
  })
  const keys = 200
  const versions = Math.ceil(options.records / keys)
  const pad = Buffer.alloc(200, 'x')
  const all = (from: number, to: number): Written[] =>
    Array.from({ length: (to - from) * keys }, (_, i) => ({
      partition: i % PARTITIONS,
      timestamp: 1_700_000_000_000 + i,
      key: Buffer.from(`k${i % keys}`),
      value: i % 7 === 3 ? null : Buffer.concat([Buffer.from(`${from + Math.floor(i / keys)}-`), pad]),
    }))
  const sent = all(0, versions)
  await write(cluster.brokers, IN, sent, { codec: 'gzip', mode: 'aborts' })
  await sleep(1_500)
  // A new segment, so that the ones before it may be cleaned.
  await write(cluster.brokers, IN, all(versions, versions + 1), { mode: 'aborts' })
  let left = sent.length
  for (const until = performance.now() + PATIENCE_MS; left > sent.length / 2 && performance.now() < until; await sleep(500)) {
    left = 0
    for await (const _ of readCommitted(cluster.brokers, IN)) left += 1
  }
  const { error } = await work('compacted')
  const faulty = error === undefined ? [] : [error.explain()]
  const [input, output] = [new Map<string, string>(), new Map<string, string>()]
  for await (const { partition, key, value } of readCommitted(cluster.brokers, IN)) input.set(`${partition} ${String(key)}`, String(value))
  for await (const { key, value } of readCommitted(cluster.brokers, OUT)) output.set(String(key), String(value))
  for (const [place, value] of input) {
    const key = place.slice(place.indexOf(' ') + 1)
    if (output.get(key) !== value) faulty.push(`${key} ends with ${output.get(key)?.slice(0, 8)} and not ${value.slice(0, 8)}`)
  }
  if (left > sent.length / 2) faulty.push('the broker compacted nothing, so nothing was tried')
  return {
    faults: 1,
    faulty: faulty.slice(0, 3),
    records: sent.length,
    seen: `${sent.length} records, ${left} left of them; ${input.size} keys as they are in the input`,
  }
}

const LARGE_BYTES = 10_000_000

/** A record of 10 MB on its way through. */
async function large({ cluster, options, work }: Lab): Promise<Found> {
  for (const topic of [IN, OUT]) await renew(cluster, topic, { 'max.message.bytes': '20000000' })
  const record = (i: number, bytes: number): Written => ({
    partition: 0,
    timestamp: 1_700_000_000_000 + i,
    key: Buffer.from(`k${i}`),
    value: randomBytes(bytes, i),
  })
  const records = Array.from({ length: options.times }, (_, i) => [record(2 * i, 100), record(2 * i + 1, LARGE_BYTES)]).flat()
  await write(cluster.brokers, IN, records)
  const { error } = await work('copy')
  const faulty = error === undefined ? [] : [error.explain()]
  const got = await outputOf(cluster)
  const lost = records.filter(
    ({ key, value }) => !got.some((line) => line.key?.equals(Buffer.from(key)) === true && line.value?.equals(value as Buffer) === true),
  )
  if (lost.length > 0) faulty.push(`${lost.length} of ${records.length} did not arrive`)
  return {
    faults: options.times,
    records: records.length,
    faulty,
    seen: `${got.length} of ${records.length} records, the largest of ${LARGE_BYTES} bytes`,
  }
}

/** An output that its topic does not take: the application ends and says so, once, instead of trying for ever. */
async function oversize({ cluster, rig, work }: Lab): Promise<Found> {
  await renew(cluster, IN, { 'max.message.bytes': '20000000' })
  const [small, large] = [Buffer.from('small'), randomBytes(3_000_000, 1)]
  const records = [small, large, small].map(
    (value, i): Written => ({ partition: 0, timestamp: 1_700_000_000_000 + i, key: Buffer.from(`k${i}`), value }),
  )
  await write(cluster.brokers, IN, records)
  const { error, failures } = await work('copy')
  const faulty: string[] = []
  if (codeOf(error) !== 'BATCH_LIMIT') faulty.push(`it met ${says(error)} instead of BATCH_LIMIT`)
  if (failures > 1) faulty.push(`it tried ${failures} times`)
  const position = stable(await rig.log.committed(GROUP, [`${IN}/0`])).get(`${IN}/0`) ?? 0
  if (position > 1) faulty.push(`it committed position ${position}, behind a record that is nowhere`)
  return { faults: 1, records: records.length, faulty, seen: `${says(error)} after ${failures} commit; position before the record` }
}

function randomBytes(count: number, seed: number): Buffer {
  const bytes = Buffer.alloc(count)
  for (let i = 0, word = seed + 1; i + 4 <= count; i += 4) {
    word = (Math.imul(word, 1_664_525) + 1_013_904_223) | 0
    bytes.writeInt32LE(word, i)
  }
  return bytes
}

export const CONTENTS: readonly Check[] = [
  { name: 'gap', about: 'the log start is moved past our position', times: 3, records: 4_000, run: (options) => inLab(options, gap) },
  {
    name: 'recreated',
    about: 'the source is deleted and made again, with more records than it had',
    times: 1,
    records: 8_000,
    run: (options) => inLab(options, recreated),
  },
  {
    name: 'aborted',
    about: 'transactions of others, two of three aborted, in one another',
    times: 1,
    records: 20_000,
    run: (options) => inLab(options, aborted),
  },
  {
    name: 'compacted',
    about: 'a source that was compacted: holes, empty batches, markers at its end',
    times: 1,
    records: 20_000,
    run: (options) => inLab(options, compacted),
  },
  { name: 'large', about: 'records of 10 MB', times: 3, records: 6, fixed: true, run: (options) => inLab(options, large) },
  {
    name: 'oversize',
    about: 'an output that is larger than its topic takes',
    times: 1,
    records: 3,
    fixed: true,
    run: (options) => inLab(options, oversize),
  },
  {
    name: 'codecs',
    about: "every compression, as Kafka's own producer writes it",
    times: 1,
    records: 20_000,
    run: (options) => inLab(options, codecs),
  },
]
