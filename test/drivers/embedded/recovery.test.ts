import { describe, expect, it } from 'vitest'
import { nativeCodecs } from '../../../src/drivers/codecs/index.ts'
import { Health } from '../../../src/drivers/embedded/health.ts'
import { Journal } from '../../../src/drivers/embedded/journal.ts'
import { encodeRecord } from '../../../src/drivers/embedded/journal-format.ts'
import { readJournal } from '../../../src/drivers/embedded/journal-read.ts'
import { LogState } from '../../../src/drivers/embedded/state.ts'
import type { Log } from '../../../src/ports/log.ts'
import { readBatches } from '../../../src/ports/record-batch/index.ts'
import type { SimulatedDisk } from '../../../src/testing/disk.ts'
import { FOLDER, fileOf, manualClock, open, quickDisk, readAll, readValues, values } from './kit.ts'

const TOPIC = { name: 'a', partitions: 2, cleanup: 'delete', retentionMs: -1 } as const
const journals = (disk: SimulatedDisk): string[] => [...disk.files().keys()].filter((path) => path.startsWith(`${FOLDER}/journal/`))

async function append(log: Log, partition: string, ...texts: string[]): Promise<void> {
  const writer = await log.plainWriter()
  for (const text of texts) await writer.append(partition, values(text))
  await writer.close()
}

async function ends(log: Log): Promise<unknown[]> {
  return Promise.all((['start', 'stable', 'high'] as const).map((at) => log.offsets(['a/0', 'a/1'], at)))
}

describe('opening again', () => {
  it('after a close reads no batch, cuts nothing and moves no offset', async () => {
    const disk = quickDisk()
    let log = await open(disk)
    let client = log.client()
    await client.ensure([TOPIC])
    const writer = await client.writer('w')
    for (let i = 0; i < 50; i++) {
      await writer.append('a/0', values(`${i}`))
      expect((await writer.commit([])).kind).toBe('committed')
    }
    await writer.append('a/1', values('dropped'))
    await writer.close()
    const before = await ends(client)
    await log.close()
    const bytes = disk.files().get(fileOf(disk, '/0/00000000000000000000.log'))
    log = await open(disk)
    client = log.client()
    expect(log.recovery).toMatchObject({ dropped: 0, tornBytes: 0, checkedBytes: 0, cutBytes: 0, abortedTransactions: 0 })
    // The control batches of the last commit and of the abort were written by the close.
    expect(await ends(client)).toEqual([
      before[0],
      new Map([
        ['a/0', 100],
        ['a/1', 2],
      ]),
      new Map([
        ['a/0', 100],
        ['a/1', 2],
      ]),
    ])
    expect(disk.files().get(fileOf(disk, '/0/00000000000000000000.log'))).toEqual(bytes)
    await log.close()
  })

  it('after a crash moves no offset either: control batches that were owed come where they would have been', async () => {
    const disk = quickDisk()
    let log = await open(disk)
    let client = log.client()
    await client.ensure([TOPIC])
    const [one, two] = [await client.writer('one'), await client.writer('two')]
    await one.append('a/0', values('one'))
    await two.append('a/0', values('two'))
    await one.commit([])
    await two.abort()
    await append(client, 'a/0', 'plain')
    const group = { group: 'g', identity: undefined, positions: new Map([['a/0', 5]]) }
    await one.append('a/1', values('position'))
    await one.commit([group])
    const all = await readAll(client, 'a/0')
    expect(all.map(({ offset }) => offset)).toEqual([0, 4])
    disk.crash()
    log = await open(disk)
    client = log.client()
    expect(await readAll(client, 'a/0')).toEqual(all)
    const reader = client.reader('committed')
    reader.assign(new Map([['a/0', 5]]))
    expect(await reader.poll({ bytes: 1, waitMs: 0 })).toEqual([])
    await log.close()
  })

  it('a position behind a control batch that a crash took is no gap', async () => {
    const disk = quickDisk()
    let log = await open(disk)
    let client = log.client()
    await client.ensure([TOPIC])
    const writer = await client.writer('w')
    await writer.append('a/0', values('x'))
    await writer.commit([])
    // The reader has passed the control batch, and says so in a decision that touches another partition.
    await log.client().trim('a/0', 0)
    const clock = manualClock()
    await clock.advance(0)
    const [fetched] = await readerAt(client, 'a/0', 0)
    expect(fetched).toMatchObject({ kind: 'batches', next: 1 })
    await append(client, 'a/0', 'y')
    const [second] = await readerAt(client, 'a/0', 1)
    expect(second).toMatchObject({ kind: 'batches', next: 3 })
    await writer.append('a/0', values('z'))
    await writer.commit([])
    await client.commitPositions({ group: 'g', identity: undefined, positions: new Map([['a/0', 4]]) })
    disk.crash()
    log = await open(disk)
    client = log.client()
    // 4 lies behind "z"; its control batch at 4 was never written, and is there now.
    expect((await client.offsets(['a/0'], 'high')).get('a/0')).toBe(5)
    expect(await readerAt(client, 'a/0', 4)).toMatchObject([{ kind: 'batches', next: 5 }])
    await log.close()
  })

  it('again and again after crashes leaves the files as they are', async () => {
    const disk = quickDisk()
    let log = await open(disk)
    await log.client().ensure([TOPIC])
    const writer = await log.client().writer('w')
    await writer.append('a/0', values('kept'))
    await writer.commit([])
    await writer.append('a/0', values('open'))
    await append(log.client(), 'a/0', 'plain')
    disk.crash()
    log = await open(disk)
    expect(log.recovery.abortedTransactions).toBe(1)
    const size = (): number | undefined => disk.files().get(fileOf(disk, '/0/00000000000000000000.log'))?.length
    const first = size()
    for (let i = 0; i < 3; i++) {
      disk.crash()
      log = await open(disk)
      expect(log.recovery.abortedTransactions).toBe(0)
      expect(size()).toBe(first)
    }
    expect(await readValues(log.client(), 'a/0')).toEqual(['kept', 'plain'])
    await log.close()
  })
})

