import { createRequire, registerHooks } from 'node:module'
import { constants, gzipSync, zstdCompressSync } from 'node:zlib'
import * as fc from 'fast-check'
import { compressFrameSync, decompressFrameSync } from 'lz4-napi'
import { compressSync } from 'snappy'
import { describe, expect, test, vi } from 'vitest'
import { missingCodecs, nativeCodecs } from '../../../src/drivers/codecs/index.ts'
import { COMPRESSIONS, plainCodecs, readBatches } from '../../../src/ports/record-batch/index.ts'
import { batchAround, contents, encode, only, sample } from './sample.ts'

const MIB = 2 ** 20
const PACKED = COMPRESSIONS.filter((compression) => compression !== 'none')
const limit = expect.objectContaining({ code: 'BATCH_LIMIT' })
const corrupt = expect.objectContaining({ code: 'BATCH_CORRUPT' })

/** Bytes that compress: pieces that repeat near and far, runs, and noise. */
const compressible: fc.Arbitrary<Buffer> = fc
  .array(
    fc.oneof(
      fc.uint8Array({ maxLength: 300 }).map((bytes) => ({ bytes: Buffer.from(bytes), times: 1 })),
      fc.record({
        bytes: fc.uint8Array({ minLength: 1, maxLength: 90 }).map((bytes) => Buffer.from(bytes)),
        times: fc.integer({ min: 1, max: 2_000 }),
      }),
    ),
    { maxLength: 6 },
  )
  .map((pieces) => Buffer.concat(pieces.flatMap(({ bytes, times }) => Array.from({ length: times }, () => bytes))))

describe('checksums', () => {
  test('the one in TypeScript is CRC-32C: the check value of its definition, and what the native one says of any bytes', () => {
    expect(plainCodecs.crc32c(Buffer.from('123456789'))).toBe(0xe3069283)
    expect(plainCodecs.crc32c(Buffer.alloc(32))).toBe(0x8a9136aa)
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 70 }), (bytes) => {
        expect(plainCodecs.crc32c(bytes)).toBe(nativeCodecs.crc32c(bytes))
      }),
    )
  })
})

describe('compression', () => {
  test('this machine lacks none of the packages', () => {
    expect(missingCodecs).toEqual([])
  })

  test('a machine that packages have no build for loses what they do, keeps the rest, and is told so', async () => {
    const hooks = registerHooks({
      resolve(specifier, context, next) {
        if (['snappy', 'lz4-napi', '@node-rs/crc32'].includes(specifier)) throw new Error('no build for this machine')
        return next(specifier, context)
      },
    })
    // What this process has loaded before would be found without being resolved.
    const { cache } = createRequire(import.meta.url)
    for (const file of Object.keys(cache)) if (/snappy|lz4|crc32/.test(file)) delete cache[file]
    vi.resetModules()
    const { nativeCodecs: partly, missingCodecs: gaps } = await import('../../../src/drivers/codecs/index.ts')
    hooks.deregister()
    expect(gaps.map(({ compression, package: name, reason }) => [compression, name, reason])).toEqual([
      ['none', '@node-rs/crc32', 'no build for this machine'],
      ['snappy', 'snappy', 'no build for this machine'],
      ['lz4', 'lz4-napi', 'no build for this machine'],
    ])
    const bytes = Buffer.from('some bytes')
    expect(partly.crc32c(bytes)).toBe(nativeCodecs.crc32c(bytes))
    for (const compression of ['gzip', 'zstd'] as const)
      expect(partly.decompress(compression, partly.compress(compression, bytes), 100)).toEqual(bytes)
    // lz4 is unpacked by our own decoder.
    expect(partly.decompress('lz4', nativeCodecs.compress('lz4', bytes), 100)).toEqual(bytes)
    const missing = expect.objectContaining({ code: 'BATCH_UNSUPPORTED', detail: expect.stringContaining('no build for this machine') })
    expect(() => partly.compress('lz4', bytes)).toThrow(missing)
    expect(() => partly.compress('snappy', bytes)).toThrow(missing)
    expect(() => partly.decompress('snappy', nativeCodecs.compress('snappy', bytes), 100)).toThrow(missing)
  })

  test.each(PACKED)('%s gives back any bytes, and no more than are allowed', (compression) => {
    fc.assert(
      fc.property(compressible, (bytes) => {
        const packed = nativeCodecs.compress(compression, bytes)
        expect(nativeCodecs.decompress(compression, packed, bytes.length)).toEqual(bytes)
        expect(nativeCodecs.decompress(compression, packed, MIB)).toEqual(bytes)
        if (bytes.length > 0) expect(() => nativeCodecs.decompress(compression, packed, bytes.length - 1)).toThrow(limit)
      }),
      { numRuns: 50 },
    )
  })

  test.each(PACKED)('%s takes garbage for what it is, at any length, cut off or changed', (compression) => {
    const packed = nativeCodecs.compress(compression, Buffer.from('the same and the same and the same again'.repeat(20)))
    for (let length = 0; length < packed.length; length++) {
      expect(() => nativeCodecs.decompress(compression, packed.subarray(0, length), MIB), `${length} bytes`).toThrow(corrupt)
    }
    for (const bytes of [Buffer.alloc(40, 0xff), Buffer.from('not compressed at all')]) {
      expect(() => nativeCodecs.decompress(compression, bytes, MIB)).toThrow(corrupt)
    }
  })

  test('the plain codecs name the compression that they do not have, and what has it', () => {
    const bytes = encode([sample('k', 'v')], { compression: 'zstd' })
    const [batch] = readBatches(bytes, plainCodecs).batches
    expect(() => batch?.columns).toThrow(expect.objectContaining({ code: 'BATCH_UNSUPPORTED', message: expect.stringContaining('zstd') }))
    expect(() => plainCodecs.compress('lz4', bytes)).toThrow(expect.objectContaining({ code: 'BATCH_UNSUPPORTED' }))
    expect(plainCodecs.decompress('none', bytes, bytes.length)).toEqual(bytes)
    expect(() => plainCodecs.decompress('none', bytes, 10)).toThrow(limit)
    expect(() => nativeCodecs.decompress('none', bytes, 10)).toThrow(limit)
  })
})

