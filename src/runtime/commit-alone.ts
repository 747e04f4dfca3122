/** The commit of a task that no worker runs: of a rebuild, or of a record that is put back. Nobody waits for a restart here. */
import type { Writer } from '../ports/log.ts'
import { COMMIT, commitRun, runCommit } from './commit.ts'
import { TaskStopped } from './failure.ts'
import type { Stages } from './stages.ts'
import type { Task, TaskCommit } from './task.ts'
import type { World } from './world.ts'

/** What would halt a task is thrown as what it is. */
export function failing<T>(work: () => T): T {
  try {
    return work()
  } catch (error) {
    throw unwrapped(error)
  }
}

/** Awaits what a task waits for. What would halt it is thrown as what it is. */
export async function loading(task: Task): Promise<void> {
  try {
    await task.load()
  } catch (error) {
    throw unwrapped(error)
  }
}

function unwrapped(error: unknown): unknown {
  return error instanceof TaskStopped ? error.failure : error
}

/** @throws TidemarkError what the log or the disk refused; then the task is to be closed */
export async function commitAlone(stages: Stages, sealed: TaskCommit, writer: Writer, world: World): Promise<void> {
  const run = commitRun(world, stages, { writer, identity: undefined, tasks: [sealed], durableStores: true, checkLease: () => {} })
  await runCommit(COMMIT.exactlyOnce, run)
  const failed = run.failed.get(sealed)
  if (failed !== undefined) throw failed
  sealed.task.release(sealed)
}
