/**
 * Topologies as modules: finds the file that a user means, runs it, and finds in it what the commands need. A topology is code, so what can
 * go wrong is what can go wrong in code; each way ends in an error that says where.
 */
import { existsSync, readdirSync, statSync } from 'node:fs'
import { dirname, isAbsolute, join, relative, resolve } from 'node:path'
import { pathToFileURL } from 'node:url'
import { codeOf, messageOf, TidemarkError } from '../base/errors.ts'
import { nearest } from '../base/nearest.ts'
import { isTopology } from '../operators/given.ts'
import type { Topology } from '../operators/stream.ts'
import type { Feed } from '../runtime/feed.ts'

export interface Loaded {
  readonly topology: Topology
  /** The module's `feed`, if it has one. */
  readonly feed: Feed | undefined
  /** The folder of the module: where its plan lock lies. */
  readonly folder: string
  /** How to name it again: the path from the working folder, and `#export` where the module has several topologies. */
  readonly name: string
}

const FILES = ['index.ts', 'index.mts', 'index.js', 'index.mjs']
/** Where topologies lie, by custom. */
const HOME = 'topologies'

/**
 * Loads a topology.
 * @param name a folder with an index file, a file, or the name of a folder in `topologies/`; with `#export` where a module has several
 * @throws TidemarkError INPUT_INVALID, and what the module itself throws: TOPOLOGY_INVALID, CONTRACT_INVALID, NAME_INVALID, ...
 * @example const { topology, feed } = await loadTopology('topologies/retail', process.cwd())
 */
export async function loadTopology(name: string, working: string): Promise<Loaded> {
  const hash = name.lastIndexOf('#')
  const path = hash < 0 ? name : name.slice(0, hash)
  const wanted = hash < 0 ? undefined : name.slice(hash + 1)
  const file = fileOf(path, working)
  const exported = await run(file, path)
  const topologies = Object.entries(exported).filter((entry): entry is [string, Topology] => isTopology(entry[1]))
  const [export_, topology] = choose(topologies, wanted, path)
  const shown = relative(working, resolve(working, path)) || '.'
  const several = new Set(topologies.map(([, each]) => each)).size > 1
  return {
    topology,
    feed: feedOf(exported.feed, path),
    folder: dirname(file),
    name: `${isAbsolute(path) && shown.startsWith('..') ? path : shown}${several ? `#${export_}` : ''}`,
  }
}

function fileOf(path: string, working: string): string {
  const places = path === '' ? [] : [resolve(working, path), resolve(working, HOME, path)]
  for (const place of places) {
    if (!existsSync(place)) continue
    if (!statSync(place).isDirectory()) return place
    const index = FILES.map((file) => join(place, file)).find((file) => existsSync(file))
    if (index !== undefined) return index
    throw new TidemarkError('INPUT_INVALID', `there is no topology in folder "${path}"`, {
      detail: `It has none of ${FILES.join(', ')}.`,
      hint: 'Export the topology from its index.ts, or name the file.',
    })
  }
  const known = topologiesAt(working)
  const named = nearest(
    path.replace(`${HOME}/`, ''),
    known.map((each) => each.slice(HOME.length + 1)),
  )
  const meant = named === undefined ? undefined : `${HOME}/${named}`
  throw new TidemarkError('INPUT_INVALID', `there is no topology "${path}"`, {
    detail: `Neither a file nor a folder of that name is in ${working}.`,
    hint:
      meant !== undefined
        ? `Did you mean ${meant}?`
        : known.length > 0
          ? `There are: ${known.join(', ')}.`
          : 'Name the file or folder of a topology.',
  })
}

function topologiesAt(working: string): string[] {
  const home = join(working, HOME)
  if (!existsSync(home)) return []
  return readdirSync(home, { withFileTypes: true })
    .filter((entry) => entry.isDirectory() && FILES.some((file) => existsSync(join(home, entry.name, file))))
    .map((entry) => `${HOME}/${entry.name}`)
    .sort()
}

async function run(file: string, path: string): Promise<Readonly<Record<string, unknown>>> {
  try {
    return (await import(pathToFileURL(file).href)) as Readonly<Record<string, unknown>>
  } catch (error) {
    // What tidemark itself refused says what is wrong better than this file could.
    if (codeOf(error) !== undefined) throw error
    throw new TidemarkError('INPUT_INVALID', `topology "${path}" could not be loaded`, {
      detail: whereIn(error, file),
      hint: 'It is run as it is: types are stripped, not checked. The compiler often says more: npx tsc --noEmit.',
      cause: error,
    })
  }
}

/** What was thrown, and the first place in the user's own files that the stack names. */
function whereIn(error: unknown, file: string): string {
  const stack = error instanceof Error ? (error.stack ?? '') : ''
  const folder = dirname(file)
  const place = stack
    .split('\n')
    .map((line) => line.trim().replace('file://', ''))
    .find((line) => line.includes(folder))
  const message = error instanceof Error ? `${error.name}: ${error.message}` : messageOf(error)
  return place === undefined || message.includes(folder) ? message : `${message}\n${place}`
}

function choose(topologies: readonly [string, Topology][], wanted: string | undefined, path: string): [string, Topology] {
  const names = topologies.map(([name]) => name)
  if (wanted !== undefined) {
    const found = topologies.find(([name, { name: own }]) => name === wanted || own === wanted)
    if (found !== undefined) return found
    const meant = nearest(wanted, names)
    throw new TidemarkError('INPUT_INVALID', `"${path}" exports no topology "${wanted}"`, {
      hint: meant !== undefined ? `Did you mean ${path}#${meant}?` : `Its topologies are: ${names.join(', ') || 'none'}.`,
    })
  }
  const [first] = topologies
  if (first === undefined) {
    throw new TidemarkError('INPUT_INVALID', `"${path}" exports no topology`, {
      detail: 'No export of it was made by topology(...).',
      hint: `Export it: export const orders = topology('orders', (flow) => [...]).`,
    })
  }
  // One topology under two names, such as a default export, is one.
  if (topologies.every(([, each]) => each === first[1])) return first
  throw new TidemarkError('INPUT_INVALID', `"${path}" exports several topologies`, {
    detail: `They are ${names.join(', ')}.`,
    hint: `Say which: ${path}#${names[0]}.`,
  })
}

function feedOf(value: unknown, path: string): Feed | undefined {
  if (value === undefined) return undefined
  const { open, options, prepare } = (value ?? {}) as Partial<Feed>
  const prepares = prepare === undefined || typeof prepare === 'function'
  if (typeof open === 'function' && typeof options === 'object' && options !== null && prepares) return value as Feed
  throw new TidemarkError('INPUT_INVALID', `"${path}" exports a feed that is none`, {
    detail: 'It needs "options", an object, and "open", a function; "prepare", if it has one, is a function.',
    hint: 'Declare it with its type: export const feed: Feed = { options: {}, open: async (access, settings) => ... }.',
  })
}
