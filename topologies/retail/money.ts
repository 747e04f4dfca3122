/** Money, exactly: prices are decimal texts, amounts are whole cents. */

/**
 * Quantity times price in cents. Halves go away from zero, as HALF_UP of decimal libraries does it, so that taking a line back takes back
 * what it brought.
 * @throws RangeError when the price is no decimal, or the amount is beyond what a number holds exactly
 * @example centsOf(3, '0.125') // 37.5 becomes 38
 */
export function centsOf(quantity: number, unitPrice: string): number {
  const [, sign, whole, fraction = ''] = /^(-?)(\d+)(?:\.(\d+))?$/.exec(unitPrice) ?? []
  if (whole === undefined) throw new RangeError(`"${unitPrice}" is not a price`)
  const scale = 10n ** BigInt(fraction.length)
  const exact = BigInt(quantity) * BigInt(`${sign}${whole}${fraction}`) * 100n
  const size = exact < 0n ? -exact : exact
  const cents = Number((2n * size + scale) / (2n * scale))
  if (!Number.isSafeInteger(cents)) throw new RangeError(`${quantity} at ${unitPrice} is more than can be counted in cents`)
  return exact < 0n ? -cents : cents
}