describe('two power cuts', () => {
  it('what an opening cut off does not come back under a decision that was made later', async () => {
    const disk = quickDisk()
    let log = await open(disk, { fsync: 'never' })
    await log.client().ensure([TOPIC])
    const writer = await log.client().writer('w')
    await writer.append('a/0', values('undecided'))
    disk.powerCut(() => 'kept')
    log = await open(disk, { fsync: 'never' })
    // The same size at the same offset: only its content tells it from what was there before.
    await append(log.client(), 'a/0', 'different')
    disk.powerCut((path) => (path.endsWith('.log') ? 'lost' : 'kept'))
    log = await open(disk)
    expect(log.recovery.dropped).toBeGreaterThan(0)
    expect(await readValues(log.client(), 'a/0', 'uncommitted')).toEqual([])
    await log.close()
  })

  it('a file that an opening removed does not come back under a decision that was made later', async () => {
    const disk = quickDisk()
    const options = { fsync: 'never', segmentBytes: 1_024 } as const
    let log = await open(disk, options)
    await log.client().ensure([TOPIC])
    await append(log.client(), 'a/0', 'x'.repeat(900))
    await log.close()
    log = await open(disk, options)
    const writer = await log.client().writer('w')
    await writer.append('a/0', values('undecided'))
    expect(() => fileOf(disk, '/00000000000000000001.log')).not.toThrow()
    disk.powerCut(() => 'kept')
    log = await open(disk, options)
    await append(log.client(), 'a/0', 'different')
    disk.powerCut((path) => (path.endsWith('/0') || path.endsWith('.log') ? 'lost' : 'kept'))
    log = await open(disk)
    expect((await readValues(log.client(), 'a/0', 'uncommitted')).map((value) => value?.length)).toEqual([900])
    await log.close()
  })

  it('what an opening after a crash found survives the power cut after it', async () => {
    const disk = quickDisk()
    let log = await open(disk, { fsync: 'never' })
    await log.client().ensure([TOPIC])
    await append(log.client(), 'a/0', 'kept')
    disk.crash()
    log = await open(disk, { fsync: 'never' })
    disk.powerCut(() => 'lost')
    log = await open(disk)
    expect(await readValues(log.client(), 'a/0')).toEqual(['kept'])
    await log.close()
  })

  it('a file that a crash left without anything decided is safe when something is', async () => {
    const disk = quickDisk()
    let log = await open(disk, { fsync: 'never' })
    await log.client().ensure([TOPIC])
    const writer = await log.client().writer('w')
    await writer.append('a/0', values('undecided'))
    disk.crash()
    log = await open(disk, { fsync: 'commit' })
    await append(log.client(), 'a/0', 'decided')
    disk.powerCut(() => 'lost')
    log = await open(disk)
    expect(await readValues(log.client(), 'a/0')).toEqual(['decided'])
    await log.close()
  })

  it('does not take a topic whose making was acknowledged, in any mode', async () => {
    const disk = quickDisk()
    const log = await open(disk, { fsync: 'never' })
    const [made] = await log.client().ensure([TOPIC])
    disk.powerCut(() => 'lost')
    const again = await open(disk, { fsync: 'never' })
    expect(await again.client().describe()).toEqual([made])
    await again.close()
  })

  it('a topic that is made again shares no file with the one that was taken back', async () => {
    const disk = quickDisk()
    let log = await open(disk, { fsync: 'never' })
    await log.client().ensure([TOPIC])
    await append(log.client(), 'a/0', 'of the first', 'of the first too')
    disk.crash()
    for (const path of journals(disk)) await disk.fs.remove(path)
    log = await open(disk, { fsync: 'never' })
    expect(await log.client().describe()).toEqual([])
    expect([...disk.files().keys()].filter((path) => path.endsWith('.log'))).toEqual([])
    await log.client().ensure([TOPIC])
    await append(log.client(), 'a/0', 'of the next')
    disk.crash()
    log = await open(disk)
    expect(await readValues(log.client(), 'a/0')).toEqual(['of the next'])
    await log.close()
  })
})

