/** How the shuffled invoices were made of the shipped ones: by line numbers in the order of their hashes. Run as a program, it makes them again. */
import { createHash } from 'node:crypto'
import { readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { gunzipSync, gzipSync } from 'node:zlib'

const DATA = join(import.meta.dirname, '../../topologies/retail/data')
export const SHIPPED: string = join(DATA, 'online-retail-2010-12.csv.gz')
export const SHUFFLED: string = join(DATA, 'online-retail-2010-12-shuffled.csv.gz')
const SEED = 20101201

export function unpacked(file: string): string {
  return gunzipSync(readFileSync(file)).toString()
}

/** The same header and the same rows, in another order. */
export function shuffled(csv: string): string {
  const [header, ...rows] = csv.trimEnd().split('\n')
  const hashed = rows.map((row, i) => ({ row, hash: createHash('sha256').update(`${SEED}/${i}`).digest('hex') }))
  return `${[header, ...hashed.sort((a, b) => (a.hash < b.hash ? -1 : 1)).map(({ row }) => row)].join('\n')}\n`
}

if (import.meta.main) writeFileSync(SHUFFLED, gzipSync(shuffled(unpacked(SHIPPED)), { level: 9 }))
