/**
 * Walks the bytes of an Avro value before the library may touch them. It makes nothing, so hostile bytes cost one pass and no memory.
 *
 * What passes is a whole value of its schema: no length reaches beyond it, no list claims more items than its bytes can hold, no
 * index lies outside its enum or union, nothing nests deeper than `DEPTH_MAX` records or makes more than `PARTS_MAX` values, and
 * nothing follows. The library checks none of this: five bytes made it allocate 1.2 GB, and a length of 200 bytes of 0x80 made every
 * later `bytes` of the process decode as empty (both in avsc 5.7.9).
 * Not checked: whether a long fits a number (the reader may skip it, or read it as a bigint) and whether a text is valid UTF-8.
 */
import { type AvroType, least } from '../../base/avro.ts'

/** Values within one value: records, fields, items and entries. What a decoder may have to make of one record. */
export const PARTS_MAX = 1_000_000
/** Records within records. Fixed, and not left to the stack, so that every worker refuses the same records. */
export const DEPTH_MAX = 64

const NULL = 0
const BOOLEAN = 1
const INT = 2
const LONG = 3
const SIZED = 4
const TEXT = 5
const CHOICE = 6
const UNION = 7
const ARRAY = 8
const MAP = 9
const RECORD = 10

/** One step of the walk. All nodes have one shape, so that the walk stays in one compiled function. */
export interface ScanNode {
  readonly op: number
  /** SIZED: bytes. CHOICE: symbols. ARRAY and MAP: the fewest bytes of an item or entry. */
  readonly size: number
  /** RECORD: its fields. UNION: its branches. ARRAY and MAP: what is in them. */
  readonly nodes: ScanNode[]
  /** RECORD: the names of its fields. */
  readonly names: string[]
  /** The fewest values that this one holds, itself included. */
  readonly parts: number
}

/** What a type is for the walk, and from how many bytes on a value that we write ourselves must be walked too. */
export interface Scannable {
  readonly root: ScanNode
  /** It has no list and no map and does not contain itself, so no value of it can be too large or too deep. */
  readonly bounded: boolean
  /** Shorter values cannot exceed `PARTS_MAX` or `DEPTH_MAX`. */
  readonly harmlessBytes: number
}

export function scannable(type: AvroType): Scannable {
  const made = new Map<AvroType, ScanNode>()
  const open = new Set<AvroType>()
  let itemParts = 1
  let recursive = false
  let bounded = true
  const nodeOf = (type: AvroType): ScanNode => {
    if (open.has(type)) recursive = true
    if (open.has(type) || type.kind === 'array' || type.kind === 'map') bounded = false
    const known = made.get(type)
    if (known !== undefined) return known
    const nodes: ScanNode[] = []
    const names: string[] = []
    const node: ScanNode = { op: OPS[type.kind], size: sizeOf(type), nodes, names, parts: least(type).parts }
    made.set(type, node)
    open.add(type)
    if (type.kind === 'array' || type.kind === 'map') {
      const item = nodeOf(type.kind === 'array' ? type.items : type.values)
      itemParts = Math.max(itemParts, item.parts)
      nodes.push(item)
    } else if (type.kind === 'union') {
      for (const branch of type.branches) {
        const node = nodeOf(branch)
        itemParts = Math.max(itemParts, node.parts)
        nodes.push(node)
      }
    } else if (type.kind === 'record') {
      for (const field of type.fields) {
        nodes.push(nodeOf(field.type))
        names.push(field.name)
      }
    }
    open.delete(type)
    return node
  }
  const root = nodeOf(type)
  return { root, bounded, harmlessBytes: recursive ? DEPTH_MAX : Math.floor((PARTS_MAX - root.parts) / itemParts) }
}

const OPS: Readonly<Record<AvroType['kind'], number>> = {
  null: NULL,
  boolean: BOOLEAN,
  int: INT,
  long: LONG,
  float: SIZED,
  double: SIZED,
  fixed: SIZED,
  bytes: TEXT,
  string: TEXT,
  enum: CHOICE,
  union: UNION,
  array: ARRAY,
  map: MAP,
  record: RECORD,
}

function sizeOf(type: AvroType): number {
  if (type.kind === 'enum') return type.symbols.length
  if (type.kind === 'union') return type.branches.length
  if (type.kind === 'array') return least(type.items).bytes
  if (type.kind === 'map') return 1 + least(type.values).bytes
  return least(type).bytes
}

/** The walk. One object serves many values, one after the other. */
export class Scan {
  private bytes: Buffer = Buffer.alloc(0)
  private at = 0
  private end = 0
  private parts = 0
  private depth = 0
  private exact = false
  private message = ''
  private path: (string | number)[] = []

  /**
   * Whether `bytes[start, end)` is one whole value.
   * @param exact refuse longs beyond 2^53 too
   */
  check({ root }: Scannable, bytes: Buffer, start: number, end: number, exact = false): boolean {
    this.bytes = bytes
    this.at = start
    this.end = end
    this.parts = PARTS_MAX - root.parts
    this.depth = 0
    this.exact = exact
    if (!this.walk(root)) return false
    return this.at === end || this.fail(`${end - this.at} bytes follow the value`)
  }

