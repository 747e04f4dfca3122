/** Suggestions: the known word that a mistyped one most likely meant. */

/**
 * The candidate with the fewest edits, if they are few for its length.
 * The distance is that of Damerau with adjacent swaps (optimal string alignment: L. Boytsov, "Indexing methods for approximate dictionary
 * searching", 2011).
 * @example nearest('alocatable-stock', ['allocatable-stock', 'sales-by-day']) // 'allocatable-stock'
 */
export function nearest(word: string, candidates: readonly string[]): string | undefined {
  let best: string | undefined
  let least = Number.POSITIVE_INFINITY
  for (const candidate of candidates) {
    const distance = edits(word, candidate)
    if (distance >= least || distance > Math.max(1, Math.floor(Math.max(word.length, candidate.length) * 0.4))) continue
    best = candidate
    least = distance
  }
  return best
}

function edits(a: string, b: string): number {
  const rows: number[][] = [Array.from({ length: b.length + 1 }, (_, j) => j)]
  for (let i = 1; i <= a.length; i++) {
    const above = rows[i - 1] as number[]
    const row = [i]
    for (let j = 1; j <= b.length; j++) {
      const same = a[i - 1] === b[j - 1]
      let least = Math.min((above[j] as number) + 1, (row[j - 1] as number) + 1, (above[j - 1] as number) + (same ? 0 : 1))
      if (i > 1 && j > 1 && a[i - 1] === b[j - 2] && a[i - 2] === b[j - 1])
        least = Math.min(least, ((rows[i - 2] as number[])[j - 2] as number) + 1)
      row.push(least)
    }
    rows.push(row)
  }
  return (rows[a.length] as number[])[b.length] as number
}
