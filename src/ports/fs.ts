/** The disk, as the embedded log uses it. Paths are absolute or relative to the working folder, with `/`. */

export interface Fs {
  /** Makes a folder and those above it; an existing one is left alone. */
  makeFolder(path: string): Promise<void>
  /** Names in a folder, sorted; an absent folder has none. */
  list(path: string): Promise<string[]>
  /** Opens a file for reading and writing, and makes it first when `create` says so. */
  open(path: string, options?: { create?: boolean }): Promise<File>
  /** Replaces `to` in one step. */
  rename(from: string, to: string): Promise<void>
  /** Removes a file or a whole folder; an absent one is fine. */
  remove(path: string): Promise<void>
  /** Makes renames and new files of a folder survive a power cut. */
  syncFolder(path: string): Promise<void>
  /**
   * Takes a folder for this process alone. Ends with the process, however it ends.
   * @throws TidemarkError LOG_LOCKED when another process, or another part of this one, has it
   */
  lock(path: string): Promise<Lock>
}

export interface Lock {
  release(): Promise<void>
}

export interface File {
  /** Bytes in the file when it was opened, plus what was written through this handle. */
  readonly size: number
  /** Reads up to `length` bytes at `position` into `into` at `at`; resolves with the count, 0 at the end. */
  read(into: Uint8Array, at: number, length: number, position: number): Promise<number>
  /** Writes all pieces one after the other at `position`. After a failure the content from `position` on is undefined. */
  write(pieces: readonly Uint8Array[], position: number): Promise<void>
  /** Makes what was written survive a power cut. */
  sync(): Promise<void>
  truncate(size: number): Promise<void>
  close(): Promise<void>
}
