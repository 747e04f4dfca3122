/**
 * State in LevelDB (classic-level 3, which holds LevelDB 1.20): one database a task, in `<folder>/<app>/<stage>-g<generation>/<partition>`.
 *
 * Folders are 0700, and that keeps other users out: LevelDB makes its files with the process's umask (0644 under the usual 022), so a
 * process that wants the files closed too sets its umask to 077.
 *
 * What is found damaged at open: anything LevelDB's manifest misses; a write-ahead file with a hole (LevelDB skips the damaged part,
 * says so in its LOG, and goes on: that would be a lost batch in the middle, so it is STORE_CORRUPT here); tables without their CURRENT
 * file (LevelDB would make an empty database and delete them); a flipped bit in the index or the filter of a table, see tables.ts. What is not found: a
 * flipped bit elsewhere in a table, which `check` finds and of which rows tell by their own hash; a folder that
 * was emptied or never was there opens as an empty store, and the missing meta row tells that to the runtime.
 *
 * On the options of LevelDB, measured with 4 tasks, 10,000 rows of 120 B a batch, hash-ordered keys, each written 3 to 4 times in nearby
 * batches (1.2 million rows): the CPU over all threads is about 2.2 us a row, 0.4 of them on the main thread, for write buffers of 2 to
 * 8 MiB, table files of 2 to 16 MiB, blocks of 1 to 16 KiB, with and without compression: no difference above the noise of 20 %, and
 * none for `get` of keys written lately. What does matter is memory. A database holds up to two write buffers and its block cache:
 * buffers of 16 MiB cost 55 MB more for 4 tasks, and 32 MiB 125 MB more and a third more CPU, likely because the skip list outgrows the
 * processor's caches. Compression takes a third off the disk, so it is on and no option.
 */
import { chmod, lstat, mkdir, open, readdir, readFile, rename, rm, rmdir, stat } from 'node:fs/promises'
import { basename, dirname, join, resolve } from 'node:path'
import { ClassicLevel } from 'classic-level'
import { TidemarkError } from '../../base/errors.ts'
import type { StateDriver, StateId } from '../../ports/store.ts'
import { corrupt, explain } from './errors.ts'
import { holeInLogs } from './logs.ts'
import { LevelStore } from './store.ts'
import { type DamagedTable, damagedTables, stillThere } from './tables.ts'

export interface LevelStateOptions {
  /** Where all state lies; made when it is missing. Example: `/var/lib/tidemark`. */
  readonly folder: string
  /**
   * Bytes of fresh rows a task holds in memory before they become a table; up to twice as many while that happens. 65,536 to 2^30,
   * default 4 MiB. Smaller for hundreds of tasks in one process. Example: `1024 * 1024`.
   */
  readonly writeBufferBytes?: number | undefined
  /**
   * Bytes of decompressed table blocks a task keeps for `get`. 0 to 2^31 - 1, default 4 MiB. More helps reads that are spread
   * over state that does not change. Example: `64 * 1024 * 1024`.
   */
  readonly cacheBytes?: number | undefined
}

const MIB = 1024 * 1024

/**
 * The driver for state on disk.
 * @throws TidemarkError OPTION_INVALID
 * @example const state = levelState({ folder: 'state' })
 */
