/** The folder of one worker on Kafka: where its state lies, and who has it. */
import { join } from 'node:path'
import { codeOf, TidemarkError } from '../base/errors.ts'
import { nodeFs } from '../drivers/node/index.ts'
import type { Lock } from '../ports/fs.ts'

/** Where workers on Kafka have their folders unless they are told otherwise. */
export const WORKERS: string = join('.tidemark', 'kafka')
/** Dynamic workers on one machine. */
const FOLDERS_MAX = 1_000

/** The folder that `run` uses when none is named. */
export function workerFolder(topology: string, instance: string): string {
  return join(WORKERS, topology, instance)
}

/** A folder that no other process has. */
export interface LockedFolder {
  readonly dir: string
  readonly lock: Lock
}

/**
 * Keeps every other process from a folder.
 * @param hint what to do when one has it
 * @throws TidemarkError STORE_LOCKED
 */
export async function lockFolder(dir: string, instance: string, hint: string): Promise<LockedFolder> {
  const locked = await tryLock(dir)
  if (locked !== undefined) return locked
  throw new TidemarkError('STORE_LOCKED', `instance "${instance}" runs already, with its state in ${dir}`, { hint })
}

/**
 * For a worker without a name: the first folder that no other worker on this machine uses. What one of them left there is restored from,
 * whoever it was.
 * @throws TidemarkError STORE_LOCKED
 */
export async function lockAnyFolder(topology: string, chosen: string | undefined): Promise<LockedFolder> {
  for (let n = 0; n < FOLDERS_MAX; n++) {
    const locked = await tryLock(chosen ?? workerFolder(topology, `dynamic-${n}`))
    if (locked !== undefined) return locked
    if (chosen !== undefined) break
  }
  throw new TidemarkError('STORE_LOCKED', `another worker has its state in ${chosen ?? WORKERS}`, {
    hint: 'Give each a folder of its own: --dir.',
  })
}

async function tryLock(dir: string): Promise<LockedFolder | undefined> {
  try {
    return { dir, lock: await nodeFs.lock(join(dir, 'worker')) }
  } catch (error) {
    if (codeOf(error) === 'LOG_LOCKED') return undefined
    throw error
  }
}
