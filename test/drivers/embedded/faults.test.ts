/** A disk that lies, is full, or refuses: what is damaged is named, what was acknowledged stays, and what is not known is said to be so. */
import { describe, expect, it } from 'vitest'
import { TidemarkError } from '../../../src/base/errors.ts'
import type { EmbeddedLog } from '../../../src/drivers/embedded/index.ts'
import type { Fetched, Log } from '../../../src/ports/log.ts'
import type { DiskOperation, SimulatedDisk } from '../../../src/testing/disk.ts'
import { codeFrom, manualClock, open, quickDisk, readAll, readValues, values } from './kit.ts'

const TOPICS = [
  { name: 'a', partitions: 2, cleanup: 'delete', retentionMs: -1 },
  { name: 'c', partitions: 1, cleanup: 'compact', retentionMs: -1 },
] as const

async function fill(log: EmbeddedLog): Promise<void> {
  const client = log.client()
  await client.ensure(TOPICS)
  const writer = await client.writer('w')
  for (const partition of ['a/0', 'a/1', 'c/0']) {
    await writer.append(partition, values('one', 'two'))
    await writer.commit([])
    await writer.append(partition, values('three'))
    await writer.commit([])
  }
}

/** Reads until nothing more comes or something fails. */
async function readUntilFailure(log: Log, partition: string): Promise<{ values: string[]; failed: TidemarkError | undefined }> {
  const reader = log.reader('committed')
  reader.assign(new Map([[partition, 0]]))
  const found: string[] = []
  let last: Fetched | undefined
  for (;;) {
    const [fetched] = await reader.poll({ bytes: 1, waitMs: 0 })
    if (fetched === undefined || fetched.kind !== 'batches') {
      last = fetched
      break
    }
    for (const batch of fetched.batches) for (let i = 0; i < batch.count; i++) found.push(batch.value(i)?.toString() as string)
  }
  await reader.close()
  return { values: found, failed: last?.kind === 'failed' ? last.error : undefined }
}

describe('a flipped bit', () => {
  for (const topic of ['a', 'c']) {
    it(`anywhere in a segment of topic ${topic} is named, or changes nothing that anybody reads; other partitions go on`, async () => {
      const disk = quickDisk()
      const first = await open(disk)
      await fill(first)
      await first.close()
      const path = segmentOf(disk, topic)
      const size = disk.files().get(path)?.length as number
      let named = 0
      for (let byte = 0; byte < size; byte++) {
        disk.faults.flip(path, byte, byte % 8)
        const log = await open(disk)
        const client = log.client()
        const { values: found, failed } = await readUntilFailure(client, `${topic}/0`)
        if (failed === undefined) expect(found, `byte ${byte}`).toEqual(['one', 'two', 'three'])
        else {
          named++
          expect(failed.code, `byte ${byte}`).toBe('LOG_CORRUPT')
          expect(failed.message).toBe(`partition 0 of topic "${topic}" is damaged on disk`)
          expect(failed.detail, `byte ${byte}`).toMatch(/^At offset \d+, byte \d+ of .+: .+/)
          expect(failed.detail).toContain(path)
          // What was sound before it has been read.
          expect(['one', 'two', 'three'].slice(0, found.length)).toEqual(found)
        }
        expect(await readValues(client, 'a/1')).toEqual(['one', 'two', 'three'])
        disk.crash()
        disk.faults.flip(path, byte, byte % 8)
      }
      // Only the leader epochs, four bytes of each of four batches, may say something else unnoticed: nothing reads them.
      expect(named).toBeGreaterThanOrEqual(size - 16)
    })
  }

  it('does not keep the damaged partition from being written', async () => {
    const disk = quickDisk()
    const first = await open(disk)
    await fill(first)
    await first.close()
    disk.faults.flip(segmentOf(disk, 'a'), 70, 3)
    const log = await open(disk)
    const client = log.client()
    const writer = await client.plainWriter()
    await writer.append('a/0', values('four'))
    expect((await readUntilFailure(client, 'a/0')).failed?.code).toBe('LOG_CORRUPT')
    expect((await readAll(client, 'a/0', 'committed', 5)).map(({ value }) => value)).toEqual(['four'])
    await log.close()
  })
})