export function levelState({ folder, writeBufferBytes = 4 * MIB, cacheBytes = 4 * MIB }: LevelStateOptions): StateDriver {
  if (typeof folder !== 'string' || folder === '') throw wrongOption('folder', folder, 'the path of a folder')
  within('writeBufferBytes', writeBufferBytes, 65_536, 2 ** 30)
  within('cacheBytes', cacheBytes, 0, 2 ** 31 - 1)
  const engine = {
    keyEncoding: 'buffer',
    valueEncoding: 'buffer',
    writeBufferSize: writeBufferBytes,
    cacheSize: cacheBytes,
    compression: true,
  }

  return {
    name: 'level',

    async open(id) {
      const path = pathOf(folder, id)
      return guarded('open', path, async () => {
        const letGo = hold(path)
        try {
          await makeFolders(folder, id)
          await refuseDamage(path)
          const suspects = await damagedTables(path, 'index')
          const db = new ClassicLevel<Buffer, Buffer>(path, engine)
          await db.open()
          try {
            await refuseDamaged(suspects, path)
            const hole = await holeIn(path, 'LOG')
            if (hole !== undefined) throw corrupt(path, hole)
          } catch (error) {
            await db.close()
            throw error
          }
          return new LevelStore(db, path, letGo)
        } catch (error) {
          letGo()
          throw error
        }
      })
    },

    async check(id) {
      const path = pathOf(folder, id)
      await guarded('read', path, async () => {
        if (!(await exists(path))) return
        const suspects = await damagedTables(path, 'everything')
        if (suspects.length === 0) return
        // An open removes what a killed process left half written, and only reads the index, which it checks.
        const store = await this.open(id)
        await store.close()
        await refuseDamaged(suspects, path)
      })
    },

    async quarantine(id) {
      const path = pathOf(folder, id)
      await guarded('move', path, async () => {
        if (!(await exists(path))) return
        await refuseOpen(path)
        await rm(`${path}.corrupt`, { recursive: true, force: true })
        await rename(path, `${path}.corrupt`)
      })
    },

    async destroy(id) {
      const path = pathOf(folder, id)
      await guarded('remove', path, async () => {
        if (await exists(path)) await refuseOpen(path)
        await rm(path, { recursive: true, force: true })
        await rm(`${path}.corrupt`, { recursive: true, force: true })
        await removeEmpty(stageFolder(folder, id))
      })
    },

    async list(app) {
      const home = join(folder, named('app', app))
      return guarded('list', home, async () => {
        const found: StateId[] = []
        for (const stageName of await foldersIn(home)) {
          const [, stage, generation] = /^([a-z0-9-]+)-g(0|[1-9][0-9]*)$/.exec(stageName) ?? []
          if (stage === undefined) continue
          for (const partition of await foldersIn(join(home, stageName))) {
            if (/^(0|[1-9][0-9]*)$/.test(partition))
              found.push({ app, stage, generation: Number(generation), partition: Number(partition) })
          }
        }
        return found.sort((a, b) => compare(a.stage, b.stage) || a.generation - b.generation || a.partition - b.partition)
      })
    },
  }
}

const compare = (a: string, b: string): number => (a < b ? -1 : a > b ? 1 : 0)

// Paths. Names are checked although the planner has checked them: a `..` here would write, or remove, outside the folder.

function pathOf(folder: string, id: StateId): string {
  return join(stageFolder(folder, id), String(counted('partition', id.partition)))
}

function stageFolder(folder: string, id: StateId): string {
  return join(folder, named('app', id.app), `${named('stage', id.stage)}-g${counted('generation', id.generation)}`)
}

function named(what: string, name: string): string {
  if (/^[a-z0-9-]+$/.test(name)) return name
  throw new TidemarkError('NAME_INVALID', `"${name}" cannot name the ${what} of a state`, { detail: 'Names of folders match [a-z0-9-]+.' })
}

function counted(what: string, value: number): number {
  if (Number.isSafeInteger(value) && value >= 0) return value
  throw new TypeError(`the ${what} of a state must be a whole number from 0, not ${value}`)
}

function within(name: string, value: number, least: number, most: number): void {
  if (!(Number.isInteger(value) && value >= least && value <= most))
    throw wrongOption(name, value, `a whole number from ${least} to ${most}`)
}

function wrongOption(name: string, value: unknown, wanted: string): TidemarkError {
  return new TidemarkError('OPTION_INVALID', `the option "${name}" of levelState must be ${wanted}`, {
    detail: `It is ${JSON.stringify(value)}.`,
  })
}

// Folders.

/**
 * Everything below the root is 0700. The folder of the app is what shuts others out, so it must be a folder of our own: a link that
 * another user planted in a root that he may write to would lead our rows elsewhere.
 */
async function makeFolders(folder: string, id: StateId): Promise<void> {
  await makeFolder(pathOf(folder, id))
  const home = join(folder, id.app)
  const found = await lstat(home)
  if (!found.isDirectory()) {
    throw new TidemarkError('STORE_IO', 'the state folder of an app must not be a link', {
      detail: `"${home}" is one.`,
      hint: 'Move it away, or link the folder above it.',
    })
  }
  if ((found.mode & 0o077) !== 0) await chmod(home, 0o700)
}

/** Node's own recursive mkdir never returns where a file system answers "no such file" below a folder that exists, as /proc does. */
async function makeFolder(path: string): Promise<void> {
  try {
    await mkdir(path, { mode: 0o700 })
  } catch (error) {
    if (errno(error) === 'EEXIST' && (await stat(path)).isDirectory()) return
    if (!isAbsent(error) || dirname(path) === path) throw error
    await makeFolder(dirname(path))
    await mkdir(path, { mode: 0o700 }).catch((again: unknown) => {
      if (errno(again) !== 'EEXIST') throw again
    })
  }
}