describe('torn tails', () => {
  it('half a batch, half a record of the journal and bytes of anything are cut off', async () => {
    const disk = quickDisk()
    let log = await open(disk)
    await log.client().ensure([TOPIC])
    await append(log.client(), 'a/0', 'one', 'two')
    disk.crash()
    for (const path of [...journals(disk), fileOf(disk, '/0/00000000000000000000.log')]) {
      const bytes = disk.files().get(path) as Buffer
      const file = await disk.fs.open(path)
      await file.write([bytes.subarray(-40, -5)], bytes.length)
    }
    log = await open(disk)
    expect(log.recovery).toMatchObject({ tornBytes: 35, cutBytes: 35, dropped: 0 })
    expect(await readValues(log.client(), 'a/0')).toEqual(['one', 'two'])
    await append(log.client(), 'a/0', 'three')
    await log.close()
    log = await open(disk)
    expect(await readValues(log.client(), 'a/0')).toEqual(['one', 'two', 'three'])
    await log.close()
  })
})

describe('the journal', () => {
  it('grows into new files, and the old ones go', async () => {
    const disk = quickDisk()
    const clock = manualClock()
    let log = await open(disk, { clock, journalBytes: 1_024 })
    const client = log.client()
    await client.ensure([TOPIC])
    const writer = await client.writer('w')
    const names = new Set<string>()
    for (let i = 0; i < 300; i++) {
      await writer.append('a/0', values(`${i}`))
      await writer.commit([{ group: 'g', identity: undefined, positions: new Map([['a/1', i]]) }])
      if (i % 10 === 0) await clock.advance(1_000)
      for (const path of journals(disk)) names.add(path)
    }
    expect(names.size).toBeGreaterThan(5)
    await clock.advance(1_000)
    expect(journals(disk).length).toBeLessThanOrEqual(2)
    disk.powerCut()
    log = await open(disk)
    // Little is read: the snapshot stands for everything before it.
    expect(log.recovery.records).toBeLessThan(100)
    expect(await readValues(log.client(), 'a/0')).toEqual(Array.from({ length: 300 }, (_, i) => `${i}`))
    expect(await log.client().committed('g', ['a/1'])).toEqual(new Map([['a/1', 299]]))
    await log.close()
  })

  it('is read as it was last, also where a file that an opening had made superfluous could not be removed', async () => {
    const disk = quickDisk()
    const clock = manualClock()
    const options = { clock, journalBytes: 1_024 }
    let log = await open(disk, options)
    await log.client().ensure([TOPIC])
    let written = 0
    const grow = async (): Promise<void> => {
      const writer = await log.client().writer('w')
      for (const until = written + 100; written < until; written++) {
        await writer.append('a/0', values(`${written}`))
        await writer.commit([])
        if (written % 10 === 9) await clock.advance(1_000)
      }
      await writer.close()
    }
    await grow()
    for (let round = 0; round < 3; round++) {
      await log.close()
      const before = journals(disk)
      const failure = disk.faults.fail('remove', 1)
      log = await open(disk, options)
      expect(failure.happened).toBe(true)
      expect(journals(disk)).toContain(before[0])
      await grow()
      expect(journals(disk)).not.toContain(before[0])
      expect(await readValues(log.client(), 'a/0')).toEqual(Array.from({ length: written }, (_, i) => `${i}`))
    }
    disk.powerCut()
    log = await open(disk, options)
    expect(await readValues(log.client(), 'a/0')).toEqual(Array.from({ length: written }, (_, i) => `${i}`))
    await log.close()
  })

  it('that is damaged where the disk had confirmed it is refused by file and byte, not forgotten', async () => {
    const disk = quickDisk()
    const clock = manualClock()
    const log = await open(disk, { clock })
    await log.client().ensure([TOPIC])
    for (let i = 0; i < 5; i++) {
      await append(log.client(), 'a/0', `${i}`)
      await clock.advance(1_000)
    }
    disk.crash()
    const path = journals(disk)[0] as string
    const size = disk.files().get(path)?.length as number
    const found = new Set<string>()
    // The tail behind the last confirmation is another matter, and has a test of its own.
    for (let byte = 0; byte < size * 0.6; byte++) {
      disk.faults.flip(path, byte, byte % 8)
      const error = await open(disk).then(
        () => undefined,
        (reason: unknown) => reason as { code: string; detail: string },
      )
      expect(error?.code, `byte ${byte}`).toBe('LOG_CORRUPT')
      expect(error?.detail).toContain(path)
      found.add(error?.detail as string)
      disk.faults.flip(path, byte, byte % 8)
      disk.crash()
    }
    expect(found.size).toBeGreaterThan(5)
    const again = await open(disk)
    expect(await readValues(again.client(), 'a/0')).toEqual(['0', '1', '2', '3', '4'])
    await again.close()
  })

  it('ends where a record or a file of it is missing, whatever comes behind', async () => {
    const disk = quickDisk()
    const folder = `${FOLDER}/journal`
    await disk.fs.makeFolder(folder)
    const health = new Health()
    const options = { folder, fs: disk.fs, codecs: nativeCodecs, health, fileBytesMax: 64, syncEach: false }
    const journal = await Journal.begin(options, new LogState(), 1, 1)
    // Nobody makes checkpoints here, so the older files stay.
    for (let next = 1; journals(disk).length < 3; next++) await journal.submit({ kind: 'ids', next })
    await journal.submit({ kind: 'ids', next: 50 })
    await journal.close()
    const [first, second, third] = journals(disk) as [string, string, string]
    const whole = await readJournal(folder, disk.fs, nativeCodecs)
    await disk.fs.remove(second)
    const broken = await readJournal(folder, disk.fs, nativeCodecs)
    expect(broken.records.length).toBeLessThan(whole.records.length)
    expect(broken.tornBytes).toBe(disk.files().get(third)?.length)
    // A frame whose number is not the next one is not read, however sound it is.
    const file = await disk.fs.open(first)
    const skipping = (broken.records.at(-1)?.sequence as number) + 2
    await file.write([encodeRecord({ kind: 'ids', next: 99 }, skipping, nativeCodecs)], file.size)
    expect((await readJournal(folder, disk.fs, nativeCodecs)).records).toEqual(broken.records)
  })

  it('that is damaged in its last record loses that record and no other', async () => {
    const disk = quickDisk()
    let log = await open(disk)
    await log.client().ensure([TOPIC])
    await append(log.client(), 'a/0', 'one', 'two')
    disk.crash()
    const path = journals(disk)[0] as string
    disk.faults.flip(path, (disk.files().get(path)?.length as number) - 1, 0)
    log = await open(disk)
    expect(await readValues(log.client(), 'a/0')).toEqual(['one'])
    await log.close()
  })
})

