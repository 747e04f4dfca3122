/**
 * A disk in memory that can fail like a real one: between any two operations the process may die, the power may go, the disk may be full,
 * broken or lying. Everything that is left to chance is drawn from the given randomness, so a run is repeated by its seed.
 *
 * What it promises to be: after `crash` every finished operation stands, and each one under way was done wholly, partly or not at all. After
 * `powerCut` whatever was not synced may be missing too: bytes of a file (any operation, any sector of one, or everything from some moment
 * on), and names in a folder (everything from some moment on, so also a file that was synced itself). It has no timing of its own; give
 * `schedule` to decide when an operation is done.
 */
import { TidemarkError } from '../base/errors.ts'
import type { Random } from '../ports/clock.ts'
import type { File, Fs, Lock } from '../ports/fs.ts'
import { Content, change, folderOf, type Inode, type NameChange, Names, sectors, torn } from './disk-content.ts'

export interface SimulatedDiskOptions {
  readonly random: Random
  /** Asked for every operation, with its name and path; the operation is done when the promise resolves, and never if it never does. */
  readonly schedule?: (label: string) => Promise<void>
}

export interface SimulatedDisk {
  /**
   * The disk as the process sees it that runs now. Taken anew by every process: after a crash or a power cut an older one never gets an
   * answer again.
   */
  readonly fs: Fs
  /** The process dies. What it had asked for and not heard of may have been done or not. */
  crash(): void
  /**
   * The process dies and the machine with it. What was not synced is lost by chance, or as `fate` says for a file, and for a folder as far
   * as the names in it go.
   */
  powerCut(fate?: (path: string) => CutFate): void
  readonly faults: DiskFaults
  /** Every file, sorted by path, and its bytes as a process sees them. */
  files(): ReadonlyMap<string, Buffer>
}

/** What becomes of what was not synced: `torn` keeps any sectors of a file, and the names of a folder. */
export type CutFate = 'kept' | 'lost' | 'torn'

export type DiskOperation = 'read' | 'write' | 'sync' | 'truncate' | 'open' | 'rename' | 'remove' | 'list' | 'makeFolder' | 'syncFolder'

export interface DiskFaults {
  /** Bytes that can be written before ENOSPC. Infinity unless set. */
  space: number
  /** Lets the `nth` operation of a kind from now on (1 is the next) fail with a code of the system. A failed write may be done in part. */
  fail(operation: DiskOperation, nth: number, code?: string): PlannedFailure
  /** Turns one bit of a file, on the disk and for whoever reads it. @throws TypeError when the file has no such byte */
  flip(path: string, byte: number, bit: number): void
}

export interface PlannedFailure {
  readonly happened: boolean
  /** Lets it not happen any more. */
  cancel(): void
}

/** An operation that was asked for and not answered. */
interface UnderWay {
  /** Does a share of it, 0 to 1, as the end of the process may leave it. */
  partly(share: number): void
}

/**
 * @example
 * const disk = simulatedDisk({ random })
 * const log = await openEmbeddedLog({ ...options, fs: disk.fs })
 * disk.powerCut()
 * const again = await openEmbeddedLog({ ...options, fs: disk.fs })
 */
export function simulatedDisk(options: SimulatedDiskOptions): SimulatedDisk {
  return new Disk(options)
}

class Disk implements SimulatedDisk {
  readonly faults: DiskFaults & { take(operation: DiskOperation): string | undefined }
  private readonly random: Random
  private readonly schedule: ((label: string) => Promise<void>) | undefined
  private names = new Names()
  private durableNames = new Names()
  /** Changes of names since the last sync of their folder, by folder. */
  private unsyncedNames = new Map<string, NameChange[]>()
  private underWay = new Set<UnderWay>()
  private locks = new Set<string>()
  /** Which process runs. */
  private life = 0

  constructor({ random, schedule }: SimulatedDiskOptions) {
    this.random = random
    this.schedule = schedule
    let planned: { readonly operation: DiskOperation; readonly code: string; left: number; happened: boolean; cancel(): void }[] = []
    this.faults = {
      space: Infinity,
      fail: (operation, nth, code = 'EIO') => {
        const cancel = (): void => {
          planned = planned.filter((each) => each !== plan)
        }
        const plan = { operation, code, left: nth, happened: false, cancel }
        planned.push(plan)
        return plan
      },
      flip: (path, byte, bit) => this.flip(path, byte, bit),
      take: (operation) => {
        const own = planned.filter((plan) => plan.operation === operation)
        for (const plan of own) plan.left--
        const due = own.find(({ left }) => left <= 0)
        due?.cancel()
        if (due !== undefined) due.happened = true
        return due?.code
      },
    }
  }

