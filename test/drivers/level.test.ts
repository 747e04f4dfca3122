import { type ChildProcess, spawn } from 'node:child_process'
import { chmod, cp, lstat, mkdir, mkdtemp, readdir, readFile, rename, rm, symlink, truncate, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { fileURLToPath } from 'node:url'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { ByteReader } from '../../src/base/bytes.ts'
import { codeOf, TidemarkError } from '../../src/base/errors.ts'
import { levelState } from '../../src/drivers/level/index.ts'
import type { StateDriver, StateId } from '../../src/ports/store.ts'
import { BATCH_ID, batchOf, nextOf, tornRows } from './level-batches.ts'

const WRITER = fileURLToPath(new URL('./level-writer.ts', import.meta.url))
const posix = process.platform !== 'win32'

let folder: string
let state: StateDriver
let path: string
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'tidemark-level-'))
  state = levelState({ folder })
  path = join(folder, 'shop', 'orders-g3', '0')
})
afterEach(() => rm(folder, { recursive: true, force: true }))

const refusal = async (work: Promise<unknown>): Promise<string> =>
  work.then(
    () => 'not refused',
    (error: unknown) => codeOf(error) ?? (error instanceof TypeError ? 'TypeError' : String(error)),
  )

/** Writes `count` numbered batches of `rows` rows and closes. */
async function filled(count: number, rows: number, driver = state): Promise<void> {
  const store = await driver.open(BATCH_ID)
  for (let k = 0; k < count; k++) await store.write(batchOf(k, rows))
  await store.close()
}

/** A process that writes batches. `printed` resolves with all lines once one passes `enough`, or once the process has ended. */
function writer(rows: number, writeBufferBytes: number, shell?: string, quiet = false) {
  const command = [process.execPath, '--disable-warning=ExperimentalWarning', WRITER, folder, String(rows), String(writeBufferBytes)]
  const [file, ...args] = shell === undefined ? command : ['sh', '-c', `${shell}; exec "$0" "$@"`, ...command]
  const child: ChildProcess = spawn(file as string, args, { stdio: ['ignore', 'pipe', quiet ? 'ignore' : 'inherit'] })
  const lines: string[] = []
  const ended = new Promise<void>((resolve) => child.on('close', () => resolve()))
  const printed = async (enough: (line: string) => boolean): Promise<string[]> => {
    const reached = new Promise<void>((resolve) => {
      createInterface({ input: child.stdout as NonNullable<typeof child.stdout> }).on('line', (line) => {
        lines.push(line)
        if (enough(line)) resolve()
      })
    })
    await Promise.race([reached, ended])
    return lines
  }
  const kill = async (): Promise<string[]> => {
    child.kill('SIGKILL')
    await ended
    return lines
  }
  return { printed, kill, ended }
}

describe('a process that is killed in the middle of its batches', () => {
  it('leaves each batch whole or absent, and loses none that had resolved', async () => {
    const rows = 300
    let before = 0
    for (const more of [1, 2, 5, 20, 60, 3, 40, 1]) {
      // Small buffers, so that the kill also meets tables being written and merged.
      const child = writer(rows, 65_536)
      await child.printed((line) => Number(line) >= before + more)
      const acknowledged = Number((await child.kill()).findLast((line) => /^\d+$/.test(line)))
      const store = await state.open(BATCH_ID)
      expect(await tornRows(store, rows)).toEqual([])
      before = nextOf(store)
      expect(before).toBeGreaterThan(acknowledged)
      await store.close()
    }
  })
})

describe('state that another process has open', () => {
  it('is refused to open, to move and to remove, and is free once that process is gone', async () => {
    const child = writer(10, 65_536)
    await child.printed((line) => line === '3')
    expect(await refusal(state.open(BATCH_ID))).toBe('STORE_LOCKED')
    expect(await refusal(state.quarantine(BATCH_ID))).toBe('STORE_LOCKED')
    expect(await refusal(state.destroy(BATCH_ID))).toBe('STORE_LOCKED')
    expect(await state.list('shop')).toEqual([BATCH_ID])
    await child.kill()
    const store = await state.open(BATCH_ID)
    expect(nextOf(store)).toBeGreaterThan(3)
    expect(await tornRows(store, 10)).toEqual([])
    await store.close()
  })
})

describe('state that this process has open', () => {
  it('stays locked to other processes after a second open here was refused', async () => {
    const store = await state.open(BATCH_ID)
    expect(await refusal(state.open(BATCH_ID))).toBe('STORE_LOCKED')
    // Were it let in, it would write for ever.
    await writer(10, 65_536, undefined, true).ended
    await store.close()
    const again = await state.open(BATCH_ID)
    expect(nextOf(again)).toBe(0)
    await again.close()
  })
})

