/**
 * What LevelDB and the file system say, in the words of tidemark. Nothing is guessed from a message where a code exists; where
 * LevelDB gives none (a synchronous read that failed), the prefix of its message is its only sign.
 */
import { codeOf, messageOf, TidemarkError } from '../../base/errors.ts'

/** What each refusal of the operating system asks for. The texts are those of strerror, which both LevelDB and Node print. */
const HINTS: readonly (readonly [sign: RegExp, hint: string])[] = [
  [
    /no space left|ENOSPC|disk quota|EDQUOT/i,
    'Free space on that disk, then open the task again: its state is whole, and needs no restore from the start.',
  ],
  [/file too large|EFBIG/i, 'A limit on file sizes (ulimit -f) is in the way. Raise it, then open the task again.'],
  [/too many open files|EMFILE|ENFILE/i, 'Raise the limit on open files (ulimit -n); a task needs about a hundred.'],
  [/read-only file system|EROFS/i, 'The state folder must be on a disk that can be written.'],
  [/permission denied|not permitted|EACCES|EPERM/i, 'The state folder must belong to the user that runs the process.'],
  [/not a directory|file exists|ENOTDIR|EEXIST/i, 'Something that is not a folder is in the place of the state folder. Move it away.'],
]

/** LevelDB reports a file that its own records name, and that is gone, as a failure of the disk. Asking again will not bring it back. */
const FILE_GONE = /(?:\.ldb|\.sst|MANIFEST-\d+): No such file or directory/

const CORRUPT_HINT = 'A worker moves the state aside and restores it from its changelog; "tidemark verify --repair" does it now.'

/** The text of an error and of what caused it: abstract-level wraps the engine's error in one of its own. */
function engineError(error: unknown): { code: string | undefined; text: string } {
  let inner = error
  while (inner instanceof Error && inner.cause !== undefined) inner = inner.cause
  const code = typeof inner === 'object' && inner !== null && 'code' in inner ? String(inner.code) : undefined
  return { code, text: messageOf(inner) }
}

/**
 * A failure of LevelDB or of the file system as a TidemarkError: STORE_LOCKED, STORE_CORRUPT, STORE_CLOSED, else STORE_IO.
 * One that already is a TidemarkError, and a TypeError (a wrong call), are given back as they are.
 */
export function explain(error: unknown, deed: 'open' | 'read' | 'write' | 'move' | 'remove' | 'list', path: string): Error {
  if (codeOf(error) !== undefined || error instanceof TypeError) return error as Error
  const { code, text } = engineError(error)
  if (code === 'LEVEL_LOCKED') {
    return new TidemarkError('STORE_LOCKED', 'the state of this task is already open', {
      detail: `"${path}" is locked: ${text}`,
      hint: 'Another process, or another part of this one, runs the same task. The lock ends with its process; never delete it by hand.',
      cause: error,
    })
  }
  if (code === 'LEVEL_CORRUPTION' || text.startsWith('Corruption: ') || FILE_GONE.test(text)) return corrupt(path, text, error)
  if (code?.endsWith('_NOT_OPEN') === true || code === 'LEVEL_ABORTED') {
    return new TidemarkError('STORE_CLOSED', 'the state of this task was closed', { detail: `"${path}": ${text}`, cause: error })
  }
  return new TidemarkError('STORE_IO', `the disk refused to ${deed} the state of a task`, {
    detail: `"${path}": ${text}`,
    hint: HINTS.find(([sign]) => sign.test(`${code} ${text}`))?.[1] ?? 'Check the disk, then open the task again.',
    cause: error,
  })
}

/** STORE_CORRUPT for the state in `path`. */
export function corrupt(path: string, what: string, cause?: unknown): TidemarkError {
  return new TidemarkError('STORE_CORRUPT', 'the state of this task is damaged', {
    detail: `"${path}": ${what}`,
    hint: CORRUPT_HINT,
    cause,
  })
}

/** STORE_IO for a write that is refused because an earlier one failed. */
export function refused(path: string, failure: Error): TidemarkError {
  return new TidemarkError('STORE_IO', 'an earlier write of this state failed, so no other is taken until it is opened again', {
    detail: `"${path}": ${failure instanceof TidemarkError ? (failure.detail ?? failure.message) : failure.message}`,
    hint: failure instanceof TidemarkError ? failure.hint : undefined,
    cause: failure,
  })
}

/** A store that was used after it was closed. */
export function closed(path: string): TidemarkError {
  return new TidemarkError('STORE_CLOSED', 'the state of this task was closed', { detail: `"${path}"` })
}
