/**
 * A disk in memory that can fail like a real one: between any two operations the process may die, the power may go, the disk may be full,
 * broken or lying. Everything that is left to chance is drawn from the given randomness, so a run is repeated by its seed.
 *
 * What it promises to be: after `crash` every finished operation stands, and each one under way was done wholly, partly or not at all. After
 * `powerCut` whatever was not synced may be missing too: bytes of a file (any operation, any page of one, or everything from some moment
 * on), and names in a folder (everything from some moment on, so also a file that was synced itself). It has no timing of its own; give
 * `schedule` to decide when an operation is done.
 */
import { TidemarkError } from '../base/errors.ts'
import type { Random } from '../ports/clock.ts'
import type { File, Fs, Lock } from '../ports/fs.ts'

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
  /** The process dies and the machine with it. */
  powerCut(): void
  readonly faults: DiskFaults
  /** Every file, sorted by path, and its bytes as a process sees them. */
  files(): ReadonlyMap<string, Buffer>
}

export type DiskOperation = 'read' | 'write' | 'sync' | 'truncate' | 'open' | 'rename' | 'remove' | 'list' | 'makeFolder' | 'syncFolder'

export interface DiskFaults {
  /** Bytes that can be written before ENOSPC. Infinity unless set. */
  space: number
  /** Lets the `nth` operation of a kind from now on (1 is the next) fail with a code of the system. A failed write may be done in part. */
  fail(operation: DiskOperation, nth: number, code?: string): void
  /** Turns one bit of a file, on the disk and for whoever reads it. @throws TypeError when the file has no such byte */
  flip(path: string, byte: number, bit: number): void
}

type Change = { readonly kind: 'write'; readonly at: number; readonly bytes: Buffer } | { readonly kind: 'truncate'; readonly size: number }

interface Inode {
  /** What a process reads. */
  live: Content
  /** What is left when the power goes and nothing unsynced is. */
  durable: Content
  /** What was changed since, in order. */
  unsynced: Change[]
}

/** Bytes that grow. */
class Content {
  size = 0
  private bytes: Buffer = Buffer.alloc(0)

  get view(): Buffer {
    return this.bytes.subarray(0, this.size)
  }

  apply(each: Change): void {
    if (each.kind === 'truncate') this.resize(each.size)
    else {
      const end = each.at + each.bytes.length
      if (end > this.size) this.resize(end)
      each.bytes.copy(this.bytes, each.at)
    }
  }

  copy(): Content {
    const copy = new Content()
    copy.bytes = Buffer.from(this.view)
    copy.size = this.size
    return copy
  }

  private resize(size: number): void {
    if (size > this.bytes.length) {
      const grown = Buffer.alloc(Math.max(size, this.bytes.length * 2))
      this.bytes.copy(grown)
      this.bytes = grown
    }
    // What was cut off does not come back when the file grows again.
    if (size < this.size) this.bytes.fill(0, size, this.size)
    this.size = size
  }
}

type NameChange =
  | { readonly kind: 'file'; readonly path: string; readonly inode: Inode }
  | { readonly kind: 'folder'; readonly path: string }
  | { readonly kind: 'remove'; readonly path: string }
  | { readonly kind: 'rename'; readonly from: string; readonly to: string }

/** Names of files and folders. */
class Names {
  readonly files = new Map<string, Inode>()
  readonly folders = new Set<string>(['', '.', '/'])

  apply(change: NameChange): void {
    switch (change.kind) {
      case 'file':
        this.files.set(change.path, change.inode)
        return
      case 'folder':
        this.folders.add(change.path)
        return
      case 'remove':
        this.files.delete(change.path)
        this.folders.delete(change.path)
        return
      case 'rename': {
        const inode = this.files.get(change.from)
        if (inode === undefined) return
        this.files.delete(change.from)
        this.files.set(change.to, inode)
      }
    }
  }
}

/** An operation that was asked for and not answered. */
interface UnderWay {
  /** Does a share of it, 0 to 1, as the end of the process may leave it. */
  partly(share: number): void
}

const PAGE_BYTES = 4096

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
    const planned: { operation: DiskOperation; left: number; code: string }[] = []
    this.faults = {
      space: Infinity,
      fail: (operation, nth, code = 'EIO') => void planned.push({ operation, left: nth, code }),
      flip: (path, byte, bit) => this.flip(path, byte, bit),
      take: (operation) => {
        for (const plan of planned) if (plan.operation === operation) plan.left--
        const due = planned.findIndex((plan) => plan.operation === operation && plan.left <= 0)
        return due < 0 ? undefined : planned.splice(due, 1)[0]?.code
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

  powerCut(): void {
    this.crash()
    for (const changes of this.unsyncedNames.values()) {
      const kept = Math.floor(this.random.unit() * (changes.length + 1))
      for (const change of changes.slice(0, kept)) this.durableNames.apply(change)
    }
    this.unsyncedNames = new Map()
    this.names = new Names()
    for (const path of [...this.durableNames.folders].sort()) if (this.isThere(path)) this.names.folders.add(path)
    for (const [path, inode] of this.durableNames.files) {
      if (this.isThere(path)) this.names.files.set(path, this.withoutPower(inode))
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

  private withoutPower({ durable, unsynced }: Inode): Inode {
    const inode: Inode = { live: durable.copy(), durable, unsynced: [] }
    const kind = this.random.unit()
    const kept = kind < 0.2 ? 0 : kind < 0.4 ? unsynced.length : Math.floor(this.random.unit() * (unsynced.length + 1))
    for (const [i, each] of unsynced.entries()) {
      if (kind < 0.6) {
        if (i < kept) change(inode, each)
        // The first operation that is lost may have been half done.
        else if (i === kept && kind >= 0.4) change(inode, torn(each, this.random.unit()))
      } else for (const page of pages(each)) if (this.random.unit() < 0.5) change(inode, page)
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

function change(inode: Inode, each: Change): void {
  inode.live.apply(each)
  inode.unsynced.push(each)
}

function torn(each: Change, share: number): Change {
  return each.kind === 'truncate' ? each : { ...each, bytes: each.bytes.subarray(0, Math.floor(share * each.bytes.length)) }
}

/** A write as the pages of the file that it changes. */
function pages(each: Change): Change[] {
  if (each.kind === 'truncate') return [each]
  const parts: Change[] = []
  for (let at = each.at; at < each.at + each.bytes.length; ) {
    const end = Math.min(each.at + each.bytes.length, (Math.floor(at / PAGE_BYTES) + 1) * PAGE_BYTES)
    parts.push({ kind: 'write', at, bytes: each.bytes.subarray(at - each.at, end - each.at) })
    at = end
  }
  return parts
}

function folderOf(path: string): string {
  const slash = path.lastIndexOf('/')
  return slash < 0 ? (path === '.' || path === '' ? path : '.') : slash === 0 ? '/' : path.slice(0, slash)
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
