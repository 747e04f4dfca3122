/** Places in a record batch that the embedded log writes or reads by itself, and the names of its folders and files. */

export const BATCH_HEADER_BYTES = 61
/** Bytes before those that the length of a batch counts. */
export const BATCH_BYTES_BEFORE_LENGTH = 12
export const ATTRIBUTE_TRANSACTIONAL = 16
export const ATTRIBUTE_CONTROL = 32
/** The compression, in the attributes. */
export const COMPRESSION_MASK = 7

export function journalFolder(folder: string): string {
  return `${folder}/journal`
}

export function topicsFolder(folder: string): string {
  return `${folder}/topics`
}

/**
 * The folder of a topic. The start of its id keeps topics apart whose names differ by case only, on disks that do not tell, and keeps files
 * of a topic that a power cut took back from being taken for those of its successor.
 */
export function topicFolder(folder: string, topic: { readonly name: string; readonly id: string }): string {
  return `${topicsFolder(folder)}/${topic.name}-${topic.id.slice(0, 8)}`
}

/** Whether a name in the folder of topics may be one of ours. */
export function isTopicFolder(name: string): boolean {
  return /^[a-zA-Z0-9._-]+-[0-9a-f]{8}$/.test(name)
}

/** A segment is named by the offset that it begins with, twenty digits as Kafka does. */
export function segmentFile(base: number): string {
  return `${digits(base)}.log`
}

export function indexFile(base: number): string {
  return `${digits(base)}.index`
}

/** What compaction writes aside, and what it may become: a name that says which segments it stands for is a decision. */
export function cleanedFile(base: number): string {
  return `${digits(base)}.cleaned`
}

export function swapFile(base: number, end: number): string {
  return `${digits(base)}-${digits(end)}.swap`
}

export type PartitionFile =
  | { readonly kind: 'log' | 'index' | 'cleaned'; readonly base: number }
  | { readonly kind: 'swap'; readonly base: number; readonly end: number }

/** Undefined for a file that is not ours; it is left alone. */
export function parsePartitionFile(name: string): PartitionFile | undefined {
  const plain = /^(\d{20})\.(log|index|cleaned)$/.exec(name)
  if (plain !== null) return { kind: plain[2] as 'log' | 'index' | 'cleaned', base: Number(plain[1]) }
  const swap = /^(\d{20})-(\d{20})\.swap$/.exec(name)
  return swap === null ? undefined : { kind: 'swap', base: Number(swap[1]), end: Number(swap[2]) }
}

function digits(offset: number): string {
  return String(offset).padStart(20, '0')
}