describe('segments', () => {
  it('explain themselves: every batch as Kafka lays it, with the control batches that end transactions', async () => {
    const disk = quickDisk()
    let log = await open(disk)
    await log.client().ensure([TOPIC])
    const writer = await log.client().writer('w')
    await writer.append('a/0', values('a', 'b'))
    await writer.commit([])
    await writer.append('a/0', values('c'))
    await writer.abort()
    await append(log.client(), 'a/0', 'd')
    await log.close()
    log = await open(disk)
    await append(log.client(), 'a/0', 'e')
    await log.close()
    const { batches, consumed } = readBatches(disk.files().get(fileOf(disk, '/0/00000000000000000000.log')) as Buffer, nativeCodecs)
    expect(consumed).toBe(disk.files().get(fileOf(disk, '/0/00000000000000000000.log'))?.length)
    const seen = batches.map((batch) => [batch.baseOffset, batch.lastOffset, batch.transactional, batch.controlType, batch.leaderEpoch])
    expect(seen).toEqual([
      [0, 1, true, undefined, 1],
      [2, 2, true, 'commit', 1],
      [3, 3, true, undefined, 1],
      [4, 4, true, 'abort', 1],
      [5, 5, false, undefined, 1],
      [6, 6, false, undefined, 2],
    ])
    expect(batches.map(({ producerId, baseSequence }) => [producerId, baseSequence])).toEqual([
      [0, 0],
      [0, -1],
      [0, 2],
      [0, -1],
      [1, 0],
      [2, 0],
    ])
  })

  it('are found again without their index, and with one that is wrong', async () => {
    const disk = quickDisk()
    let log = await open(disk, { segmentBytes: 256 * 1024 })
    await log.client().ensure([TOPIC])
    const writer = await log.client().plainWriter()
    for (let i = 0; i < 400; i++) await writer.append('a/0', values(`${i} ${'x'.repeat(1_000)}`))
    await log.close()
    const indexes = [...disk.files().keys()].filter((path) => path.endsWith('.index'))
    expect(indexes.length).toBe(2)
    for (const spoil of ['remove', 'flip', 'swap']) {
      const [first, second] = indexes as [string, string]
      if (spoil === 'remove') await disk.fs.remove(first)
      if (spoil === 'flip') disk.faults.flip(second, 20, 1)
      if (spoil === 'swap') await disk.fs.rename(second, first)
      log = await open(disk)
      const client = log.client()
      for (const from of [399, 200, 131, 17, 0]) {
        const reader = client.reader('committed')
        reader.assign(new Map([['a/0', from]]))
        const [fetched] = await reader.poll({ bytes: 1, waitMs: 0 })
        expect(fetched).toMatchObject({ kind: 'batches', next: from + 1 })
      }
      await log.close()
    }
  })
})

async function readerAt(log: Log, partition: string, position: number): Promise<unknown[]> {
  const reader = log.reader('committed')
  reader.assign(new Map([[partition, position]]))
  const fetched = await reader.poll({ bytes: 1_000, waitMs: 0 })
  await reader.close()
  return fetched
}
