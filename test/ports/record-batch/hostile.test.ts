import { describe, expect, test } from 'vitest'
import { codeOf, TidemarkError } from '../../../src/base/errors.ts'
import { nativeCodecs } from '../../../src/drivers/codecs/index.ts'
import {
  BatchBuilder,
  COMPRESSIONS,
  controlBatch,
  DEFAULT_LIMITS,
  encodeHeaders,
  HeaderCursor,
  type Limits,
  plainCodecs,
  readBatches,
} from '../../../src/ports/record-batch/index.ts'
import { batchAround, contents, encode, only, sample, sealed, TIME } from './sample.ts'

/** Reads everything that a batch has, and gives the code of what went wrong. */
function outcome(bytes: Buffer, limits?: Limits): string | undefined {
  return failure(bytes, limits)?.code
}

function failure(bytes: Buffer, limits?: Limits): TidemarkError | undefined {
  try {
    for (const batch of readBatches(bytes, nativeCodecs, limits).batches) contents(batch)
    return undefined
  } catch (error) {
    if (error instanceof TidemarkError) return error
    throw error
  }
}

function hex(text: string): Buffer {
  return Buffer.from(text.replaceAll(' ', ''), 'hex')
}

const GOOD = encode([sample('balance', '100', [{ name: 'ce_id', value: Buffer.from('1') }]), sample('b', null)])

describe('damage on the way', () => {
  test('every flipped bit that the checksum covers is noticed, so no value is read that was not written', () => {
    for (let bit = 21 * 8; bit < GOOD.length * 8; bit++) {
      const bytes = Buffer.from(GOOD)
      bytes[bit >>> 3] = (bytes[bit >>> 3] as number) ^ (1 << (bit & 7))
      expect(outcome(bytes), `bit ${bit}`).toBe('BATCH_CORRUPT')
    }
  })

  test('a flipped bit in the checksum, the version or the length gives no record either', () => {
    for (let bit = 8 * 8; bit < 21 * 8; bit++) {
      if (bit >= 12 * 8 && bit < 16 * 8) continue // the leader epoch is the log's to change
      const bytes = Buffer.from(GOOD)
      bytes[bit >>> 3] = (bytes[bit >>> 3] as number) ^ (1 << (bit & 7))
      let batches = 0
      try {
        batches = readBatches(bytes, nativeCodecs).batches.length
      } catch (error) {
        expect(codeOf(error)).toMatch(/^BATCH_/)
      }
      expect(batches, `bit ${bit}`).toBe(0)
    }
  })

  test('a bad batch does not take the good ones before it along, and is reported when it is next', () => {
    const bad = Buffer.from(GOOD)
    bad[70] = (bad[70] as number) ^ 1
    const bytes = Buffer.concat([GOOD, GOOD, bad, GOOD])
    const { batches, consumed } = readBatches(bytes, nativeCodecs)
    expect([batches.length, consumed]).toEqual([2, GOOD.length * 2])
    expect(outcome(bytes.subarray(consumed))).toBe('BATCH_CORRUPT')
  })

  test('a message set of version 0 or 1 is named as what it is', () => {
    for (const version of [0, 1, 3, 255]) {
      const bytes = Buffer.from(GOOD)
      bytes[16] = version
      expect(outcome(bytes)).toBe('BATCH_UNSUPPORTED')
    }
  })

  test('no number of bytes at the end, however few, is an error by itself', () => {
    for (let length = 0; length < GOOD.length; length++) {
      expect(readBatches(GOOD.subarray(0, length), nativeCodecs)).toEqual({ batches: [], consumed: 0 })
    }
  })
})

