/**
 * The folder that a topology runs in, and what the command line keeps there beside log and state:
 *   tidemark.json   which topology runs here, so that other commands need not be told
 *   folds.json      a hash of the source text of every fold, so that `dev` notices a fold that changed its meaning and not its revision
 */
import { createHash } from 'node:crypto'
import { existsSync, readdirSync, readFileSync, statSync } from 'node:fs'
import { rename, writeFile } from 'node:fs/promises'
import { dirname, join, resolve } from 'node:path'
import { messageOf, TidemarkError } from '../base/errors.ts'
import { nodeFs } from '../drivers/node/index.ts'
import type { Graph } from '../topology/node.ts'
import { storeOf } from '../topology/node.ts'
import { type Loaded, loadTopology } from './load.ts'
import { WORKERS } from './worker-folder.ts'

/** Where topologies run unless they are told otherwise. */
const HOME = '.tidemark'
const RECORD = 'tidemark.json'
const FOLDS = 'folds.json'

/** The folder that `dev` uses for a topology when none is named. */
export function defaultFolder(topology: string): string {
  return join(HOME, topology)
}

/** What `dev` leaves for other commands. */
export interface Recorded {
  /** Path of the topology's module, from the working folder that `dev` was started in. */
  readonly topology: string
  /** Where the views were served last. */
  readonly url?: string
}

export async function record(folder: string, recorded: Recorded): Promise<void> {
  await replace(join(folder, RECORD), recorded)
}

/** What `dev` left, or undefined where it left nothing. @throws TidemarkError INPUT_INVALID when that cannot be read */
export function recordedIn(folder: string): Recorded | undefined {
  const known = read(join(folder, RECORD)) as Partial<Recorded> | undefined
  if (known === undefined) return undefined
  if (typeof known.topology === 'string') return known as Recorded
  throw new TidemarkError('INPUT_INVALID', `${join(folder, RECORD)} names no topology`, { hint: 'Name it: --topology topologies/retail.' })
}

/** Which folder and topology a command means that works on what `dev` made. */
export interface Wanted {
  /** The folder, if it was named. */
  readonly dir?: string | undefined
  /** The topology's module, if it was named. */
  readonly topology?: string | undefined
}

export interface Place {
  readonly dir: string
  readonly loaded: Loaded
  readonly url: string | undefined
}

/**
 * Finds the folder and loads the topology. Without a folder it is the topology's own; without both, the only one that there is.
 * @throws TidemarkError INPUT_INVALID, and what the topology's module throws
 */
export async function findPlace(wanted: Wanted, working: string): Promise<Place> {
  const named = wanted.topology === undefined ? undefined : await loadTopology(wanted.topology, working)
  const dir = wanted.dir ?? (named === undefined ? onlyFolder(working) : defaultFolder(named.topology.name))
  const path = resolve(working, dir)
  if (!existsSync(join(path, 'log'))) {
    const known = foldersAt(working)
    throw new TidemarkError('INPUT_INVALID', `nothing has run in folder "${dir}"`, {
      detail: !existsSync(path) ? 'It does not exist.' : statSync(path).isDirectory() ? 'It has no log.' : `${path} is a file.`,
      hint:
        known.length > 0
          ? `Name another with --dir; there are ${known.join(', ')}.`
          : 'Run "tidemark dev" first, or name its folder with --dir.',
    })
  }
  const recorded = recordedIn(path)
  const loaded = named ?? (await loadRecorded(recorded, dir, working))
  return { dir: path, loaded, url: recorded?.url }
}

/**
 * The topology of an application on Kafka: the one that is named, else the one that ran in the folder that is named, else the only one whose
 * workers have folders here.
 * @throws TidemarkError OPTION_INVALID, INPUT_INVALID, and what the topology's module throws
 */
