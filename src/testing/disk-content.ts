/** What a simulated disk is made of: bytes that grow, changes to them that can be taken apart, and the names of files and folders. */

/** The least that a disk writes whole: a sector. A machine that loses its power in the middle of a page may have written some of its sectors. */
const SECTOR_BYTES = 512

export type Change =
  | { readonly kind: 'write'; readonly at: number; readonly bytes: Buffer }
  | { readonly kind: 'truncate'; readonly size: number }

export interface Inode {
  /** What a process reads. */
  live: Content
  /** What is left when the power goes and nothing unsynced is. */
  durable: Content
  /** What was changed since, in order. */
  unsynced: Change[]
}

/** Bytes that grow. */
export class Content {
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

export type NameChange =
  | { readonly kind: 'file'; readonly path: string; readonly inode: Inode }
  | { readonly kind: 'folder'; readonly path: string }
  | { readonly kind: 'remove'; readonly path: string }
  | { readonly kind: 'rename'; readonly from: string; readonly to: string }

/** Names of files and folders. */
export class Names {
  readonly files: Map<string, Inode> = new Map()
  readonly folders: Set<string> = new Set(['', '.', '/'])

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

export function change(inode: Inode, each: Change): void {
  inode.live.apply(each)
  inode.unsynced.push(each)
}

export function torn(each: Change, share: number): Change {
  return each.kind === 'truncate' ? each : { ...each, bytes: each.bytes.subarray(0, Math.floor(share * each.bytes.length)) }
}

/** A write as the sectors of the file that it changes. */
export function sectors(each: Change): Change[] {
  if (each.kind === 'truncate') return [each]
  const parts: Change[] = []
  for (let at = each.at; at < each.at + each.bytes.length; ) {
    const end = Math.min(each.at + each.bytes.length, (Math.floor(at / SECTOR_BYTES) + 1) * SECTOR_BYTES)
    parts.push({ kind: 'write', at, bytes: each.bytes.subarray(at - each.at, end - each.at) })
    at = end
  }
  return parts
}

export function folderOf(path: string): string {
  const slash = path.lastIndexOf('/')
  return slash < 0 ? (path === '.' || path === '' ? path : '.') : slash === 0 ? '/' : path.slice(0, slash)
}