describe('headers of batches that contradict themselves', () => {
  const header = (change: (bytes: Buffer) => void): Buffer => {
    const bytes = Buffer.from(GOOD)
    change(bytes)
    return sealed(bytes)
  }

  test.each<[string, (bytes: Buffer) => void, string]>([
    ['a count of -1', (b) => b.writeInt32BE(-1, 57), 'BATCH_CORRUPT'],
    ['a count of 5 for 2 records', (b) => b.writeInt32BE(5, 57), 'BATCH_CORRUPT'],
    ['a count of 5 for 5 offsets and 2 records', (b) => b.writeInt32BE(5, 57) + b.writeInt32BE(4, 23), 'BATCH_CORRUPT'],
    ['a count of 2^31 - 1', (b) => b.writeInt32BE(2 ** 31 - 1, 57) + b.writeInt32BE(2 ** 31 - 1, 23), 'BATCH_LIMIT'],
    ['a count of 1 for 2 records', (b) => b.writeInt32BE(1, 57), 'BATCH_CORRUPT'],
    ['an end before its start', (b) => b.writeInt32BE(-1, 23), 'BATCH_CORRUPT'],
    ['a negative offset', (b) => b.writeBigInt64BE(-5n, 0), 'BATCH_CORRUPT'],
    ['an offset of 2^53', (b) => b.writeBigInt64BE(2n ** 53n, 0), 'BATCH_UNSUPPORTED'],
    ['an end of 2^53', (b) => b.writeBigInt64BE(2n ** 53n - 2n, 0), 'BATCH_UNSUPPORTED'],
    ['a timestamp of 2^63 - 1', (b) => b.writeBigInt64BE(2n ** 63n - 1n, 35), 'BATCH_UNSUPPORTED'],
    ['a base timestamp of 2^53', (b) => b.writeBigInt64BE(2n ** 53n, 27), 'BATCH_UNSUPPORTED'],
    ['a producer id of 2^60', (b) => b.writeBigInt64BE(2n ** 60n, 43), 'BATCH_UNSUPPORTED'],
    ['an unknown compression', (b) => b.writeInt16BE(5, 21), 'BATCH_UNSUPPORTED'],
    ['a compression that it does not have', (b) => b.writeInt16BE(4, 21), 'BATCH_CORRUPT'],
  ])('%s', (_name, change, code) => {
    expect(outcome(header(change))).toBe(code)
  })

  test('a count that lies is refused before any record is decoded, and before memory for it is taken', () => {
    for (const change of [(b: Buffer) => b.writeInt32BE(3, 57), (b: Buffer) => b.writeInt32BE(900_000, 57) + b.writeInt32BE(900_000, 23)]) {
      expect(() => readBatches(header(change), nativeCodecs)).toThrow(expect.objectContaining({ code: 'BATCH_CORRUPT' }))
    }
    // How much a compressed batch holds is known only when it is unpacked.
    const packed = batchAround(nativeCodecs.compress('zstd', Buffer.alloc(50)), 900_000, { attributes: 4 })
    const before = process.memoryUsage().arrayBuffers
    expect(outcome(packed)).toBe('BATCH_CORRUPT')
    expect(process.memoryUsage().arrayBuffers - before).toBeLessThan(2 ** 20)
  })

  test('a length that is too small or too large is refused before bytes for it are waited for', () => {
    for (const [length, code] of [
      [-1, 'BATCH_CORRUPT'],
      [48, 'BATCH_CORRUPT'],
      [2 ** 31 - 1, 'BATCH_LIMIT'],
    ] as const) {
      const bytes = Buffer.from(GOOD.subarray(0, 17))
      bytes.writeInt32BE(length, 8)
      expect(outcome(bytes)).toBe(code)
    }
  })

  test('a control batch without a control type is damage', () => {
    const bytes = controlBatch('abort', { producerId: 1, producerEpoch: 0, timestamp: TIME, coordinatorEpoch: 0 }, nativeCodecs)
    for (const records of [hex('0e 00 00 00 01 02 78 00'), hex('10 00 00 00 02 78 02 78 00')]) {
      const batch = only(batchAround(records, 1, { attributes: bytes.readInt16BE(21) }))
      expect(() => batch.controlType).toThrow(expect.objectContaining({ code: 'BATCH_CORRUPT' }))
    }
  })
})