describe('a file that is missing or too short', () => {
  for (const spoil of ['remove', 'cut'] as const) {
    it(`(${spoil}) is named when its records are asked for, and its partition takes no more`, async () => {
      const disk = quickDisk()
      const first = await open(disk)
      await fill(first)
      await first.close()
      const path = segmentOf(disk, 'a')
      if (spoil === 'remove') await disk.fs.remove(path)
      else await (await disk.fs.open(path)).truncate(150)
      for (let opening = 0; opening < 2; opening++) {
        const log = await open(disk)
        const client = log.client()
        const { failed } = await readUntilFailure(client, 'a/0')
        expect(failed?.code).toBe('LOG_CORRUPT')
        expect(failed?.detail).toContain(path.slice(0, path.lastIndexOf('/')))
        const writer = await client.plainWriter()
        expect(await codeFrom(writer.append('a/0', values('more')))).toBe('LOG_CORRUPT')
        await writer.append('a/1', values('more'))
        expect((await readValues(client, 'a/1')).slice(3)).toEqual(Array.from({ length: opening + 1 }, () => 'more'))
        await log.close()
      }
    })
  }
})

describe('a full disk', () => {
  it('refuses an append by name, leaves no half of it, and takes it again when there is room', async () => {
    const disk = quickDisk()
    let log = await open(disk)
    const client = log.client()
    await client.ensure(TOPICS)
    const plain = await client.plainWriter()
    await plain.append('a/0', values('before'))
    disk.faults.space = 50
    const error = await plain.append('a/0', values('too large')).catch((reason: unknown) => reason as TidemarkError)
    expect(error).toMatchObject({ code: 'LOG_IO', message: expect.stringMatching(/write a segment/), hint: expect.stringMatching(/full/) })
    expect((error as TidemarkError).detail).toContain('ENOSPC')
    expect(log.failure).toBeUndefined()
    expect(await readValues(client, 'a/0', 'uncommitted')).toEqual(['before'])
    disk.faults.space = Infinity
    await plain.append('a/0', values('after'))
    expect(await readAll(client, 'a/0')).toMatchObject([{ offset: 0 }, { offset: 1, value: 'after' }])
    disk.crash()
    log = await open(disk)
    expect(await readValues(log.client(), 'a/0')).toEqual(['before', 'after'])
    await log.close()
  })

  it('aborts a transaction whose records it did not take, and holds nobody up', async () => {
    const disk = quickDisk()
    const log = await open(disk)
    const client = log.client()
    await client.ensure(TOPICS)
    const writer = await client.writer('w')
    await writer.append('a/0', values('never'))
    disk.faults.space = 10
    const appended = codeFrom(writer.append('a/1', values('never either')))
    expect(await appended).toBe('LOG_IO')
    disk.faults.space = Infinity
    expect(await writer.commit([])).toMatchObject({ kind: 'aborted', error: { code: 'COMMIT_ABORTED' } })
    expect(await codeFrom(writer.append('a/0', values('dead')))).toBe('COMMIT_ABORTED')
    const plain = await client.plainWriter()
    await plain.append('a/0', values('plain'))
    expect(await readValues(client, 'a/0')).toEqual(['plain'])
    const again = await client.writer('w')
    await again.append('a/1', values('again'))
    expect((await again.commit([])).kind).toBe('committed')
    expect(await readValues(client, 'a/1')).toEqual(['again'])
    await log.close()
  })

  it('in the middle of a decision leaves it in doubt: the log stops writing until it is opened again, and reads on', async () => {
    const disk = quickDisk()
    let log = await open(disk)
    let client = log.client()
    await client.ensure(TOPICS)
    const [writer, plain] = [await client.writer('w'), await client.plainWriter()]
    await writer.append('a/0', values('before'))
    expect((await writer.commit([])).kind).toBe('committed')
    await writer.append('a/0', values('in doubt'))
    disk.faults.space = 12
    const outcome = await writer.commit([{ group: 'g', identity: undefined, positions: new Map([['a/1', 1]]) }])
    expect(outcome).toMatchObject({
      kind: 'in-doubt',
      error: { code: 'COMMIT_IN_DOUBT', hint: expect.stringMatching(/^The disk is full\. Make room/) },
    })
    expect(log.failure?.code).toBe('LOG_IO')
    disk.faults.space = Infinity
    expect(await client.committed('g', ['a/1'])).toBe('unstable')
    for (const call of [
      plain.append('a/1', values('x')),
      client.writer('w'),
      client.writer('other'),
      client.trim('a/0', 1),
      client.plainWriter(),
    ]) {
      const error = await call.then(
        () => undefined,
        (reason: unknown) => reason as TidemarkError,
      )
      expect(error?.code).toBe('LOG_IO')
      expect(error?.message).toBe('the log takes no more writes until it is opened again')
    }
    expect(await readValues(client, 'a/0')).toEqual(['before'])
    await log.close()
    log = await open(disk)
    client = log.client()
    // The record of the decision was torn, so it was none.
    expect(await readValues(client, 'a/0')).toEqual(['before'])
    expect(await client.committed('g', ['a/1'])).toEqual(new Map())
    await log.close()
  })
})