  get fs(): Fs {
    const { life } = this
    return {
      makeFolder: (path) => this.run(life, 'makeFolder', path, () => this.makeFolder(path)),
      list: (path) => this.run(life, 'list', path, () => this.list(path)),
      open: (path, { create = false } = {}) => this.run(life, 'open', path, () => this.open(life, path, create)),
      rename: (from, to) => this.run(life, 'rename', `${from} to ${to}`, () => this.rename(from, to)),
      remove: (path) => this.run(life, 'remove', path, () => this.remove(path)),
      syncFolder: (path) => this.run(life, 'syncFolder', path, () => this.syncFolder(path)),
      lock: (path) => this.run(life, 'open', `${path}/lock`, () => this.lock(life, path)),
    }
  }

  crash(): void {
    this.life++
    for (const operation of this.underWay) {
      const kind = this.random.unit()
      operation.partly(kind < 0.3 ? 0 : kind < 0.6 ? 1 : this.random.unit())
    }
    this.underWay.clear()
    this.locks.clear()
  }

  powerCut(fate?: (path: string) => CutFate): void {
    this.crash()
    for (const [folder, changes] of this.unsyncedNames) {
      const chance = Math.floor(this.random.unit() * (changes.length + 1))
      const kept = fate === undefined ? chance : fate(folder) === 'lost' ? 0 : changes.length
      for (const change of changes.slice(0, kept)) this.durableNames.apply(change)
    }
    this.unsyncedNames = new Map()
    this.names = new Names()
    for (const path of [...this.durableNames.folders].sort()) if (this.isThere(path)) this.names.folders.add(path)
    for (const [path, inode] of this.durableNames.files) {
      if (this.isThere(path)) this.names.files.set(path, this.withoutPower(inode, fate?.(path)))
    }
    this.durableNames = new Names()
    for (const path of this.names.folders) this.durableNames.folders.add(path)
    for (const [path, inode] of this.names.files) this.durableNames.files.set(path, inode)
  }

  files(): ReadonlyMap<string, Buffer> {
    return new Map([...this.names.files].sort(([a], [b]) => (a < b ? -1 : 1)).map(([path, { live }]) => [path, Buffer.from(live.view)]))
  }

  /** Runs an operation when it is its turn. A process that died meanwhile never hears of it. */
  async run<Result>(life: number, operation: DiskOperation, path: string, work: () => Result): Promise<Result> {
    if (life !== this.life) return new Promise(() => {})
    const code = this.faults.take(operation)
    const underWay: UnderWay = { partly: (share) => void (share > 0 && code === undefined && attempt(work)) }
    this.underWay.add(underWay)
    await this.schedule?.(`${operation} ${path}`)
    if (life !== this.life) return new Promise(() => {})
    this.underWay.delete(underWay)
    if (code !== undefined) throw systemError(code, operation, path)
    return work()
  }

  /** A write is the one operation that can be done in part. */
  async write(life: number, path: string, inode: Inode, pieces: readonly Uint8Array[], at: number): Promise<number> {
    if (life !== this.life) return new Promise(() => {})
    const bytes = Buffer.concat(pieces)
    const code = this.faults.take('write')
    const room = Math.min(bytes.length, this.faults.space)
    this.faults.space -= room
    const put = (length: number): void => {
      if (length > 0) change(inode, { kind: 'write', at, bytes: bytes.subarray(0, length) })
    }
    const underWay: UnderWay = { partly: (share) => put(Math.floor(share * room)) }
    this.underWay.add(underWay)
    await this.schedule?.(`write ${path}`)
    if (life !== this.life) return new Promise(() => {})
    this.underWay.delete(underWay)
    if (code !== undefined) {
      put(Math.floor(this.random.unit() * (room + 1)))
      throw systemError(code, 'write', path)
    }
    put(room)
    if (room < bytes.length) throw systemError('ENOSPC', 'write', path)
    return bytes.length
  }

  private open(life: number, path: string, create: boolean): File {
    let inode = this.names.files.get(path)
    if (inode === undefined) {
      if (!create || !this.names.folders.has(folderOf(path))) throw systemError('ENOENT', 'open', path)
      inode = { live: new Content(), durable: new Content(), unsynced: [] }
      this.alter({ kind: 'file', path, inode })
    }
    return new DiskFile(this, life, path, inode)
  }

  private makeFolder(path: string): void {
    const parts = path.split('/')
    for (let i = 1; i <= parts.length; i++) {
      const folder = parts.slice(0, i).join('/')
      if (!this.names.folders.has(folder)) this.alter({ kind: 'folder', path: folder })
    }
  }

  private list(path: string): string[] {
    const all = [...this.names.files.keys(), ...this.names.folders].filter((each) => each !== path && folderOf(each) === path)
    return all.map((each) => each.slice(each.lastIndexOf('/') + 1)).sort()
  }