describe('records that contradict themselves', () => {
  test.each<[name: string, records: string, count: number, reason: string]>([
    ['a length beyond the batch', '10 00 00 00 01 01 00', 1, 'its length reaches beyond the batch'],
    ['a negative length', '01 00 00 00 01 01 00', 1, 'its length reaches beyond the batch'],
    ['a length without an end', 'ff ff ff ff ff ff ff', 1, 'its length reaches beyond the batch'],
    ['a length too short for its fields', '0a 00 00 00 01 01 00', 1, 'its fields do not fill its length'],
    ['a length too long for its fields', '0e 00 00 00 01 01 00 00', 1, 'its fields do not fill its length'],
    ['a key beyond the record', '0c 00 00 00 08 01 00', 1, 'its key reaches beyond it'],
    ['a key with a negative length', '0c 00 00 00 03 01 00', 1, 'its key has a negative length'],
    ['a value beyond the record', '0c 00 00 00 01 04 00', 1, 'its value reaches beyond it'],
    ['a value with a negative length', '0c 00 00 00 01 03 00', 1, 'its value has a negative length'],
    ['no header count', '0a 00 00 00 01 01 00', 1, 'its fields do not fill its length'],
    ['a negative header count', '0c 00 00 00 01 01 01', 1, 'it counts more headers than it can hold'],
    ['a header count of 2^31 - 1', '14 00 00 00 01 01 feffffff0f', 1, 'it counts more headers than it can hold'],
    ['a header without a value', '10 00 00 00 01 01 02 02 61', 1, 'its fields do not fill its length'],
    ['a header without a name', '10 00 00 00 01 01 02 01 00', 1, 'its fields do not fill its length'],
    ['a header name beyond the record', '10 00 00 00 01 01 02 08 00', 1, 'its fields do not fill its length'],
    ['a header value beyond the record', '10 00 00 00 01 01 02 00 08', 1, 'its fields do not fill its length'],
    ['a header value with a negative length', '10 00 00 00 01 01 02 00 03', 1, 'its fields do not fill its length'],
    ['the same offset twice', '0c 00 00 00 01 01 00 0c 00 00 00 01 01 00', 2, 'its offset does not rise within the batch'],
    ['an offset behind the end of the batch', '0c 00 00 02 01 01 00', 1, 'its offset does not rise within the batch'],
    ['a negative offset', '0c 00 00 01 01 01 00', 1, 'its offset does not rise within the batch'],
    ['bytes behind the last record', '0c 00 00 00 01 01 00 00', 1, 'bytes follow its last record'],
    ['a timestamp without an end', '20 00 ffffffffffffffffffffff 00 01 01 00', 1, 'its key reaches beyond it'],
    ['an offset of six bytes', '16 00 00 808080808000 01 01 00', 1, 'its key reaches beyond it'],
  ])('%s', (_name, records, count, reason) => {
    for (const compression of COMPRESSIONS) {
      const attributes = COMPRESSIONS.indexOf(compression)
      const error = failure(batchAround(nativeCodecs.compress(compression, hex(records)), count, { attributes }))
      expect([error?.code, error?.detail], compression).toEqual(['BATCH_CORRUPT', expect.stringContaining(reason)])
    }
  })

  test('a timestamp beyond 2^53 is refused, by its delta or by their sum', () => {
    expect(outcome(batchAround(hex('1e 00 feffffffffffffffff01 00 01 01 00'), 1))).toBe('BATCH_UNSUPPORTED')
    // 2^52: the number itself is exact, but with its sign it takes one bit more.
    expect(outcome(batchAround(hex('1a 00 8080808080808010 00 01 01 00'), 1))).toBe('BATCH_UNSUPPORTED')
    const sum = batchAround(hex('0c 00 02 00 01 01 00'), 1)
    sum.writeBigInt64BE(2n ** 53n - 1n, 27)
    expect(outcome(sealed(sum))).toBe('BATCH_UNSUPPORTED')
  })

  test('the smallest record there is, is one', () => {
    expect(outcome(batchAround(hex('0c 00 00 00 01 01 00'), 1))).toBe(undefined)
  })
})

