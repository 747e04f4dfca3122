/**
 * Those who ask whether a member still is one. An answer of the group counts only for who asked before its question was sent: what was true
 * before a process slept says nothing about now.
 */

interface Asker {
  readonly resolve: (isMember: boolean) => void
  readonly reject: (reason: unknown) => void
}

export class Confirmations {
  readonly #waiting = new Set<Asker>()
  #end: { readonly reason: Error } | undefined

  /** Waits for an answer. @throws the reason of the signal, or that of the end */
  ask(signal: AbortSignal): Promise<boolean> {
    if (signal.aborted) return Promise.reject(signal.reason as Error)
    if (this.#end !== undefined) return Promise.reject(this.#end.reason)
    return new Promise((resolve, reject) => {
      const aborted = (): void => {
        this.#waiting.delete(asker)
        reject(signal.reason as Error)
      }
      const settle = <Value>(deed: (value: Value) => void) => {
        return (value: Value): void => {
          signal.removeEventListener('abort', aborted)
          this.#waiting.delete(asker)
          deed(value)
        }
      }
      const asker: Asker = { resolve: settle(resolve), reject: settle(reject) }
      this.#waiting.add(asker)
      signal.addEventListener('abort', aborted, { once: true })
    })
  }

  /** To be called before a question is sent; what it returns, when the group has answered that the member is one. */
  asking(): () => void {
    const asked = [...this.#waiting]
    return () => {
      for (const { resolve } of asked) resolve(true)
    }
  }

  /** The member is none any more, whenever somebody asked. */
  refuse(): void {
    for (const { resolve } of this.#waiting) resolve(false)
  }

  /** It never will be one again. */
  end(reason: Error): void {
    this.#end ??= { reason }
    for (const { reject } of this.#waiting) reject(this.#end.reason)
  }
}