describe.skipIf(!posix)('a disk that takes no more', () => {
  it('refuses the batch and all later ones with STORE_IO, and the state is whole when it is opened again with space', async () => {
    const rows = 400
    // A limit on the size of a file, 512 or 1,024 KiB depending on the shell's unit: the write-ahead file reaches it after some batches.
    const child = writer(rows, 4 * 1024 * 1024, 'ulimit -f 1024')
    const lines = await child.printed((line) => line.startsWith('then'))
    await child.ended
    expect(lines.slice(-2)).toEqual(['refused STORE_IO', 'then STORE_IO'])
    const acknowledged = Number(lines.findLast((line) => /^\d+$/.test(line)))
    expect(acknowledged).toBeGreaterThan(1)
    const store = await state.open(BATCH_ID)
    expect(await tornRows(store, rows)).toEqual([])
    // The batch that was refused may be there, as a whole.
    expect([acknowledged + 1, acknowledged + 2]).toContain(nextOf(store))
    await store.write(batchOf(nextOf(store), rows))
    expect(await tornRows(store, rows)).toEqual([])
    await store.close()
  })
})

describe('a batch that failed', () => {
  it.skipIf(!posix)('is the last until the store is opened again, even when the disk would take more; reads go on', async () => {
    const store = await levelState({ folder, writeBufferBytes: 65_536 }).open(BATCH_ID)
    await store.write(batchOf(0, 1000))
    // The memory for fresh rows is full, so the next batch starts a new file: in a folder that is not there.
    await rm(path, { recursive: true })
    expect(await refusal(store.write(batchOf(1, 1000)))).toBe('STORE_IO')
    await mkdir(path)
    expect(await refusal(store.write(batchOf(1, 1)))).toBe('STORE_IO')
    expect(await tornRows(store, 1000)).toEqual([])
    expect(nextOf(store)).toBe(1)
    await store.close()
  })
})

