/**
 * How compaction changes files so that a crash at any moment leaves the old ones or the new one:
 *
 *   1. the new file is written aside as <base>.cleaned, and synced
 *   2. it is renamed to <base>-<end>.swap, and the folder synced: from here on it stands for everything in [base, end)
 *   3. the old files are removed, with their indexes
 *   4. it is renamed to <base>.log
 *
 * Before 2 the new file is thrown away at the next opening, after 2 the rest is done then.
 */
import type { Fs } from '../../ports/fs.ts'
import { diskError } from './errors.ts'
import { indexFile, parsePartitionFile, segmentFile } from './layout.ts'

/** Ends what a crash interrupted in a partition's folder. Returns the names that are there then. */
export async function finishSwaps(folder: string, names: readonly string[], fs: Fs): Promise<string[]> {
  const files = names.map((name) => ({ name, file: parsePartitionFile(name) }))
  const left = new Set(names)
  try {
    for (const { name, file } of files) {
      if (file?.kind === 'cleaned') {
        await fs.remove(`${folder}/${name}`)
        left.delete(name)
      }
      if (file?.kind !== 'swap') continue
      for (const { name: old, file: replaced } of files) {
        if (replaced === undefined || replaced.kind === 'swap' || replaced.kind === 'cleaned') continue
        if (replaced.base < file.base || replaced.base >= file.end) continue
        await fs.remove(`${folder}/${old}`)
        left.delete(old)
      }
      await fs.rename(`${folder}/${name}`, `${folder}/${segmentFile(file.base)}`)
      await fs.syncFolder(folder)
      left.delete(name)
      left.add(segmentFile(file.base)).delete(indexFile(file.base))
    }
  } catch (error) {
    throw diskError('finish a compaction', folder, error)
  }
  return [...left].sort()
}
