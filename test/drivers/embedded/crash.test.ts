/**
 * The process dies, or the power goes, at every single disk operation of a workload with two transactional writers, a plain one, aborts,
 * fencing, trimming, small segments and small journal files. After each of them the directory is opened again and judged.
 */
import { describe, expect, it } from 'vitest'
import type { EmbeddedLog } from '../../../src/drivers/embedded/index.ts'
import type { Log, PartitionName } from '../../../src/ports/log.ts'
import { type ManualClock, manualClock, open, readAll, readValues, type SlowDisk, seededRandom, slowDisk, values } from './kit.ts'

const P: readonly PartitionName[] = ['a/0', 'a/1', 'b/0']
const TOPICS = [
  { name: 'a', partitions: 2, cleanup: 'delete', retentionMs: -1 },
  { name: 'b', partitions: 1, cleanup: 'delete', retentionMs: -1 },
] as const

/** One atomic deed: a transaction, or a plain append. */
interface Deed {
  readonly id: string
  /** What it writes, and the position that it commits. */
  readonly parts: readonly PartitionName[]
  readonly position: { readonly group: string; readonly offset: number } | undefined
  fate: 'started' | 'acknowledged' | 'aborted'
  /** Deeds that had been acknowledged when this one began. */
  readonly after: readonly Deed[]
  /** Acknowledged before a checkpoint that had ended. */
  safe: boolean
}

class Workload {
  private readonly deeds: Deed[]
  private readonly clock: ManualClock
  private readonly disk: SlowDisk

  /** Whether time alone brings a checkpoint. */
  private readonly timed: boolean

  constructor(deeds: Deed[], clock: ManualClock, disk: SlowDisk, timed: boolean) {
    this.deeds = deeds
    this.clock = clock
    this.disk = disk
    this.timed = timed
  }

  async run(log: EmbeddedLog): Promise<void> {
    const client = log.client()
    await client.ensure(TOPICS)
    await Promise.all([this.transactions(client, 'one', [P[0], P[2]] as string[]), this.plain(client, 12)])
    await this.checkpoint()
    await Promise.all([
      this.transactions(client, 'one', P),
      this.transactions(client, 'two', [P[1], P[2]] as string[]),
      this.plain(client, 6),
      this.checkpoint(),
    ])
    await client.trim('b/0', (await client.offsets(['b/0'], 'stable')).get('b/0') as number)
    await this.checkpoint()
    // A transaction is left open while others go on around it, and its writer is taken over by the next call.
    const left = await client.writer('two')
    await left.append('a/1', values('left open'))
    await this.plain(client, 3)
    await this.transactions(client, 'two', [P[1] as string])
    await log.close()
    for (const deed of this.deeds) deed.safe ||= deed.fate === 'acknowledged'
  }

  /** Time passes, and what the log does about it comes to its end. */
  async checkpoint(): Promise<void> {
    const before = this.deeds.filter(({ fate }) => fate === 'acknowledged')
    await this.clock.advance(1_000)
    await this.disk.idle()
    for (const deed of before) deed.safe ||= this.timed
  }

  private async transactions(client: Log, id: string, partitions: readonly PartitionName[]): Promise<void> {
    const writer = await client.writer(id)
    for (let round = 0; round < 4; round++) {
      const position = { group: id, offset: this.deeds.length + 1 }
      const deed = this.begin(`${id}-${this.deeds.length}`, partitions, position)
      await Promise.all(
        partitions.flatMap((each) => [writer.append(each, values(`${deed.id} a`)), writer.append(each, values(`${deed.id} b`))]),
      )
      if (round === 2) {
        deed.fate = 'aborted'
        await writer.abort()
        continue
      }
      const positions = new Map([['b/0', position.offset]])
      const outcome = await writer.commit([{ group: id, identity: undefined, positions }])
      if (outcome.kind !== 'committed') throw outcome.error
      deed.fate = 'acknowledged'
    }
  }

  private async plain(client: Log, count: number): Promise<void> {
    const writer = await client.plainWriter()
    for (let i = 0; i < count; i++) {
      const partition = P[i % 3] as string
      const deed = this.begin(`plain-${this.deeds.length}`, [partition], undefined)
      await writer.append(partition, values(`${deed.id} a`, `${deed.id} b`))
      deed.fate = 'acknowledged'
    }
  }

  private begin(id: string, parts: readonly PartitionName[], position: Deed['position']): Deed {
    const deed: Deed = {
      id,
      parts,
      position,
      fate: 'started',
      after: this.deeds.filter(({ fate }) => fate === 'acknowledged'),
      safe: false,
    }
    this.deeds.push(deed)
    return deed
  }
}

type Fault = 'crash' | 'power cut'
type Fsync = 'commit' | 'interval' | 'never'
const OPTIONS = { segmentBytes: 1_024, journalBytes: 1_024 }

interface Life {
  readonly disk: SlowDisk
  readonly deeds: Deed[]
  readonly fault: Fault
  readonly fsync: Fsync
  readonly seed: number
}

/** Runs the workload until the fault, before the end of the disk's operation `at` from now. True when it ended before. */
async function live({ disk, deeds, fault, fsync, seed }: Life, at: number): Promise<boolean> {
  const clock = manualClock()
  const workload = new Workload(deeds, clock, disk, fsync !== 'never')
  const struck = strikeAfter(disk, fault, at)
  const whole = open(disk, { ...OPTIONS, fsync, clock, random: seededRandom(seed) }).then((log) => workload.run(log))
  const ended = await Promise.race([struck, whole.then(() => true)])
  disk.before = () => false
  return ended
}

