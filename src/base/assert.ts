/** Two checks for what cannot happen. Both throw, because going on would write wrong bytes. */

/**
 * States what must hold. A failure is a defect of tidemark, never of its input: input is answered with a `TidemarkError`.
 * @throws Error when `holds` is false
 * @example invariant(next >= base, `position ${next} is before ${base}`)
 */
export function invariant(holds: boolean, message: string): asserts holds {
  if (!holds) throw new Error(`tidemark is broken: ${message}`)
}

/**
 * Closes a switch over a union, so that a new member fails to compile.
 * @throws Error when it is reached after all
 * @example default: return unreachable(node)
 */
export function unreachable(value: never): never {
  throw new Error(`tidemark is broken: unexpected ${JSON.stringify(value)}`)
}
