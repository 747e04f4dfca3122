import { existsSync } from 'node:fs'
import { chmod, mkdtemp, readFile, rm, stat, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { codeOf } from '../../src/base/errors.ts'
import { nodeClock, nodeFs, nodeRandom } from '../../src/drivers/node/index.ts'

describe('the clock of this machine', () => {
  it('sleeps, and wakes early when the signal says so, with its reason', async () => {
    const before = nodeClock.mono()
    await nodeClock.sleep(5)
    expect(nodeClock.mono()).toBeGreaterThan(before)
    const stop = new AbortController()
    const sleeping = nodeClock.sleep(1_000_000, stop.signal)
    const reason = new Error('enough')
    stop.abort(reason)
    await expect(sleeping).rejects.toBe(reason)
    await expect(nodeClock.sleep(1_000_000, stop.signal)).rejects.toBe(reason)
  })

  it('does not take a month for no time at all', async () => {
    const stop = new AbortController()
    let woke = false
    const sleeping = nodeClock.sleep(40 * 86_400_000, stop.signal).then(
      () => {
        woke = true
      },
      () => {},
    )
    await nodeClock.sleep(20)
    expect(woke).toBe(false)
    stop.abort()
    await sleeping
  })

  it('lets what is waiting happen in a turn', async () => {
    const order: string[] = []
    setImmediate(() => order.push('immediate'))
    await nodeClock.turn()
    order.push('turn')
    expect(order).toEqual(['immediate', 'turn'])
  })

  it('gives identities of 32 hex digits that do not repeat', () => {
    const ids = new Set(Array.from({ length: 1_000 }, () => nodeRandom.id()))
    expect(ids.size).toBe(1_000)
    for (const id of ids) expect(id).toMatch(/^[0-9a-f]{32}$/)
    expect(nodeRandom.unit()).toBeLessThan(1)
  })
})

describe('the disk of this machine', () => {
  let folder: string
  const path = (name: string): string => `${folder}/${name}`

  beforeAll(async () => {
    folder = await mkdtemp(join(tmpdir(), 'tidemark-fs-'))
  })

  afterAll(() => rm(folder, { recursive: true, force: true }))

  it('writes pieces one after the other, reads them back, and knows the size', async () => {
    const file = await nodeFs.open(path('pieces'), { create: true })
    expect(file.size).toBe(0)
    const pieces = Array.from({ length: 3_000 }, (_, i) => Buffer.from(`${i},`))
    const all = Buffer.concat(pieces)
    await file.write([Buffer.from('head:'), Buffer.alloc(0)], 0)
    await file.write(pieces, 5)
    expect(file.size).toBe(5 + all.length)
    await file.write([Buffer.from('HEAD')], 0)
    expect(file.size).toBe(5 + all.length)
    await file.sync()
    const into = Buffer.alloc(all.length + 10)
    expect(await file.read(into, 2, all.length, 5)).toBe(all.length)
    expect(into.subarray(2, 2 + all.length)).toEqual(all)
    expect(await file.read(into, 0, 10, 5 + all.length)).toBe(0)
    await file.truncate(4)
    expect(file.size).toBe(4)
    await file.close()
    expect(await readFile(path('pieces'), 'utf8')).toBe('HEAD')
    const again = await nodeFs.open(path('pieces'))
    expect(again.size).toBe(4)
    await again.close()
  })

  it('makes folders and files for their owner alone', async () => {
    await nodeFs.makeFolder(path('a/b/c'))
    await nodeFs.makeFolder(path('a/b/c'))
    await (await nodeFs.open(path('a/b/c/file'), { create: true })).close()
    expect((await stat(path('a/b/c'))).mode & 0o777).toBe(0o700)
    expect((await stat(path('a/b/c/file'))).mode & 0o777).toBe(0o600)
    await nodeFs.syncFolder(path('a/b/c'))
  })

  it.runIf(existsSync('/proc/self'))('gives up on a folder that no file system can hold, instead of trying for ever', async () => {
    await expect(nodeFs.makeFolder('/proc/nowhere/a/b')).rejects.toMatchObject({ code: 'ENOENT' })
  })

  it('lists names in order, and an absent folder as empty', async () => {
    for (const name of ['b', 'a', 'c']) await (await nodeFs.open(path(`list-${name}`), { create: true })).close()
    expect((await nodeFs.list(folder)).filter((name) => name.startsWith('list-'))).toEqual(['list-a', 'list-b', 'list-c'])
    expect(await nodeFs.list(path('absent'))).toEqual([])
  })

  it('renames over what is there, removes folders with all in them, and absent ones without a word', async () => {
    await writeFile(path('from'), 'new')
    await writeFile(path('to'), 'old')
    await nodeFs.rename(path('from'), path('to'))
    expect(await readFile(path('to'), 'utf8')).toBe('new')
    await nodeFs.makeFolder(path('tree/of/folders'))
    await nodeFs.remove(path('tree'))
    await nodeFs.remove(path('tree'))
    expect(await nodeFs.list(path('tree'))).toEqual([])
  })

  it('does not make a file that it was not asked to make', async () => {
    await expect(nodeFs.open(path('nowhere'))).rejects.toMatchObject({ code: 'ENOENT' })
  })

  it('locks a folder once, also after the lock itself was damaged', async () => {
    const lock = await nodeFs.lock(path('locked'))
    const second = await nodeFs.lock(path('locked')).catch((error: unknown) => error)
    expect(codeOf(second)).toBe('LOG_LOCKED')
    expect(second).toMatchObject({ detail: expect.stringContaining(path('locked')), hint: expect.stringMatching(/One process/) })
    await lock.release()
    await (await nodeFs.lock(path('locked'))).release()
    await writeFile(path('locked/lock/CURRENT'), 'garbage')
    const again = await nodeFs.lock(path('locked'))
    expect(codeOf(await nodeFs.lock(path('locked')).catch((error: unknown) => error))).toBe('LOG_LOCKED')
    await again.release()
  })

  it.skipIf(process.getuid?.() === 0)('names a folder in which it may not take a lock', async () => {
    await nodeFs.makeFolder(path('forbidden'))
    await chmod(path('forbidden'), 0o500)
    expect(codeOf(await nodeFs.lock(path('forbidden')).catch((error: unknown) => error))).toBe('LOG_IO')
  })

  it('names what is in the way of a lock', async () => {
    await nodeFs.makeFolder(path('obstructed'))
    await writeFile(path('obstructed/lock'), 'a file, not a folder')
    expect(codeOf(await nodeFs.lock(path('obstructed')).catch((error: unknown) => error))).toBe('LOG_IO')
  })
})
