// Which Node tidemark needs and where set-up puts one. Built-ins only: this runs before anything is installed.
import { readFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'

export const ROOT = join(dirname(fileURLToPath(import.meta.url)), '..')
/** The Node that set-up fetches, the one that development and all published figures use. */
export const NODE_FETCHED = readFileSync(join(ROOT, '.nvmrc'), 'utf8').trim()

/** 22.18 is the first Node that runs TypeScript files without a flag; the published package needs only 22.15. */
export function nodeIsNewEnough(version) {
  const [major, minor] = version.split('.').map(Number)
  return major > 22 || (major === 22 && minor >= 18)
}

export function fetchedNode() {
  const windows = process.platform === 'win32'
  const packageName = `node-${windows ? 'win' : process.platform}-${process.arch}`
  return join(ROOT, '.node', 'node_modules', packageName, 'bin', windows ? 'node.exe' : 'node')
}
