/** The errors of the embedded log, each in one place, so that they name the same things in the same words. */
import { messageOf, TidemarkError } from '../../base/errors.ts'

/** Whether the system refused something, such as EIO; what Node refuses itself is a mistake of ours. */
export function isSystemError(error: unknown): boolean {
  const code = (error as { code?: unknown } | undefined)?.code
  return !(error instanceof TidemarkError) && typeof code === 'string' && !code.startsWith('ERR_')
}

/** What the disk refused. The hint depends on the reason, as far as the system gives one. */
export function diskError(deed: string, path: string, cause: unknown): TidemarkError {
  if (cause instanceof TidemarkError) return cause
  return new TidemarkError('LOG_IO', `the disk refused to ${deed} of the log`, {
    detail: `${path}: ${messageOf(cause)}`,
    hint: diskHint((cause as { code?: unknown } | undefined)?.code),
    cause,
  })
}

function diskHint(code: unknown): string {
  switch (code) {
    case 'ENOSPC':
    case 'EDQUOT':
      return 'The disk is full. Make room, then open the log again: nothing that was acknowledged is lost.'
    case 'EFBIG':
      return 'A limit on file sizes ("ulimit -f") is in the way. Raise it, then open the log again: nothing that was acknowledged is lost.'
    case 'EACCES':
    case 'EPERM':
    case 'EROFS':
      return 'This user may not write there. Give the folder to this user, or choose another.'
    case 'EMFILE':
    case 'ENFILE':
      return 'Too many files are open. Raise the limit of open files ("ulimit -n").'
    default:
      return 'Look at the disk and the system log, then open the log again.'
  }
}

/** Every write after one whose outcome only a new opening can tell. */
export function refusesWrites(cause: TidemarkError): TidemarkError {
  return new TidemarkError('LOG_IO', 'the log takes no more writes until it is opened again', {
    detail: `An earlier write failed: ${cause.message}. ${cause.detail ?? ''}`.trimEnd(),
    hint: cause.hint,
    cause,
  })
}

export interface DamagedPlace {
  readonly topic: string
  readonly partition: number
  readonly offset: number
  readonly path: string
  readonly byte: number
}

/** Bytes of a segment that are not what was written. */
export function damaged(place: DamagedPlace, what: string, cause?: unknown): TidemarkError {
  const { topic, partition, offset, path, byte } = place
  return new TidemarkError('LOG_CORRUPT', `partition ${partition} of topic "${topic}" is damaged on disk`, {
    detail: `At offset ${offset}, byte ${byte} of ${path}: ${what}`,
    hint: 'Restore the directory from a copy, or let the topic be made anew from its sources. Other partitions can still be read.',
    cause,
  })
}

export function closedError(what = 'the log'): TidemarkError {
  return new TidemarkError('LOG_CLOSED', `${what} was closed`)
}

export function topicUnknown(topic: string): TidemarkError {
  return new TidemarkError('TOPIC_UNKNOWN', `topic "${topic}" does not exist`, {
    hint: 'Make it with "ensure", or run the topology that owns it first.',
  })
}

export function fencedError(id: string): TidemarkError {
  return new TidemarkError('WRITER_FENCED', `writer "${id}" was taken over`, {
    detail: 'A newer holder of its id was opened, and its open transaction was ended.',
    hint: 'Two processes run under one name, or this one was thought to be dead. Stop one of them, or restart this one.',
  })
}