export async function loadedOnKafka({ dir, topology }: Wanted, working: string): Promise<Loaded> {
  if (topology !== undefined) return await loadTopology(topology, working)
  if (dir !== undefined) return await loadRecorded(recordedIn(resolve(working, dir)), dir, working)
  const workers = join(working, WORKERS)
  const folders = below(workers).flatMap((name) => below(join(workers, name)).map((instance) => join(workers, name, instance)))
  const [first, ...others] = [...new Set(folders.flatMap((folder) => recordedIn(folder)?.topology ?? []))]
  if (first !== undefined && others.length === 0) return await loadTopology(first, working)
  throw new TidemarkError('OPTION_INVALID', 'the topology is not named', {
    detail: first === undefined ? `No worker has run here: there is nothing in ${WORKERS}.` : `There are ${[first, ...others].join(', ')}.`,
    hint: 'Name it: --topology topologies/retail.',
  })
}

async function loadRecorded(recorded: Recorded | undefined, dir: string, working: string): Promise<Loaded> {
  if (recorded === undefined) {
    throw new TidemarkError('INPUT_INVALID', `folder "${dir}" does not tell which topology runs in it`, {
      detail: `"tidemark dev" and "tidemark run" write that to ${RECORD}, which is not there.`,
      hint: 'Name it: --topology topologies/retail.',
    })
  }
  return await loadTopology(recorded.topology, working)
}

function onlyFolder(working: string): string {
  const [first, ...others] = foldersAt(working)
  if (first !== undefined && others.length === 0) return first
  throw new TidemarkError('OPTION_INVALID', first === undefined ? 'no topology has run here yet' : 'several topologies have run here', {
    detail: first === undefined ? `There is nothing in ${HOME}.` : `There are ${[first, ...others].join(', ')}.`,
    hint: first === undefined ? 'Run "tidemark dev" first, or name its folder with --dir.' : `Say which: --dir ${first}.`,
  })
}

function foldersAt(working: string): string[] {
  const home = join(working, HOME)
  return below(home)
    .filter((name) => existsSync(join(home, name, RECORD)))
    .map((name) => join(HOME, name))
}

/** Names of the folders in a folder; none where it does not exist. */
function below(folder: string): string[] {
  if (!existsSync(folder)) return []
  return readdirSync(folder, { withFileTypes: true })
    .filter((entry) => entry.isDirectory())
    .map(({ name }) => name)
    .sort()
}

interface Fold {
  readonly revision: number
  readonly sha256: string
}

/**
 * Folds whose source text differs from the one that their rows were made by, as sentences. What is new is noted; what changed is noted once
 * its revision is raised, so the warning comes back until somebody has decided.
 *
 * It sees the text of the fold alone: a change in a function that it calls is not noticed, and one that changes nothing is.
 */
export async function changedFolds(folder: string, graph: Graph): Promise<string[]> {
  const file = join(folder, FOLDS)
  const known = (read(file) ?? {}) as Readonly<Record<string, Partial<Fold>>>
  const next: Record<string, Fold> = {}
  const warnings: string[] = []
  for (const node of graph.nodes) {
    const store = storeOf(node)
    if (store?.code === undefined) continue
    const now: Fold = { revision: store.revision, sha256: hashOf(store.code) }
    const before = known[store.name]
    const changed = before?.revision === now.revision && before.sha256 !== now.sha256
    next[store.name] = changed ? (before as Fold) : now
    if (changed) {
      warnings.push(
        `the code of "${store.name}" changed and its revision did not: rows made before keep their old meaning. ` +
          `Raise it (revision: ${now.revision + 1}) and run "tidemark replay ${store.name}"; if it means the same, remove ${file}`,
      )
    }
  }
  if (JSON.stringify(next) !== JSON.stringify(known)) await replace(file, next)
  return warnings
}

/** Spaces are not meaning, and types that were stripped leave some behind. */
function hashOf(code: string): string {
  return createHash('sha256').update(code.replaceAll(/\s+/g, ' ')).digest('hex')
}

function read(file: string): unknown {
  if (!existsSync(file)) return undefined
  try {
    return JSON.parse(readFileSync(file, 'utf8')) as unknown
  } catch (cause) {
    throw new TidemarkError('INPUT_INVALID', `${file} cannot be read`, {
      detail: messageOf(cause),
      hint: 'Remove it: "tidemark dev" makes it again.',
      cause,
    })
  }
}

async function replace(file: string, content: unknown): Promise<void> {
  await nodeFs.makeFolder(dirname(file))
  await writeFile(`${file}.new`, `${JSON.stringify(content, null, 2)}\n`)
  await rename(`${file}.new`, file)
}