describe('headers that are meant to harm', () => {
  test('names of the prototype of every object are names like others', () => {
    const headers = ['__proto__', 'constructor', 'toString', 'hasOwnProperty'].map((name) => ({ name, value: Buffer.from('x') }))
    expect(only(encode([sample('k', 'v', headers)])).headers(0)).toEqual(headers)
    expect(Object.getOwnPropertyNames(Object.prototype)).not.toContain('x')
  })

  test('all headers are kept: repeated names, empty ones, nulls, and bytes that are not UTF-8', () => {
    const headers = [
      { name: 'a', value: Buffer.from('1') },
      { name: 'a', value: Buffer.from('2') },
      { name: '', value: null },
      { name: 'a', value: Buffer.alloc(0) },
    ]
    expect(only(encode([sample('k', 'v', headers)])).headers(0)).toEqual(headers)
    const notText = only(batchAround(hex('16 00 00 00 01 01 02 04 c328 02 ff'), 1))
    expect(notText.headers(0)).toEqual([{ name: '\ufffd(', value: Buffer.from([0xff]) }])
    const { payload, headersAt, headersEnd } = notText.columns
    expect(payload.subarray(headersAt[0], headersEnd[0])).toEqual(hex('02 04 c328 02 ff'))
  })

  test('10,000 headers and a header of 1 MiB are refused unless they are allowed, and read when they are', () => {
    const open: Limits = { ...DEFAULT_LIMITS, headersMax: 10_000, headerBytesMax: 2 ** 21 }
    const many = Array.from({ length: 10_000 }, (_, i) => ({ name: `h${i}`, value: null }))
    const large = [{ name: 'large', value: Buffer.alloc(2 ** 20, 1) }]
    for (const headers of [many, large]) {
      const bytes = encode([sample('k', 'v', headers)], { limits: open })
      expect(outcome(bytes)).toBe('BATCH_LIMIT')
      expect(only(bytes, open).headers(0)).toEqual(headers)
    }
  })

  test('a cursor over bytes that are no headers stops with an error', () => {
    const cursor = new HeaderCursor()
    for (const [bytes, count] of [
      ['02', 1],
      ['02 02', 1],
      ['02 00', 1],
      ['02 00 08', 1],
      ['02 00 03', 1],
      ['02 01 00', 1],
      ['04 00 00', 2],
      ['80', 1],
      ['', 1],
    ] as const) {
      const payload = hex(bytes)
      cursor.reset(payload, 0, payload.length, count)
      const walk = (): void => {
        for (let i = 0; i < count; i++) cursor.next()
      }
      expect(walk, bytes).toThrow(expect.objectContaining({ code: 'BATCH_CORRUPT' }))
    }
  })
})

describe('limits', () => {
  test('a record that is too large is refused by its offset, and the ones beside it are not blamed', () => {
    const limits = { ...DEFAULT_LIMITS, recordBytesMax: 100 }
    const bytes = encode([sample('a', '1'), sample('b', 'x'.repeat(200)), sample('c', '3')])
    bytes.writeBigInt64BE(5_000n, 0)
    const error = failure(bytes, limits)
    expect(error?.code).toBe('BATCH_LIMIT')
    expect(error?.detail).toContain('offset 5001')
  })

  test('as many records and bytes as allowed are allowed, and one more is not', () => {
    const two = encode([sample('a', '1'), sample('b', '2')])
    expect(outcome(two, { ...DEFAULT_LIMITS, recordsMax: 2, batchBytesMax: two.length })).toBe(undefined)
    expect(outcome(two, { ...DEFAULT_LIMITS, recordsMax: 1 })).toBe('BATCH_LIMIT')
    expect(outcome(two, { ...DEFAULT_LIMITS, batchBytesMax: two.length - 1 })).toBe('BATCH_LIMIT')
    for (const compression of COMPRESSIONS.slice(1)) {
      const packed = encode([sample('a', 'x'.repeat(1_000))], { compression })
      const { length } = encode([sample('a', 'x'.repeat(1_000))]).subarray(61)
      expect(outcome(packed, { ...DEFAULT_LIMITS, decompressedBytesMax: length }), compression).toBe(undefined)
      expect(outcome(packed, { ...DEFAULT_LIMITS, decompressedBytesMax: length - 1 }), compression).toBe('BATCH_LIMIT')
    }
  })

  test('a builder refuses what could not be read back, and keeps what it has', () => {
    const limits = { ...DEFAULT_LIMITS, recordBytesMax: 100, recordsMax: 3, batchBytesMax: 250, headersMax: 2, headerBytesMax: 20 }
    const builder = new BatchBuilder({ codecs: plainCodecs, limits })
    const limit = expect.objectContaining({ code: 'BATCH_LIMIT' })
    const add =
      (bytes: number, headers: number, headerBytes = 0) =>
      (): void =>
        builder.add(
          TIME,
          null,
          Buffer.alloc(bytes),
          encodeHeaders(Array.from({ length: headers }, () => ({ name: 'h', value: Buffer.alloc(headerBytes) }))),
        )
    expect(add(95, 0)).toThrow(limit)
    expect(() => builder.reserve(101)).toThrow(limit)
    expect(add(1, 3)).toThrow(limit)
    expect(add(1, 1, 20)).toThrow(limit)
    add(90, 0)()
    expect(add(90, 0)).toThrow(limit)
    add(1, 2)()
    add(1, 0)()
    expect(add(1, 0)).toThrow(limit)
    const { bytes, count } = builder.finish()
    expect(count).toBe(3)
    expect(contents(only(sealed(bytes), limits)).map(({ value }) => value?.length)).toEqual([90, 1, 1])
  })
})
