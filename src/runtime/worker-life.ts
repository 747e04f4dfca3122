/** The states of a worker, and which may follow which. */
import { Lifecycle, type Transitions } from '../base/lifecycle.ts'

/**
 *   joining -> running -> draining -> closed
 *      |          |           |
 *      +----------+-----------+----> failed
 */
export type WorkerStatus = 'joining' | 'running' | 'draining' | 'closed' | 'failed'
const TRANSITIONS: Transitions<WorkerStatus> = {
  joining: ['running', 'draining', 'failed'],
  running: ['draining', 'failed'],
  draining: ['closed', 'failed'],
  closed: [],
  failed: [],
}

export function workerLife(name: string, onState: (state: WorkerStatus) => void): Lifecycle<WorkerStatus> {
  return new Lifecycle<WorkerStatus>(`worker ${name}`, 'joining', TRANSITIONS, onState)
}
