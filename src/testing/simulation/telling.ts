/** What the telemetry of a simulated world says, as a line of its trace. */
import type { TelemetryEvent } from '../../ports/telemetry.ts'

export function described(event: TelemetryEvent): string {
  const error =
    'error' in event && event.error !== undefined ? ` (${event.error.code}: ${event.error.message}; ${event.error.detail ?? ''})` : ''
  switch (event.kind) {
    case 'task':
      return `task ${event.task} is ${event.state}${error}`
    case 'worker':
      return `worker ${event.worker} is ${event.state}${error}`
    case 'restore':
      return `task ${event.task} has restored ${event.records} records, ${event.left} are left`
    case 'failure':
      return `step ${event.step} of task ${event.task}: ${event.decision}${error}`
    default:
      return `${event.kind}${error}`
  }
}