  private rename(from: string, to: string): void {
    if (!this.names.files.has(from)) throw systemError('ENOENT', 'rename', from)
    this.alter({ kind: 'rename', from, to })
  }

  private remove(path: string): void {
    const within = (each: string): boolean => each === path || each.startsWith(`${path}/`)
    for (const each of [...this.names.files.keys(), ...this.names.folders]) if (within(each)) this.alter({ kind: 'remove', path: each })
  }

  private syncFolder(path: string): void {
    for (const each of this.unsyncedNames.get(path) ?? []) this.durableNames.apply(each)
    this.unsyncedNames.delete(path)
  }

  private lock(life: number, path: string): Lock {
    if (this.locks.has(path)) throw new TidemarkError('LOG_LOCKED', 'this log directory is open already', { detail: path })
    this.makeFolder(path)
    this.locks.add(path)
    return { release: () => this.run(life, 'remove', `${path}/lock`, () => void this.locks.delete(path)) }
  }

  private alter(change: NameChange): void {
    this.names.apply(change)
    const folder = folderOf(change.kind === 'rename' ? change.to : change.path)
    const changes = this.unsyncedNames.get(folder) ?? []
    changes.push(change)
    this.unsyncedNames.set(folder, changes)
  }

  /** Whether every folder above a durable name is durable too. */
  private isThere(path: string): boolean {
    const folder = folderOf(path)
    return folder === path || (this.durableNames.folders.has(folder) && this.isThere(folder))
  }

  private withoutPower({ durable, unsynced }: Inode, fate: CutFate | undefined): Inode {
    const inode: Inode = { live: durable.copy(), durable, unsynced: [] }
    const kind = fate === undefined ? this.random.unit() : { lost: 0, kept: 0.3, torn: 1 }[fate]
    const kept = kind < 0.2 ? 0 : kind < 0.4 ? unsynced.length : Math.floor(this.random.unit() * (unsynced.length + 1))
    for (const [i, each] of unsynced.entries()) {
      if (kind < 0.6) {
        if (i < kept) change(inode, each)
        // The first operation that is lost may have been half done.
        else if (i === kept && kind >= 0.4) change(inode, torn(each, this.random.unit()))
      } else for (const sector of sectors(each)) if (this.random.unit() < 0.5) change(inode, sector)
    }
    return { live: inode.live, durable: inode.live.copy(), unsynced: [] }
  }

  private flip(path: string, byte: number, bit: number): void {
    const inode = this.names.files.get(path)
    if (inode === undefined || byte >= inode.live.size) throw new TypeError(`${path} has no byte ${byte}`)
    for (const { view } of [inode.live, inode.durable]) if (byte < view.length) view[byte] = (view[byte] as number) ^ (1 << bit)
  }
}

class DiskFile implements File {
  private readonly disk: Disk
  private readonly life: number
  private readonly path: string
  private readonly inode: Inode
  private closed = false

  constructor(disk: Disk, life: number, path: string, inode: Inode) {
    this.disk = disk
    this.life = life
    this.path = path
    this.inode = inode
  }

  get size(): number {
    return this.inode.live.size
  }

  read(into: Uint8Array, at: number, length: number, position: number): Promise<number> {
    return this.run('read', () => {
      const bytes = this.inode.live.view.subarray(position, position + length)
      into.set(bytes, at)
      return bytes.length
    })
  }

  async write(pieces: readonly Uint8Array[], position: number): Promise<void> {
    this.check()
    await this.disk.write(this.life, this.path, this.inode, pieces, position)
  }

  async sync(): Promise<void> {
    const { inode } = this
    const synced = inode.unsynced.length
    const last = inode.unsynced.at(-1)
    // What is written while the sync is under way is not part of it.
    await this.run('sync', () => {
      const end = last === undefined ? 0 : inode.unsynced.indexOf(last) + 1
      for (const each of inode.unsynced.splice(0, Math.min(end, synced))) inode.durable.apply(each)
    })
  }

  truncate(size: number): Promise<void> {
    return this.run('truncate', () => change(this.inode, { kind: 'truncate', size }))
  }

  close(): Promise<void> {
    this.closed = true
    return Promise.resolve()
  }

  private run<Result>(operation: DiskOperation, work: () => Result): Promise<Result> {
    this.check()
    return this.disk.run(this.life, operation, this.path, work)
  }

  private check(): void {
    if (this.closed) throw systemError('EBADF', 'use', this.path)
  }
}

/** Half-done work of a process that died may meet anything. */
function attempt(work: () => unknown): void {
  try {
    work()
  } catch {
    // Nobody is left who could be told.
  }
}

function systemError(code: string, operation: string, path: string): Error {
  return Object.assign(new Error(`${code}: ${operation} ${path}`), { code })
}