async function foldersIn(path: string): Promise<string[]> {
  const entries = await readdir(path, { withFileTypes: true }).catch((error: unknown) => {
    if (isAbsent(error)) return []
    throw error
  })
  return entries.filter((entry) => entry.isDirectory()).map((entry) => entry.name)
}

async function exists(path: string): Promise<boolean> {
  return lstat(path).then(
    () => true,
    (error: unknown) => {
      if (isAbsent(error)) return false
      throw error
    },
  )
}

/** Removes a folder when nothing is in it. Other tasks of the stage may still be there, and that is fine. */
async function removeEmpty(path: string): Promise<void> {
  await rmdir(path).catch((error: unknown) => {
    if (!isAbsent(error) && !['ENOTEMPTY', 'EEXIST'].includes(errno(error))) throw error
  })
}

const errno = (error: unknown): string => (error instanceof Error && 'code' in error ? String(error.code) : '')
const isAbsent = (error: unknown): boolean => errno(error) === 'ENOENT'

// What LevelDB would not tell, or would tell too late.

/** Refuses a folder that LevelDB would silently empty, and one with a hole, be it that an earlier open found it and no one acted on it. */
async function refuseDamage(path: string): Promise<void> {
  const names = await readdir(path)
  if (!names.includes('CURRENT')) {
    if (names.some((name) => /\.(ldb|sst|log)$/.test(name))) throw corrupt(path, 'the file CURRENT is missing')
  } else if (!/^MANIFEST-\d+\n$/.test(await readFile(join(path, 'CURRENT'), 'latin1'))) {
    // LevelDB looks for a file of that name, whatever it is, and takes that it is not there for a failure of the disk.
    throw corrupt(path, 'the file CURRENT does not name a manifest')
  }
  // A refused second open renames LOG to LOG.old, so both may hold what the last recovery said.
  const hole = (await holeIn(path, 'LOG')) ?? (await holeIn(path, 'LOG.old')) ?? (await holeInLogs(path))
  if (hole !== undefined) throw corrupt(path, hole)
}

/** @throws TidemarkError STORE_CORRUPT */
async function refuseDamaged(suspects: readonly DamagedTable[], path: string): Promise<void> {
  const table = await stillThere(suspects)
  if (table !== undefined) throw corrupt(path, `in ${basename(table.file)}, ${table.what}`)
}

/**
 * What recovery had to skip in a write-ahead file, or undefined. Read from LevelDB's own LOG, which is begun anew at each open and
 * starts with the recovery; there is no other way to learn it. A tail cut short by the end of a process is not a hole and not logged.
 */
async function holeIn(path: string, log: 'LOG' | 'LOG.old'): Promise<string | undefined> {
  const file = await open(join(path, log)).catch((error: unknown) => {
    if (isAbsent(error)) return undefined
    throw error
  })
  if (file === undefined) return undefined
  try {
    const { buffer, bytesRead } = await file.read(Buffer.alloc(65_536), 0, 65_536, 0)
    return /^.*: dropping \d+ bytes; .*$/m.exec(buffer.toString('latin1', 0, bytesRead))?.[0]
  } finally {
    await file.close()
  }
}

/** Takes and gives back LevelDB's lock, with options that make every open fail behind the lock and before anything is changed. */
async function refuseOpen(path: string): Promise<void> {
  hold(path)()
  const probe = new ClassicLevel(path, { createIfMissing: false, errorIfExists: true })
  try {
    await probe.open()
  } catch (error) {
    const refusal = explain(error, 'open', path)
    if (refusal instanceof TidemarkError && refusal.code === 'STORE_LOCKED') throw refusal
  } finally {
    await probe.close()
  }
}

/**
 * Folders that this process has open. LevelDB refuses a second open of its own process too, but closes the lock file in doing so, and POSIX
 * then gives up the lock that the first one holds: another process would get in. So it is never asked.
 */
const held = new Set<string>()

/** Takes a folder for one store; the answer lets go of it. @throws TidemarkError STORE_LOCKED */
function hold(path: string): () => void {
  const name = resolve(path)
  if (held.has(name)) {
    throw new TidemarkError('STORE_LOCKED', 'the state of this task is already open', {
      detail: `"${path}" is open in this process.`,
      hint: 'Another part of this process runs the same task.',
    })
  }
  held.add(name)
  return () => void held.delete(name)
}

async function guarded<T>(deed: 'open' | 'read' | 'move' | 'remove' | 'list', path: string, run: () => Promise<T>): Promise<T> {
  try {
    return await run()
  } catch (error) {
    throw explain(error, deed, path)
  }
}