function strikeAfter(disk: SlowDisk, fault: Fault, operations: number): Promise<boolean> {
  const last = disk.ended + operations
  return new Promise((resolve) => {
    disk.before = (operation) => {
      if (operation < last) return false
      if (fault === 'crash') disk.crash()
      else disk.powerCut()
      resolve(false)
      return true
    }
  })
}

/** Opens the directory, and strikes again before that is done. */
async function strikeOpening({ disk, fault }: Life, after: number): Promise<void> {
  await Promise.race([strikeAfter(disk, fault, after), open(disk, OPTIONS).then((log) => log.close())])
  disk.before = () => false
}

/** Opens the directory and looks at everything. What it finds is what was from then on: it may neither go nor come back. */
async function judge({ disk, deeds, fault, fsync }: Life): Promise<void> {
  const everything = fault === 'crash' || fsync === 'commit'
  const log = await open(disk, OPTIONS)
  const client = log.client()
  await client.ensure(TOPICS)
  const read = new Map<PartitionName, readonly string[]>()
  for (const partition of P) {
    const ends = await Promise.all((['stable', 'high'] as const).map((at) => client.offsets([partition], at)))
    expect(ends[0], `no open transaction in ${partition}`).toEqual(ends[1])
    const records = await readAll(client, partition)
    const offsets = records.map(({ offset }) => offset)
    expect(offsets).toEqual([...offsets].sort((x, y) => x - y))
    read.set(
      partition,
      records.map(({ value }) => value as string),
    )
  }
  const trimmed = (await client.offsets(['b/0'], 'start')).get('b/0') !== 0
  // What was trimmed away cannot be asked for any more.
  const judged = deeds.filter(({ parts }) => !trimmed || parts.some((partition) => partition !== 'b/0'))
  const visible = new Set<Deed>()
  for (const deed of judged) {
    const found = deed.parts
      .filter((partition) => !trimmed || partition !== 'b/0')
      .map((partition) =>
        read
          .get(partition)
          ?.filter((value) => value === `${deed.id} a` || value === `${deed.id} b`)
          .join(),
      )
    expect(new Set(found).size, `${deed.id} is whole: ${found.join()}`).toBe(1)
    expect(['', `${deed.id} a,${deed.id} b`]).toContain(found[0])
    if (found[0] !== '') visible.add(deed)
    if (deed.fate === 'aborted') expect(visible.has(deed), `${deed.id} was aborted`).toBe(false)
    if (deed.fate === 'acknowledged' && (everything || deed.safe)) expect(visible.has(deed), `${deed.id} was promised`).toBe(true)
  }
  for (const deed of visible) {
    for (const earlier of deed.after) {
      if (judged.includes(earlier)) expect(visible.has(earlier), `${earlier.id} came before ${deed.id}`).toBe(true)
    }
  }
  for (const group of ['one', 'two']) {
    const position = (await client.committed(group, ['b/0'])) as ReadonlyMap<string, number>
    const own = judged.filter((deed) => deed.position?.group === group)
    const last = own.findLast((deed) => visible.has(deed))
    if (own.length > 0 && !trimmed) expect(position.get('b/0'), `position of ${group}`).toBe(last?.position?.offset)
    if (last !== undefined) expect(position.get('b/0'), `position of ${group}`).toBe(last.position?.offset)
  }
  for (const deed of judged) {
    deed.fate = visible.has(deed) ? 'acknowledged' : 'aborted'
    deed.safe = true
  }
  // And it goes on: the writers that were open are taken over.
  const after = deeds.length
  for (const id of ['one', 'two']) {
    const writer = await client.writer(id)
    await Promise.all(P.map((partition) => writer.append(partition, values(`${id} after ${after}`))))
    expect(await writer.commit([])).toEqual({ kind: 'committed' })
  }
  for (const partition of P) {
    expect((await readValues(client, partition)).slice(-2)).toEqual([`one after ${after}`, `two after ${after}`])
  }
  await log.close()
}

/** More rounds for a long run: each has other seeds. */
const ROUNDS = Number(process.env.TIDEMARK_CRASH_ROUNDS ?? 1)

describe('at every disk operation', () => {
  for (const [fault, fsync, first] of [
    ['crash', 'interval', 1],
    ['crash', 'never', 2],
    ['power cut', 'commit', 3],
    ['power cut', 'interval', 4],
    ['power cut', 'never', 5],
  ] as const) {
    const promise =
      fault === 'crash' || fsync === 'commit' ? 'takes nothing that was acknowledged' : 'takes at most what no checkpoint had made safe'
    it(`a ${fault} ${promise}, and leaves a moment that really was (fsync ${fsync})`, { timeout: 60_000 * ROUNDS }, async () => {
      for (let round = 0; round < ROUNDS; round++) {
        let operations = 0
        for (let at = 1; ; at++) {
          const seed = first + at * 100 + round * 100_003
          const random = seededRandom(seed)
          const life: Life = { disk: slowDisk(random), deeds: [], fault, fsync, seed }
          if (await live(life, at)) break
          operations = at
          try {
            // The opening after it meets the same fate now and then, and so does the next life.
            if (at % 2 === 0) await strikeOpening(life, 1 + Math.floor(random.unit() * 40))
            await judge(life)
            if (at % 3 !== 0) continue
            await live(life, 40 + Math.floor(random.unit() * 120))
            await judge(life)
          } catch (cause) {
            throw new Error(`after a ${fault} at operation ${at} of round ${round} (seed ${seed})`, { cause })
          }
        }
        expect(operations).toBeGreaterThan(100)
      }
    })
  }
})