describe('what other clients write', () => {
  const content = encode([sample('k', 'value '.repeat(9_000))]).subarray(61)
  const read = (packed: Buffer, attributes: number): string | undefined =>
    contents(only(batchAround(packed, 1, { attributes })))[0]?.value?.toString()

  test('snappy is read raw and in the framing of snappy-java, in one block, in many, and with framings one after the other', () => {
    const block = (bytes: Buffer): Buffer => {
      const raw = compressSync(bytes)
      const length = Buffer.alloc(4)
      length.writeInt32BE(raw.length)
      return Buffer.concat([length, raw])
    }
    const head = Buffer.from('82534e41505059000000000100000001', 'hex')
    const halves = [block(content.subarray(0, 20_000)), block(content.subarray(20_000))]
    for (const packed of [
      compressSync(content),
      Buffer.concat([head, block(content)]),
      Buffer.concat([head, ...halves]),
      Buffer.concat([head, halves[0] as Buffer, head, halves[1] as Buffer]),
    ]) {
      expect(read(packed, 2)).toBe('value '.repeat(9_000))
    }
    for (const cut of [18, 25, 200]) {
      expect(() => nativeCodecs.decompress('snappy', Buffer.concat([head, ...halves]).subarray(0, cut), MIB)).toThrow(corrupt)
    }
  })

  test('lz4 is written as Kafka demands it: one frame, its blocks independent, read by another decoder', () => {
    fc.assert(
      fc.property(compressible, (bytes) => {
        const frame = nativeCodecs.compress('lz4', bytes)
        expect(frame.readUInt32LE(0)).toBe(0x184d2204)
        expect(Number(frame[4]) >>> 5).toBe(0b011)
        expect(decompressFrameSync(frame)).toEqual(bytes)
      }),
      { numRuns: 30 },
    )
  })

  test('lz4 is read with checksums, with blocks that are linked or not compressed, and with the content size', () => {
    const packed = compressFrameSync(Buffer.from(content), { contentChecksum: true, blockChecksums: true })
    expect(read(packed, 3)).toBe('value '.repeat(9_000))
    // Two blocks, the second repeating 12 bytes of the first; a block as it is; the size of the content in the frame's header.
    const linked = Buffer.from(
      [
        '04224d18 48 40 2200000000000000 00',
        '0e000080 6162636465666768696a6b6c6d6e',
        '05000000 1a 6f 0c00 00',
        '04000080 77787980',
        '00000000',
      ]
        .join('')
        .replaceAll(' ', ''),
      'hex',
    )
    expect(nativeCodecs.decompress('lz4', linked, MIB).toString('latin1')).toBe('abcdefghijklmnodefghijklmnodewxy\x80')
  })

  test('gzip and zstd are read in several members, and zstd at its highest level and without its size', () => {
    const [one, two] = [content.subarray(0, 20_000), content.subarray(20_000)]
    expect(read(Buffer.concat([gzipSync(one), gzipSync(two)]), 1)).toBe('value '.repeat(9_000))
    expect(read(Buffer.concat([zstdCompressSync(one), zstdCompressSync(two)]), 4)).toBe('value '.repeat(9_000))
    const skippable = Buffer.from('5a2a4d1803000000616263', 'hex')
    expect(read(Buffer.concat([skippable, zstdCompressSync(one), skippable, zstdCompressSync(two)]), 4)).toBe('value '.repeat(9_000))
    const checked = { params: { [constants.ZSTD_c_checksumFlag]: 1 } }
    expect(read(Buffer.concat([zstdCompressSync(one, checked), zstdCompressSync(two, checked)]), 4)).toBe('value '.repeat(9_000))
    const sizeless = { params: { [constants.ZSTD_c_compressionLevel]: 22, [constants.ZSTD_c_contentSizeFlag]: 0 } }
    expect(read(zstdCompressSync(content, sizeless), 4)).toBe('value '.repeat(9_000))
  })

  test('lz4 that repeats what was not yet there, needs a dictionary, or is followed by other bytes is garbage', () => {
    const frame = (...parts: string[]): Buffer => Buffer.from(parts.join('').replaceAll(' ', ''), 'hex')
    for (const bytes of [
      frame('04224d18 60 40 00', '05000000 10 61 0500 00', '00000000'),
      frame('04224d18 60 40 00', '05000000 10 61 0000 00', '00000000'),
      frame('04224d18 60 40 00', '03000000 f0 ffff', '00000000'),
      frame('04224d18 60 40 00', '04000000 1f 61 0100', '00000000'),
      frame('04224d18 60 40 00', '03000000 50 6162', '00000000'),
      frame('04224d18 60 40 00', '03000000 10 61 01', '00000000'),
      frame('04224d18 61 40 00000000 00', '00000000'),
      frame('04224d18 20 40 00', '00000000'),
      frame('04224d18 60 40 00', '00000000 00'),
      frame('04224d18 60 40 00', '00000000', '04224d18 60 40 00', '00000000'),
    ]) {
      expect(() => nativeCodecs.decompress('lz4', bytes, MIB), bytes.toString('hex')).toThrow(corrupt)
    }
    expect(nativeCodecs.decompress('lz4', frame('04224d18 60 40 00', '00000000'), 0)).toHaveLength(0)
  })
})