describe('damage', () => {
  it('in the write-ahead file is STORE_CORRUPT or costs the last batches, and is never a hole between batches', async () => {
    await filled(60, 20)
    const log = (await readdir(path)).find((name) => name.endsWith('.log')) as string
    const bytes = await readFile(join(path, log))
    expect(bytes.length).toBeGreaterThan(2 * 32_768)
    const outcomes = new Map<string, number>()
    // Every part of the file, with a step that falls on headers and on rows alike.
    for (let at = 1; at < bytes.length; at += 1511) {
      const partition = at
      const copy = join(folder, 'shop', 'orders-g3', String(partition))
      await cp(path, copy, { recursive: true })
      const flipped = Buffer.from(bytes)
      flipped[at] = (flipped[at] as number) ^ (1 << (at % 8))
      await writeFile(join(copy, log), flipped)
      const id = { ...BATCH_ID, partition }
      const outcome = await refusal(
        state.open(id).then(async (store) => {
          expect(await tornRows(store, 20), `byte ${at}`).toEqual([])
          await store.close()
        }),
      )
      outcomes.set(outcome, (outcomes.get(outcome) ?? 0) + 1)
      if (outcome === 'STORE_CORRUPT') {
        // The engine has replaced the damaged file by now, and still the damage is not forgotten; nor is it after a quarantine that
        // was killed behind its look at the lock, which renames this file.
        expect(await refusal(state.open(id)), `byte ${at}, second open`).toBe('STORE_CORRUPT')
        await rename(join(copy, 'LOG'), join(copy, 'LOG.old'))
        expect(await refusal(state.open(id)), `byte ${at}, third open`).toBe('STORE_CORRUPT')
      }
      await state.quarantine(id)
      const fresh = await state.open(id)
      expect(nextOf(fresh)).toBe(0)
      await fresh.close()
    }
    expect([...outcomes.keys()].filter((outcome) => !['STORE_CORRUPT', 'not refused'].includes(outcome))).toEqual([])
    expect(outcomes.get('STORE_CORRUPT')).toBeGreaterThan(20)
  })

  it('of a write-ahead file that was cut short costs the last batches and nothing else', async () => {
    await filled(60, 20)
    const log = (await readdir(path)).find((name) => name.endsWith('.log')) as string
    const { size } = await lstat(join(path, log))
    for (const cut of [1, 100, 3_000, 40_000, size - 5]) {
      const id = { ...BATCH_ID, partition: cut }
      const copy = join(folder, 'shop', 'orders-g3', String(cut))
      await cp(path, copy, { recursive: true })
      await truncate(join(copy, log), size - cut)
      const store = await state.open(id)
      expect(await tornRows(store, 20)).toEqual([])
      expect(nextOf(store)).toBeLessThan(60)
      await store.close()
    }
  })

  it('in the filter or an index of a table is STORE_CORRUPT at the open, wherever a bit flipped: reading on would hide rows, or end the process', async () => {
    const { name, bytes } = await tableOf(40)
    for (let at = filterAt(bytes); at < bytes.length - 48; at += 29) {
      const id = await withFlip(name, bytes, at)
      expect(await refusal(state.open(id)), `byte ${at} of ${bytes.length}`).toBe('STORE_CORRUPT')
      expect(await refusal(state.check?.(id) as Promise<void>), `byte ${at}, checked`).toBe('STORE_CORRUPT')
    }
  })

  it('anywhere in the blocks of a table is found by a check, and none is where nothing is damaged', async () => {
    const { name, bytes } = await tableOf(40)
    await state.check?.(BATCH_ID)
    for (let at = 0; at < filterAt(bytes); at += 257) {
      const id = await withFlip(name, bytes, at)
      expect(await refusal(state.check?.(id) as Promise<void>), `byte ${at} of ${bytes.length}`).toBe('STORE_CORRUPT')
    }
  })

  it('is not what half a table is that a killed process left behind: the next open removes it, and loses nothing', async () => {
    const { bytes } = await tableOf(40)
    await writeFile(join(path, '000999.ldb'), bytes.subarray(0, bytes.length / 2))
    await state.check?.(BATCH_ID)
    await writeFile(join(path, '000999.ldb'), bytes.subarray(0, bytes.length / 2))
    const store = await state.open(BATCH_ID)
    expect(nextOf(store)).toBe(40)
    await store.close()
  })

  it('in CURRENT is STORE_CORRUPT, wherever a bit flipped, and never a failure of the disk', async () => {
    await filled(3, 20)
    const bytes = await readFile(join(path, 'CURRENT'))
    for (let bit = 0; bit < bytes.length * 8; bit += 3) {
      const id = { ...BATCH_ID, partition: bit + 1 }
      const copy = join(folder, 'shop', 'orders-g3', String(id.partition))
      await cp(path, copy, { recursive: true })
      const flipped = Buffer.from(bytes)
      flipped[bit >> 3] = (flipped[bit >> 3] as number) ^ (1 << (bit & 7))
      await writeFile(join(copy, 'CURRENT'), flipped)
      expect(await refusal(state.open(id)), `bit ${bit}`).toBe('STORE_CORRUPT')
    }
  })

  it('by a table, the manifest or CURRENT being gone is STORE_CORRUPT, and quarantine makes room for a restore', async () => {
    const small = levelState({ folder, writeBufferBytes: 65_536 })
    await filled(30, 300, small)
    const names = await readdir(path)
    const table = names.find((name) => name.endsWith('.ldb')) as string
    const manifest = names.find((name) => name.startsWith('MANIFEST')) as string
    for (const [partition, gone] of [table, manifest, 'CURRENT'].entries()) {
      const id = { ...BATCH_ID, partition: partition + 1 }
      const copy = join(folder, 'shop', 'orders-g3', String(id.partition))
      await cp(path, copy, { recursive: true })
      await rm(join(copy, gone))
      expect(await refusal(small.open(id)), gone).toBe('STORE_CORRUPT')
      expect(await refusal(small.open(id)), `${gone}, second open`).toBe('STORE_CORRUPT')
      await small.quarantine(id)
      const store = await small.open(id)
      expect(nextOf(store)).toBe(0)
      await store.close()
    }
  })
})