  /** Why the last `check` said no: the field and what is wrong with it. */
  why(): string {
    return this.path.length === 0
      ? `${this.message[0]?.toUpperCase()}${this.message.slice(1)}.`
      : `Field "${this.path.join('.')}": ${this.message}.`
  }

  private walk(node: ScanNode): boolean {
    switch (node.op) {
      case NULL:
        return true
      case BOOLEAN:
        if (this.at >= this.end) return this.short()
        return (this.bytes[this.at++] as number) <= 1 || this.fail('a boolean is neither 0 nor 1')
      case INT: {
        const value = this.varint()
        return value <= 0xffffffff ? this.at <= this.end || this.short() : this.fail('an int does not fit 32 bits')
      }
      case LONG:
        return this.long()
      case SIZED:
        this.at += node.size
        return this.at <= this.end || this.short()
      case TEXT: {
        const length = this.varint()
        if (length % 2 !== 0) return this.fail('a length is negative')
        this.at += length / 2
        return this.at <= this.end || this.short()
      }
      case CHOICE: {
        const index = this.varint()
        if (this.at > this.end) return this.short()
        return (index % 2 === 0 && index / 2 < node.size) || this.fail(`there are ${node.size} symbols, and this is another`)
      }
      case UNION: {
        const index = this.varint()
        if (this.at > this.end) return this.short()
        if (index % 2 !== 0 || index / 2 >= node.size) return this.fail(`there are ${node.size} branches, and this is another`)
        const branch = node.nodes[index / 2] as ScanNode
        this.parts -= branch.parts
        return this.parts >= 0 ? this.walk(branch) : this.large()
      }
      case RECORD: {
        if (++this.depth > DEPTH_MAX) return this.fail(`it nests deeper than ${DEPTH_MAX} records`)
        const nodes = node.nodes
        for (let i = 0; i < nodes.length; i++) {
          if (!this.walk(nodes[i] as ScanNode)) return this.within(node.names[i] as string)
        }
        this.depth--
        return true
      }
      default:
        return this.list(node)
    }
  }

  /** Blocks of items until a block of none; a negative count has the bytes of its block behind it, by which a reader may skip. */
  private list(node: ScanNode): boolean {
    const item = node.nodes[0] as ScanNode
    for (let done = 0; ; ) {
      let count = this.varint()
      if (count === 0) return this.at <= this.end || this.short()
      let blockEnd = -1
      if (count % 2 !== 0) {
        count = (count + 1) / 2
        const size = this.varint()
        if (size % 2 !== 0) return this.fail('a block has a negative size')
        blockEnd = this.at + size / 2
      } else count /= 2
      // Also false when a varint was bad, because `at` is then beyond `end`.
      if (!(count * node.size <= this.end - this.at)) return this.fail('a list claims more items than its bytes can hold')
      this.parts -= count * item.parts
      if (this.parts < 0) return this.large()
      for (const last = done + count; done < last; done++) {
        if (node.op === MAP && !this.key()) return this.within(done)
        if (!this.walk(item)) return this.within(done)
      }
      if (blockEnd >= 0 && blockEnd !== this.at) return this.fail('a block does not have the size that it states')
    }
  }

  private key(): boolean {
    const length = this.varint()
    if (length % 2 !== 0) return this.fail('a key has a negative length')
    this.at += length / 2
    return this.at <= this.end || this.short()
  }

  /** A varint before zigzag: even is not negative. One of more than ten bytes, or beyond the end, leaves `at` beyond the end. */
  private varint(): number {
    const bytes = this.bytes
    let byte = bytes[this.at++] as number
    if (byte < 0x80) return byte
    let value = byte & 0x7f
    for (let scale = 128, read = 1; read < 10 && this.at < this.end; read++, scale *= 128) {
      byte = bytes[this.at++] as number
      value += (byte & 0x7f) * scale
      if (byte < 0x80) return value
    }
    this.at = this.end + 1
    return 0
  }

  private long(): boolean {
    const start = this.at
    const bytes = this.bytes
    while ((bytes[this.at++] as number) >= 0x80) {
      if (this.at >= this.end) return this.short()
      if (this.at - start > 9) return this.fail('a long does not fit 64 bits')
    }
    if (this.at > this.end) return this.short()
    if (this.at - start === 10 && (bytes[this.at - 1] as number) > 1) return this.fail('a long does not fit 64 bits')
    if (!this.exact || this.at - start < 8) return true
    let value = 0n
    for (let i = this.at - 1; i >= start; i--) value = (value << 7n) | BigInt((bytes[i] as number) & 0x7f)
    return value <= 2n * BigInt(Number.MAX_SAFE_INTEGER) || this.fail('a long is beyond 2^53')
  }

  private short(): boolean {
    return this.fail('the value ends before it is whole')
  }

  private large(): boolean {
    return this.fail(`it has more than ${PARTS_MAX} values in it`)
  }

  private fail(message: string): boolean {
    this.message = message
    this.path = []
    return false
  }

  private within(name: string | number): boolean {
    this.path.unshift(name)
    return false
  }
}