describe('bombs', () => {
  const zeros = Buffer.alloc(16 * MIB)
  const repeated = (bytes: Buffer): Buffer => Buffer.concat(Array.from({ length: 64 }, () => bytes))
  /** 1 GiB of zeros, in 3 MiB at most but for snappy, which cannot do better than a twentieth. */
  const bombs: Record<(typeof PACKED)[number], () => Buffer> = {
    gzip: () => repeated(gzipSync(zeros)),
    zstd: () => repeated(zstdCompressSync(zeros)),
    lz4: () => {
      const frame = nativeCodecs.compress('lz4', zeros)
      return Buffer.concat([frame.subarray(0, 7), repeated(frame.subarray(7, -4)), Buffer.alloc(4)])
    },
    snappy: () => {
      const raw = compressSync(zeros)
      const length = Buffer.alloc(4)
      length.writeInt32BE(raw.length)
      return Buffer.concat([Buffer.from('82534e41505059000000000100000001', 'hex'), repeated(Buffer.concat([length, raw]))])
    },
  }

  test.each(PACKED)('%s that holds 1 GiB stops at the limit, before the memory is taken', (compression) => {
    const bytes = batchAround(bombs[compression](), 1, { attributes: COMPRESSIONS.indexOf(compression) })
    const [batch] = readBatches(bytes, nativeCodecs).batches
    const before = process.resourceUsage().maxRSS
    expect(() => batch?.columns).toThrow(limit)
    // In KiB. The default limit is 64 MiB; a decoder may hold that and a piece more, never the content.
    expect(process.resourceUsage().maxRSS - before).toBeLessThan(150 * 1024)
  })

  test.each(['snappy', 'zstd'] as const)('%s in more pieces than any client writes is refused, before each costs a call', (compression) => {
    const one = nativeCodecs.compress(compression, Buffer.from('x'))
    const length = Buffer.alloc(4)
    length.writeInt32BE(one.length)
    const piece = compression === 'snappy' ? Buffer.concat([length, one]) : one
    const start = compression === 'snappy' ? Buffer.from('82534e41505059000000000100000001', 'hex') : Buffer.alloc(0)
    const pieces = (count: number): Buffer => Buffer.concat([start, ...Array.from({ length: count }, () => piece)])
    expect(nativeCodecs.decompress(compression, pieces(1_000), MIB)).toEqual(Buffer.alloc(1_000, 'x'))
    expect(() => nativeCodecs.decompress(compression, pieces(2_000), MIB)).toThrow(corrupt)
  })

  test('a size that a header only claims is not believed', () => {
    const claims: [(typeof PACKED)[number], Buffer][] = [
      ['snappy', Buffer.concat([Buffer.from([0xff, 0xff, 0xff, 0xff, 0x07]), Buffer.alloc(20)])],
      ['zstd', Buffer.from('28b52ffde0ffffffffffffff00010000', 'hex')],
      ['lz4', Buffer.from('04224d1868700000000000000010000400000080', 'hex')],
    ]
    for (const [compression, bytes] of claims) {
      const before = process.memoryUsage().arrayBuffers
      expect(() => nativeCodecs.decompress(compression, bytes, 64 * MIB), compression).toThrow(corrupt)
      expect(process.memoryUsage().arrayBuffers - before).toBeLessThan(MIB)
    }
    const gzip = gzipSync(Buffer.from('short'))
    gzip.writeUInt32LE(0xffffffff, gzip.length - 4)
    const before = process.memoryUsage().arrayBuffers
    expect(() => nativeCodecs.decompress('gzip', gzip, 64 * MIB)).toThrow(corrupt)
    expect(process.memoryUsage().arrayBuffers - before).toBeLessThan(MIB)
  })
})