describe('the folder', () => {
  it('keeps one copy of what was quarantined, the latest', async () => {
    for (const mark of ['first', 'second']) {
      await filled(1, 1)
      await writeFile(join(path, 'mark'), mark)
      await state.quarantine(BATCH_ID)
    }
    expect(await readdir(join(path, '..'))).toEqual(['0.corrupt'])
    expect(await readFile(join(`${path}.corrupt`, 'mark'), 'utf8')).toBe('second')
    await state.quarantine(BATCH_ID)
    expect(await readFile(join(`${path}.corrupt`, 'mark'), 'utf8')).toBe('second')
  })

  it('holds nothing of a generation whose partitions were destroyed, quarantined copies included', async () => {
    const other = { ...BATCH_ID, partition: 1 }
    await filled(1, 1)
    await state.quarantine(BATCH_ID)
    await filled(1, 1)
    await (await state.open(other)).close()
    await state.destroy(BATCH_ID)
    expect(await readdir(join(path, '..'))).toEqual(['1'])
    await state.destroy(other)
    expect(await readdir(join(folder, 'shop'))).toEqual([])
  })

  it('lists no folder that is not a task, and is empty when nothing was ever opened', async () => {
    expect(await levelState({ folder: join(folder, 'absent') }).list('shop')).toEqual([])
    await filled(1, 1)
    await state.quarantine(BATCH_ID)
    await (await state.open({ ...BATCH_ID, partition: 7 })).close()
    for (const stranger of ['notes', 'orders-g', 'orders-g01', 'Orders-g1', 'orders-g3/07', 'orders-g3/x', 'orders-g3/-1']) {
      await mkdir(join(folder, 'shop', stranger, '0'), { recursive: true })
    }
    await writeFile(join(folder, 'shop', 'orders-g3', '9'), '')
    expect(await state.list('shop')).toEqual([{ ...BATCH_ID, partition: 7 }])
  })

  it.skipIf(!posix)('is closed to other users, even when the folder of the app was open before', async () => {
    await mkdir(join(folder, 'shop'))
    await chmod(join(folder, 'shop'), 0o777)
    await filled(1, 1)
    for (const part of ['shop', 'shop/orders-g3', 'shop/orders-g3/0']) expect((await lstat(join(folder, part))).mode & 0o777).toBe(0o700)
  })

  it.skipIf(!posix)('of an app is refused when it is a link', async () => {
    await mkdir(join(folder, 'elsewhere'))
    await symlink(join(folder, 'elsewhere'), join(folder, 'shop'))
    expect(await refusal(state.open(BATCH_ID))).toBe('STORE_IO')
  })

  it('says what is in the way when it cannot be made', async () => {
    await mkdir(join(path, '..'), { recursive: true })
    await writeFile(path, 'not a folder')
    const error = await state.open(BATCH_ID).catch((thrown: unknown) => thrown)
    expect(codeOf(error)).toBe('STORE_IO')
    expect((error as TidemarkError).detail).toContain(path)
    expect((error as TidemarkError).hint).toContain('not a folder')
  })

  it.skipIf(process.platform !== 'linux')('is refused, and not waited for, where the system makes no folders', async () => {
    expect(await refusal(levelState({ folder: '/proc/tidemark/state' }).open(BATCH_ID))).toBe('STORE_IO')
  })

  it('cannot be left by a name', async () => {
    for (const name of ['..', '../other', 'a/b', '/etc', '', '.', 'A', 'ä', 'x.y', 'a\0']) {
      for (const id of [
        { ...BATCH_ID, app: name },
        { ...BATCH_ID, stage: name },
      ]) {
        for (const deed of ['open', 'quarantine', 'destroy'] as const)
          expect(await refusal(state[deed](id)), `${deed} ${name}`).toBe('NAME_INVALID')
      }
      expect(await refusal(state.list(name))).toBe('NAME_INVALID')
    }
    for (const wrong of [-1, 1.5, Number.NaN, 2 ** 60]) {
      expect(await refusal(state.open({ ...BATCH_ID, partition: wrong }))).toBe('TypeError')
      expect(await refusal(state.destroy({ ...BATCH_ID, generation: wrong }))).toBe('TypeError')
    }
    expect(await readdir(folder)).toEqual([])
  })
})

describe('options', () => {
  it('that are out of bounds are refused by name', () => {
    for (const options of [
      { folder: '' },
      { folder, writeBufferBytes: 100 },
      { folder, writeBufferBytes: 1e12 },
      { folder, cacheBytes: -1 },
      { folder, cacheBytes: 0.5 },
    ]) {
      expect(() => levelState(options)).toThrow(TidemarkError)
    }
    expect(() => levelState({ folder, cacheBytes: -1 })).toThrow(/"cacheBytes"/)
  })
})

/** Batches in one table, which an open makes of what a close left in the write-ahead file. */
async function tableOf(batches: number): Promise<{ readonly name: string; readonly bytes: Buffer }> {
  await filled(batches, 20)
  await (await state.open(BATCH_ID)).close()
  const name = (await readdir(path)).find((each) => each.endsWith('.ldb')) as string
  return { name, bytes: await readFile(join(path, name)) }
}

/** Where the filter of a table begins: the meta-index, which the last 48 bytes name, ends its one entry with that. */
function filterAt(table: Buffer): number {
  const footer = new ByteReader(table, table.length - 48, table.length)
  const from = footer.uvarint()
  const meta = table.subarray(from, from + footer.uvarint())
  const name = 'filter.leveldb.BuiltinBloomFilter2'
  const at = meta.indexOf(name) + name.length
  return new ByteReader(meta, at, meta.length).uvarint()
}

/** A copy of the state with one bit flipped in a table. */
async function withFlip(name: string, bytes: Buffer, at: number): Promise<StateId> {
  const id = { ...BATCH_ID, partition: at + 1 }
  const copy = join(folder, 'shop', 'orders-g3', String(id.partition))
  await cp(path, copy, { recursive: true })
  const flipped = Buffer.from(bytes)
  flipped[at] = (flipped[at] as number) ^ (1 << (at % 8))
  await writeFile(join(copy, name), flipped)
  return id
}
