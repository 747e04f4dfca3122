/**
 * Letters for one reader, in the order in which they were put: whoever waits gets the next one at once. It ends with a reason, which a reader
 * hears after the letters that were put before.
 */
export class Mailbox<Letter> {
  readonly #what: string
  readonly #onTaken: (letter: Letter) => void
  #letters: Letter[] = []
  #waiter: { readonly resolve: (letter: Letter) => void; readonly reject: (reason: unknown) => void } | undefined
  #end: { readonly reason: Error } | undefined

  /**
   * @param what whose letters these are, for whoever reads twice at a time: "a membership"
   * @param onTaken called with each letter in the moment in which it is given to its reader, before anything else can happen
   */
  constructor(what: string, onTaken: (letter: Letter) => void = () => {}) {
    this.#what = what
    this.#onTaken = onTaken
  }

  /** Adds a letter. Once it has ended nothing is added any more. */
  put(letter: Letter): void {
    if (this.#end !== undefined) return
    if (this.#waiter === undefined) this.#letters.push(letter)
    else this.#waiter.resolve(this.#taken(letter))
  }

  /** Throws away what has not been read. */
  clear(): void {
    this.#letters = []
  }

  /** Nothing more comes. The first reason counts. */
  end(reason: Error): void {
    this.#end ??= { reason }
    this.#waiter?.reject(this.#end.reason)
  }

  /**
   * The next letter; waits for it. One waiter at a time.
   * @throws the reason of the signal, or that of the end
   * @throws TypeError for a second waiter
   */
  next(signal: AbortSignal): Promise<Letter> {
    if (this.#waiter !== undefined) return Promise.reject(new TypeError(`${this.#what} has one waiter at a time`))
    if (signal.aborted) return Promise.reject(signal.reason as Error)
    if (this.#letters.length > 0) return Promise.resolve(this.#taken(this.#letters.shift() as Letter))
    if (this.#end !== undefined) return Promise.reject(this.#end.reason)
    return new Promise((resolve, reject) => {
      const aborted = (): void => {
        this.#waiter = undefined
        reject(signal.reason as Error)
      }
      signal.addEventListener('abort', aborted, { once: true })
      const settle = <Value>(deed: (value: Value) => void) => {
        return (value: Value): void => {
          signal.removeEventListener('abort', aborted)
          this.#waiter = undefined
          deed(value)
        }
      }
      this.#waiter = { resolve: settle(resolve), reject: settle(reject) }
    })
  }

  #taken(letter: Letter): Letter {
    this.#onTaken(letter)
    return letter
  }
}
