/** The folder of one worker on Kafka: where its state lies, and who has it. */
import { join } from 'node:path'
import { codeOf, TidemarkError } from '../base/errors.ts'
import { nodeFs } from '../drivers/node/index.ts'
import type { Lock } from '../ports/fs.ts'

/** Where workers on Kafka have their folders unless they are told otherwise. */
export const WORKERS: string = join('.tidemark', 'kafka')
const INSTANCE = /^[a-zA-Z0-9._-]{1,100}$/

/** The folder that `run` uses when none is named. */
export function workerFolder(topology: string, instance: string): string {
  return join(WORKERS, topology, instance)
}

/** @throws TidemarkError OPTION_INVALID */
export function checkedInstance(instance: string): string {
  if (INSTANCE.test(instance)) return instance
  throw new TidemarkError('OPTION_INVALID', `"${instance}" is no name for a worker`, {
    hint: 'Use letters, digits, dots, dashes and underscores.',
  })
}

/** Keeps every other process from the folder. @param hint what to do when one has it */
export async function lockFolder(dir: string, instance: string, hint: string): Promise<Lock> {
  try {
    return await nodeFs.lock(join(dir, 'worker'))
  } catch (error) {
    if (codeOf(error) !== 'LOG_LOCKED') throw error
    throw new TidemarkError('STORE_LOCKED', `instance "${instance}" runs already, with its state in ${dir}`, { hint })
  }
}
