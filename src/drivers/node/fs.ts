/**
 * The disk through `node:fs`, one system call a call where that can be. Errors are Node's own, with their `code`; whoever asked knows what
 * the file was for, and says it. Folders are made for their owner alone (0700), files too (0600): a log holds what its topics hold.
 */
import { close, constants, fstat, fsync, ftruncate, open, read, write, writev } from 'node:fs'
import { mkdir, open as openHandle, readdir, realpath, rename, rm, stat } from 'node:fs/promises'
import { dirname } from 'node:path'
import { ClassicLevel } from 'classic-level'
import { messageOf, TidemarkError } from '../../base/errors.ts'
import type { File, Fs, Lock } from '../../ports/fs.ts'

/** @example const log = await openEmbeddedLog({ folder: '.tidemark/log', fs: nodeFs, clock: nodeClock, random: nodeRandom, codecs }) */
export const nodeFs: Fs = {
  async makeFolder(path) {
    await makeFolders(path)
  },
  async list(path) {
    try {
      return (await readdir(path)).sort()
    } catch (error) {
      if (codeOfSystem(error) === 'ENOENT') return []
      throw error
    }
  },
  async open(path, options = {}) {
    const flags = constants.O_RDWR | (options.create === true ? constants.O_CREAT : 0)
    const fd = await new Promise<number>((resolve, reject) => {
      open(path, flags, 0o600, (error, descriptor) => (error ? reject(error) : resolve(descriptor)))
    })
    const size = await new Promise<number>((resolve, reject) => {
      fstat(fd, (error, stats) => (error ? close(fd, () => reject(error)) : resolve(stats.size)))
    })
    return new NodeFile(fd, size)
  },
  async rename(from, to) {
    await rename(from, to)
  },
  async remove(path) {
    await rm(path, { recursive: true, force: true })
  },
  async syncFolder(path) {
    // Windows does not open folders, and its file systems journal what a folder holds.
    if (process.platform === 'win32') return
    const folder = await openHandle(path, 'r')
    try {
      await folder.sync()
    } finally {
      await folder.close()
    }
  },
  lock,
}

/** At most this many pieces go into one system call (IOV_MAX of Linux and macOS). */
const PIECES_MAX = 1024

class NodeFile implements File {
  size: number
  private readonly fd: number

  constructor(fd: number, size: number) {
    this.fd = fd
    this.size = size
  }

  read(into: Uint8Array, at: number, length: number, position: number): Promise<number> {
    return new Promise((resolve, reject) => {
      read(this.fd, into, at, length, position, (error, count) => (error ? reject(error) : resolve(count)))
    })
  }

  async write(pieces: readonly Uint8Array[], position: number): Promise<void> {
    let left = pieces
    let at = position
    while (left.length > 0) {
      const written = await this.writeOnce(left, at)
      // No file system takes nothing without an error; one that did would have us wait for ever.
      if (written === 0 && left.some((piece) => piece.length > 0)) throw new Error('the disk took none of the bytes')
      at += written
      left = after(left, written)
    }
    if (at > this.size) this.size = at
  }

  sync(): Promise<void> {
    return new Promise((resolve, reject) => fsync(this.fd, (error) => (error ? reject(error) : resolve())))
  }

  truncate(size: number): Promise<void> {
    return new Promise((resolve, reject) =>
      ftruncate(this.fd, size, (error) => {
        if (error) return reject(error)
        this.size = size
        resolve()
      }),
    )
  }

  close(): Promise<void> {
    return new Promise((resolve, reject) => close(this.fd, (error) => (error ? reject(error) : resolve())))
  }

  /** One system call, which may take a part only: a disk that runs full does so before it says so. */
  private writeOnce(pieces: readonly Uint8Array[], position: number): Promise<number> {
    return new Promise((resolve, reject) => {
      const done = (error: NodeJS.ErrnoException | null, written: number): void => (error ? reject(error) : resolve(written))
      const only = pieces[0] as Uint8Array
      if (pieces.length === 1) write(this.fd, only, 0, only.length, position, done)
      else writev(this.fd, pieces.slice(0, PIECES_MAX), position, done)
    })
  }
}

/** What is left of the pieces when their first `written` bytes are gone. */
function after(pieces: readonly Uint8Array[], written: number): readonly Uint8Array[] {
  let skipped = 0
  let rest = written
  for (let piece = pieces[0]; piece !== undefined && rest >= piece.length; piece = pieces[++skipped]) rest -= piece.length
  const left = pieces.slice(skipped)
  const first = left[0]
  return first === undefined || rest === 0 ? left : [first.subarray(rest), ...left.slice(1)]
}

/** Node's own recursive mkdir never returns where a file system answers "no such file" below a folder that exists, as /proc does. */
async function makeFolders(path: string): Promise<void> {
  try {
    await mkdir(path, { mode: 0o700 })
  } catch (error) {
    const code = codeOfSystem(error)
    if (code === 'EEXIST' && (await stat(path)).isDirectory()) return
    if (code !== 'ENOENT' || dirname(path) === path) throw error
    await makeFolders(dirname(path))
    await mkdir(path, { mode: 0o700 }).catch((again: unknown) => {
      if (codeOfSystem(again) !== 'EEXIST') throw again
    })
  }
}

/** Folders that this process holds, by their real paths. */
const held = new Set<string>()

/**
 * The lock of an empty LevelDB in the folder. The system holds it for the process and ends it with the process, however that ends, so
 * nothing can be left behind: neither by `kill -9` nor by a machine that stops.
 *
 * LevelDB is never asked for a folder that this process has already. It would refuse, but in refusing it opens and closes the lock file,
 * and by the rules of POSIX that gives up the lock that the process held: another process could then have the folder too.
 */
async function lock(path: string): Promise<Lock> {
  await makeFolders(path)
  const folder = await realpath(path)
  if (held.has(folder)) throw locked(path)
  held.add(folder)
  try {
    const database = await openLock(`${folder}/lock`)
    return {
      release: async () => {
        await database.close()
        held.delete(folder)
      },
    }
  } catch (error) {
    held.delete(folder)
    if (isHeld(error)) throw locked(path, error)
    throw new TidemarkError('LOG_IO', 'the lock of a log directory cannot be taken', {
      detail: `${folder}/lock: ${messageOf((error as Error).cause ?? error)}`,
      hint: 'Check that this user may write there, and that the disk is not full.',
      cause: error,
    })
  }
}

async function openLock(place: string): Promise<ClassicLevel> {
  try {
    return await opened(place)
  } catch (error) {
    if (isHeld(error)) throw error
    // The database holds nothing, so one that a power cut damaged is made anew. `destroy` takes the lock itself while it works.
    await ClassicLevel.destroy(place)
    return opened(place)
  }
}

async function opened(place: string): Promise<ClassicLevel> {
  const database = new ClassicLevel(place)
  await database.open()
  return database
}

function isHeld(error: unknown): boolean {
  return codeOfSystem((error as Error).cause ?? error) === 'LEVEL_LOCKED'
}

function locked(path: string, cause?: unknown): TidemarkError {
  return new TidemarkError('LOG_LOCKED', 'this log directory is open already', {
    detail: `"${path}" is held by another process, or was opened twice by this one.`,
    hint: 'One process a directory: stop the other one, or give this one a directory of its own.',
    cause,
  })
}

function codeOfSystem(error: unknown): unknown {
  return (error as { code?: unknown } | undefined)?.code
}
