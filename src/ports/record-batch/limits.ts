/** What one batch may cost the process that reads it. Everything is checked before memory is taken for it. */

export interface Limits {
  /** Bytes of a whole batch as it lies in the log. Default 64 MiB; Kafka's `max.message.bytes` is 1 MiB unless set. */
  readonly batchBytesMax: number
  /** Records in a batch. Default 1,000,000, for which columns take 44 MB. */
  readonly recordsMax: number
  /** Bytes of the records of one batch when they are decompressed. Default 64 MiB. */
  readonly decompressedBytesMax: number
  /** Bytes of one record with its key, value and headers. Default 16 MiB. */
  readonly recordBytesMax: number
  /** Headers of one record. Default 128. */
  readonly headersMax: number
  /** Bytes of all headers of one record. Default 64 KiB. */
  readonly headerBytesMax: number
}

/**
 * The limits unless others are given.
 * @example readBatches(bytes, codecs, { ...DEFAULT_LIMITS, recordBytesMax: 1024 * 1024 })
 */
export const DEFAULT_LIMITS: Limits = {
  batchBytesMax: 64 * 1024 * 1024,
  recordsMax: 1_000_000,
  decompressedBytesMax: 64 * 1024 * 1024,
  recordBytesMax: 16 * 1024 * 1024,
  headersMax: 128,
  headerBytesMax: 64 * 1024,
}