/** Deeds of a workload and what came of each, by the value that they write. */
async function workload(log: EmbeddedLog, clock: { advance(ms: number): Promise<void> }): Promise<Map<string, string>> {
  const fates = new Map<string, string>()
  const client = log.client()
  const attempt = async (value: string, deed: () => Promise<string>): Promise<void> => {
    fates.set(value, await deed().catch((error: unknown) => (error instanceof TidemarkError ? error.code : `bug: ${String(error)}`)))
  }
  await attempt('topics', async () => {
    await client.ensure(TOPICS)
    return 'made'
  })
  for (let i = 0; i < 8; i++) {
    await attempt(`plain ${i}`, async () => {
      const plain = await client.plainWriter()
      await plain.append(`a/${i % 2}`, values(`plain ${i}`, 'x'.repeat(150)))
      return 'committed'
    })
    await attempt(`transaction ${i}`, async () => {
      const writer = await client.writer(`w${i % 2}`)
      await Promise.all(['a/0', 'a/1', 'c/0'].map((partition) => writer.append(partition, values(`transaction ${i}`))))
      return (await writer.commit([])).kind
    })
    if (i % 3 === 2) await clock.advance(1_000)
  }
  return fates
}

async function judge(disk: SimulatedDisk, fates: ReadonlyMap<string, string>): Promise<void> {
  const log = await open(disk)
  const client = log.client()
  await client.ensure(TOPICS)
  for (const [value, fate] of fates) {
    if (value === 'topics') continue
    const partitions = value.startsWith('plain') ? [`a/${Number(value.slice(6)) % 2}`] : ['a/0', 'a/1', 'c/0']
    const seen = await Promise.all(
      partitions.map(async (partition) => (await readValues(client, partition)).filter((each) => each === value).length),
    )
    expect(new Set(seen).size, `${value} (${fate}) is whole: ${seen.join()}`).toBe(1)
    expect(fate).not.toMatch(/bug/)
    if (fate === 'committed') expect(seen[0], `${value} was acknowledged`).toBe(1)
    if (fate === 'aborted' || fate === 'fenced') expect(seen[0], `${value} was ${fate}`).toBe(0)
    expect(seen[0]).toBeLessThanOrEqual(1)
  }
  const writer = await client.writer('w0')
  await writer.append('a/0', values('and on'))
  expect((await writer.commit([])).kind).toBe('committed')
  expect((await readValues(client, 'a/0')).at(-1)).toBe('and on')
  await log.close()
}

describe('the n-th operation fails', () => {
  for (const fsync of ['interval', 'commit'] as const) {
    for (const [operation, code] of [
      ['write', 'ENOSPC'],
      ['write', 'EIO'],
      ['sync', 'EIO'],
      ['syncFolder', 'EIO'],
      ['open', 'EMFILE'],
      ['truncate', 'EIO'],
      ['makeFolder', 'EACCES'],
      ['remove', 'EIO'],
      ['rename', 'EIO'],
    ] as [DiskOperation, string][]) {
      it(`(${operation}, ${code}, fsync ${fsync}): what was acknowledged is there, what was refused is not, and opening again goes on`, async () => {
        const options = { fsync, segmentBytes: 1_024, journalBytes: 1_024 }
        for (let n = 1; ; n++) {
          const disk = quickDisk(n)
          const clock = manualClock()
          const failure = disk.faults.fail(operation, n, code)
          const log = await open(disk, { ...options, clock }).catch((error: unknown) => {
            expect((error as TidemarkError).code).toBe('LOG_IO')
            return undefined
          })
          // Now and then a second failure, where the first one is dealt with.
          const second = n % 4 === 0 ? disk.faults.fail('truncate', 1) : undefined
          const fates = log === undefined ? new Map<string, string>() : await workload(log, clock)
          await log?.close().catch((error: unknown) => expect((error as TidemarkError).code).toBe('LOG_IO'))
          failure.cancel()
          second?.cancel()
          disk.crash()
          await judge(disk, fates).catch((cause: unknown) => {
            throw new Error(`when ${operation} ${n} fails`, { cause })
          })
          if (!failure.happened) break
        }
      })
    }
  }
})

function segmentOf(disk: SimulatedDisk, topic: string): string {
  const found = [...disk.files().keys()].filter((path) => new RegExp(`/${topic}-[0-9a-f]{8}/0/\\d+\\.log$`).test(path))
  expect(found).toHaveLength(1)
  return found[0] as string
}
