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

/**
 * How tidemark's own commands run Node, to hold less memory; NODE_OPTIONS and the environment do most of it for programs that use the library
 * (the flag of the collector is none of those that NODE_OPTIONS takes: it goes on the command line).
 * Young objects live for one commit, so a larger nursery than 16 MB only makes the process larger (measured: 50 MB more, CPU the same). One
 * thread collects the nursery for 5 % less CPU than several, which wait for each other. Two malloc arenas instead of one a thread and core save
 * 50 MB where LevelDB and buffers of changing sizes share them.
 */
export const NODE_FLAGS = ['--disable-warning=ExperimentalWarning', '--max-semi-space-size=16', '--no-parallel-scavenge']
export const NODE_ENVIRONMENT = { MALLOC_ARENA_MAX: '2' }
