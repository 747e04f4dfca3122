import { describe, expect, it } from 'vitest'
import type { Fs } from '../../src/ports/fs.ts'
import { simulatedDisk } from '../../src/testing/disk.ts'
import { seededRandom } from '../../src/testing/random.ts'

const bytes = (text: string): Buffer[] => [Buffer.from(text)]

async function write(fs: Fs, path: string, text: string, at = 0): Promise<void> {
  const file = await fs.open(path, { create: true })
  await file.write(bytes(text), at)
  await file.close()
}

/** A process that asks for something and never hears of it is not waited for. */
async function isAnswered(promise: Promise<unknown>): Promise<boolean> {
  return Promise.race([
    promise.then(
      () => true,
      () => true,
    ),
    new Promise<boolean>((resolve) => setImmediate(() => setImmediate(() => resolve(false)))),
  ])
}

describe('a simulated disk', () => {
  it('keeps what was written, like a disk', async () => {
    const { fs } = simulatedDisk({ random: seededRandom(1) })
    await fs.makeFolder('/a/b')
    await write(fs, '/a/b/f', 'hello')
    await write(fs, '/a/b/f', 'J', 0)
    await write(fs, '/a/b/f', '!', 6)
    const file = await fs.open('/a/b/f')
    expect(file.size).toBe(7)
    const into = Buffer.alloc(10, '.')
    expect(await file.read(into, 1, 20, 0)).toBe(7)
    expect(into.toString()).toBe('.Jello\0!..')
    await file.truncate(2)
    await file.truncate(4)
    expect(await file.read(into, 0, 10, 0)).toBe(4)
    expect(into.subarray(0, 4).toString()).toBe('Je\0\0')
    expect(await fs.list('/a')).toEqual(['b'])
    await fs.rename('/a/b/f', '/a/b/g')
    expect(await fs.list('/a/b')).toEqual(['g'])
    await fs.remove('/a')
    expect(await fs.list('/a')).toEqual([])
    await expect(fs.open('/a/b/g')).rejects.toMatchObject({ code: 'ENOENT' })
    await expect(fs.open('/a/b/g', { create: true })).rejects.toMatchObject({ code: 'ENOENT' })
  })

  it('a crash leaves every finished operation and answers a dead process never again', async () => {
    for (let seed = 1; seed <= 20; seed++) {
      const held: (() => void)[] = []
      let hold = false
      const disk = simulatedDisk({
        random: seededRandom(seed),
        schedule: () => (hold ? new Promise<void>((resolve) => held.push(resolve)) : Promise.resolve()),
      })
      const { fs } = disk
      await fs.makeFolder('/a')
      await write(fs, '/a/f', 'finished')
      const lock = await fs.lock('/a')
      const file = await fs.open('/a/f')
      hold = true
      const underWay = file.write(bytes('under way'), 8)
      disk.crash()
      hold = false
      for (const end of held) end()
      expect(await isAnswered(underWay)).toBe(false)
      expect(await isAnswered(file.write(bytes('dead'), 0))).toBe(false)
      expect(await isAnswered(fs.list('/a'))).toBe(false)
      expect(await isAnswered(lock.release())).toBe(false)
      const content = disk.files().get('/a/f')?.toString() as string
      expect('finishedunder way'.startsWith(content)).toBe(true)
      expect(content.length).toBeGreaterThanOrEqual(8)
      // The lock has ended with its process.
      await (await disk.fs.lock('/a')).release()
    }
  })

  it('what was under way at a crash is done wholly, partly or not at all, as the seed has it', async () => {
    const lengths = new Set<number>()
    for (let seed = 1; seed <= 60; seed++) {
      let hold = false
      const disk = simulatedDisk({ random: seededRandom(seed), schedule: () => (hold ? new Promise(() => {}) : Promise.resolve()) })
      await disk.fs.makeFolder('/a')
      const file = await disk.fs.open('/a/f', { create: true })
      hold = true
      void file.write(bytes('0123456789'), 0)
      disk.crash()
      lengths.add(disk.files().get('/a/f')?.length as number)
    }
    expect([...lengths].sort((a, b) => a - b)).toEqual(expect.arrayContaining([0, 10]))
    expect(lengths.size).toBeGreaterThan(4)
  })

  it('a power cut leaves what was synced, and of the rest what the seed leaves', async () => {
    const contents = new Set<string>()
    for (let seed = 1; seed <= 60; seed++) {
      const disk = simulatedDisk({ random: seededRandom(seed) })
      const { fs } = disk
      await fs.makeFolder('/a')
      await fs.syncFolder('/')
      const file = await fs.open('/a/f', { create: true })
      await fs.syncFolder('/a')
      await file.write(bytes('safe'), 0)
      await file.sync()
      await file.write(bytes('lost?'), 4)
      await file.write(bytes('LOST?'), 4_100)
      disk.powerCut()
      const left = disk.files().get('/a/f') as Buffer
      expect(left.subarray(0, 4).toString()).toBe('safe')
      contents.add(left.toString().replaceAll('\0', ''))
    }
    // All of it, none of it, the one without the other, and torn.
    for (const content of ['safe', 'safelost?', 'safelost?LOST?', 'safeLOST?']) expect(contents).toContain(content)
    expect(contents.size).toBeGreaterThan(5)
  })

  it('a power cut takes names whose folder was not synced, with all that is in them', async () => {
    const fates = new Set<string>()
    for (let seed = 1; seed <= 60; seed++) {
      const disk = simulatedDisk({ random: seededRandom(seed) })
      const { fs } = disk
      await fs.makeFolder('/a/b')
      const file = await fs.open('/a/b/f', { create: true })
      await file.write(bytes('synced'), 0)
      await file.sync()
      await fs.syncFolder('/a/b')
      disk.powerCut()
      fates.add([...disk.files().keys()].join())
    }
    expect(fates).toEqual(new Set(['', '/a/b/f']))
    const disk = simulatedDisk({ random: seededRandom(1) })
    await disk.fs.makeFolder('/a')
    await write(disk.fs, '/a/f', 'old')
    for (const folder of ['/', '/a']) await disk.fs.syncFolder(folder)
    await disk.fs.rename('/a/f', '/a/g')
    disk.powerCut((path) => (path === '/a/f' ? 'kept' : 'lost'))
    expect([...disk.files().keys()]).toEqual(['/a/f'])
  })

  it('is full when its space is used up, and has taken what had room', async () => {
    const disk = simulatedDisk({ random: seededRandom(1) })
    await disk.fs.makeFolder('/a')
    disk.faults.space = 6
    await write(disk.fs, '/a/f', 'four')
    await expect(write(disk.fs, '/a/f', 'five5', 4)).rejects.toMatchObject({ code: 'ENOSPC' })
    expect(disk.files().get('/a/f')?.toString()).toBe('fourfi')
    await expect(write(disk.fs, '/a/f', 'x', 0)).rejects.toMatchObject({ code: 'ENOSPC' })
    disk.faults.space = Infinity
    await write(disk.fs, '/a/f', 'F', 0)
  })

  it('fails the operation that it was told to fail, once', async () => {
    const disk = simulatedDisk({ random: seededRandom(1) })
    await disk.fs.makeFolder('/a')
    const file = await disk.fs.open('/a/f', { create: true })
    const planned = disk.faults.fail('sync', 2)
    await file.sync()
    expect(planned.happened).toBe(false)
    await expect(file.sync()).rejects.toMatchObject({ code: 'EIO' })
    expect(planned.happened).toBe(true)
    await file.sync()
    const cancelled = disk.faults.fail('write', 1, 'EROFS')
    cancelled.cancel()
    await file.write(bytes('x'), 0)
    expect(cancelled.happened).toBe(false)
  })

  it('turns a bit, and turns it back', async () => {
    const disk = simulatedDisk({ random: seededRandom(1) })
    await disk.fs.makeFolder('/a')
    await write(disk.fs, '/a/f', 'abc')
    disk.faults.flip('/a/f', 1, 0)
    expect(disk.files().get('/a/f')?.toString()).toBe('acc')
    disk.faults.flip('/a/f', 1, 0)
    expect(disk.files().get('/a/f')?.toString()).toBe('abc')
    expect(() => disk.faults.flip('/a/f', 3, 0)).toThrow(TypeError)
  })

  it('does the same for the same seed', async () => {
    const runs = await Promise.all(
      [3, 3, 4].map(async (seed) => {
        const disk = simulatedDisk({ random: seededRandom(seed) })
        await disk.fs.makeFolder('/a')
        for (const folder of ['/', '/a']) await disk.fs.syncFolder(folder)
        const file = await disk.fs.open('/a/f', { create: true })
        await disk.fs.syncFolder('/a')
        for (let i = 0; i < 50; i++) await file.write(bytes(`${i} ${'x'.repeat(500)}`), i * 503)
        disk.powerCut()
        return disk.files().get('/a/f')?.toString('latin1')
      }),
    )
    expect(runs[0]).toBe(runs[1])
    expect(runs[0]).not.toBe(runs[2])
  })
})
