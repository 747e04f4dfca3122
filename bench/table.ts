/** One line of a bench, and how a table of them is printed. */
export interface Row {
  readonly name: string
  readonly recordsPerSecond: number
  /** How many times as fast as `against`, in the same run. */
  readonly ratio?: number
  readonly against?: string
  /** CPU of all threads, microseconds a record. */
  readonly cpuMicrosPerRecord?: number
  readonly note?: string
}

const number = new Intl.NumberFormat('en-US')

export function printTable(title: string, rows: readonly Row[]): void {
  console.log(`\n${title}`)
  const cells = rows.map(({ name, recordsPerSecond, ratio, against, cpuMicrosPerRecord, note }) => [
    name,
    `${number.format(recordsPerSecond)}/s`,
    ratio === undefined ? '' : `${ratio.toFixed(1)}x ${against ?? ''}`.trim(),
    cpuMicrosPerRecord === undefined ? '' : `${cpuMicrosPerRecord.toFixed(2)} us CPU`,
    note ?? '',
  ])
  const widths = [0, 1, 2, 3].map((column) => Math.max(...cells.map((row) => (row[column] as string).length)))
  for (const row of cells)
    console.log(
      `  ${row
        .map((cell, column) => (column === 1 ? cell.padStart(widths[1] as number) : cell.padEnd(widths[column] ?? 0)))
        .join('  ')
        .trimEnd()}`,
    )
}
