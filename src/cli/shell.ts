/**
 * What a command knows of the process that runs it: where its words go, what the terminal can do, the signals that reach it. `main.ts` makes
 * one from the process; nothing else in `cli/` touches that.
 */
import type { Clock } from '../ports/clock.ts'

/** Where text goes. */
export interface Output {
  /** Resolves when more may be written. What is written after the reader went away is dropped. */
  write(text: string): Promise<void>
  /** Whether the reader went away, as `head` does when it has enough. */
  readonly gone: boolean
  readonly terminal: boolean
  /** Of a terminal, as it is now. */
  readonly columns: number
  readonly rows: number
}

/** What a terminal is told before a picture is redrawn again and again, and after. */
export const HIDE_CURSOR = '\u001b[?25l'
export const SHOW_CURSOR = '\u001b[?25h'

export type Signal = 'SIGINT' | 'SIGTERM'

export interface Shell {
  /** Data: what another program may read. */
  readonly out: Output
  /** What is said about it: progress, warnings, errors. */
  readonly err: Output
  readonly env: Readonly<Record<string, string | undefined>>
  /** The working folder. */
  readonly folder: string
  readonly clock: Clock
  /** The version of tidemark. */
  readonly version: string
  /** Hears Ctrl-C and requests to end until the returned function is called; without a listener they end the process. */
  onSignal(listener: (signal: Signal) => void): () => void
  /** Ends the process at once, whatever is open. */
  exit(code: number): void
}

/** Thrown where a command ends because it was told to. */
export class Interrupted extends Error {
  constructor() {
    super('interrupted')
    this.name = 'Interrupted'
  }
}

/** Exit codes: what a script may rely on. */
export const EXIT = {
  ok: 0,
  failed: 1,
  /** Nothing failed, and something is not as it was agreed on. */
  differences: 2,
  /** `--once` went through, and something could not be applied: rows that nobody can read, dead letters, facts that are held. */
  incomplete: 3,
  usage: 64,
  /** The same command may work later: another process has the directory. */
  temporary: 75,
  /** A topology, a file or a directory is not what it must be. */
  configuration: 78,
  interrupted: 130,
} as const
