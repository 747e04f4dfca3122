/**
 * The composition root: wires a topology to drivers. Drivers are loaded when they are used, so a program on Kafka never loads the embedded log,
 * and a program that only makes topologies loads none.
 */

import { existsSync, statSync } from 'node:fs'
import { dirname, join, resolve } from 'node:path'
import { TidemarkError } from './base/errors.ts'
import { isRecord, needText, oneOf, refuse, refuseUnknown, wholeNumber, yesOrNo } from './base/options.ts'
import { quoted } from './base/shell-word.ts'
import { type Duration, durationMs } from './base/time.ts'
import { checkTopology } from './operators/given.ts'
import type { Topology, ViewOf } from './operators/stream.ts'
import type { PlanLock } from './plan/lock.ts'
import { checkedLock } from './plan/lock-text.ts'
import type { LogDriver } from './ports/log.ts'
import type { SchemaStore } from './ports/serde.ts'
import type { StateDriver } from './ports/store.ts'
import type { Telemetry } from './ports/telemetry.ts'
import { App } from './runtime/app.ts'
import type { Access } from './runtime/publisher.ts'
import type { View } from './runtime/view.ts'
import type { RuntimeOptions, World } from './runtime/world.ts'

export interface StartOptions {
  /** Folder of the embedded log, of state and of schemas that are made at run time. Default `.tidemark`; refused where all three are given. */
  readonly dir?: string
  /** Where facts travel. Default: the embedded log in `dir`. */
  readonly log?: LogDriver
  /** Where rows lie. Default: LevelDB in `dir`. */
  readonly state?: StateDriver
  /** Where schemas and their ids come from. Default: `schemas/catalogue.json` where it exists, and a catalogue in `dir` for what is new. */
  readonly schemas?: SchemaStore
  /** Default `exactly-once`. */
  readonly guarantee?: 'exactly-once' | 'at-least-once'
  /** This worker's name among its application's; it survives restarts. Default `0`. A dynamic member has none. */
  readonly instance?: string
  /**
   * What this worker is to its group. A `static` member is known by its `instance`: when it stops or dies its tasks wait for it as long as a
   * session lasts, and when it comes back within that time nobody else notices. A `dynamic` member has no name: its tasks go to others at once when it
   * stops, after its session when it dies, and they move again when another comes. Default `static`.
   */
  readonly membership?: 'static' | 'dynamic'
  /**
   * How long the group waits for a worker that is silent, or was stopped and is expected back. Default `10s`. Kafka's brokers allow from 6 s to
   * 30 minutes unless told otherwise.
   */
  readonly session?: Duration
  /** Longest time between two commits while there is work. An idle worker commits at once. Default `200ms`. */
  readonly commitInterval?: Duration
  /** A commit is begun when about so many bytes wait for it. Default 32 MiB. */
  readonly commitBytes?: number
  /**
   * The most keys that each task keeps in memory between commits, with their rows. It begins with 3072 and takes more while keys come back that it
   * has just let go; all tasks of a process take 131072 in all beyond what each begins with. Default 32768.
   */
  readonly cacheKeys?: number
  /** What the embedded log in `dir` forces to disk: every commit, once a second, or nothing. Default `interval`; refused beside `log`. */
  readonly fsync?: 'commit' | 'interval' | 'never'
  /** Refuse rows that a fold changed in place. Default false. */
  readonly freezeRows?: boolean
  /** Hears counters and events. Default: warnings and errors on stderr, and the first dead letter of each step and reason. `silent` hears nothing. */
  readonly telemetry?: Telemetry
  /**
   * The committed plan lock, as JSON.parse gives it: what it says of renamed steps (`was`) and of state that may go (`givenUp`) is carried out at a
   * start. Default: none, and then a step with state can be neither renamed nor removed.
   * @example lock: JSON.parse(readFileSync('topologies/shop.plan.json', 'utf8'))
   */
  readonly lock?: PlanLock
}

const DEFAULT_DIR = '.tidemark'
const OPTIONS: readonly (keyof StartOptions)[] = [
  'dir',
  'log',
  'state',
  'schemas',
  'guarantee',
  'instance',
  'membership',
  'session',
  'commitInterval',
  'commitBytes',
  'cacheKeys',
  'fsync',
  'freezeRows',
  'telemetry',
  'lock',
]

type Views<P extends readonly unknown[]> = ViewOf<P[number]>
type Named<P extends readonly unknown[], N> = Extract<Views<P>, { readonly name: N }>

/** A running application, with the views of its topology as types. */
export interface Running<P extends readonly unknown[]> {
  /** @throws TidemarkError VIEW_UNKNOWN */
  view<const N extends Views<P>['name']>(name: N): View<Named<P, N>['key'], Named<P, N>['row'], Named<P, N>['decision']>
  /** What a `publisher` needs. */
  readonly access: Access
  /** The application as the tools see it. */
  readonly app: App
  /** Whether everything in the logs has been processed and committed, and can be read. */
  caughtUp(): Promise<boolean>
  /** Resolves when that is so. @throws TidemarkError what stopped a task or the application */
  settled(): Promise<void>
  /** Resolves when it has ended. @throws TidemarkError what ended it, when that was not `close` */
  ended(): Promise<void>
  /**
   * Commits what is finished and closes everything it opened. A static member is expected back: with `leave` it is not, and others take over its
   * tasks at once instead of after its session.
   */
  close(options?: { readonly leave?: boolean }): Promise<void>
}

/**
 * Starts a topology.
 * @throws TidemarkError PLAN_REFUSED, PLAN_CHANGED, PLAN_LOCK_INVALID, LOG_LOCKED, TOPIC_MISMATCH, SCHEMA_*, OPTION_INVALID, such as for a `dir` that is a file
 * @example
 * const app = await start(retail)
 * const { value, freshness } = await app.view('allocatable-stock').get({ sku: '85123A', region: 'EU' })
 */
export async function start<P extends readonly unknown[]>(topology: Topology<P>, options: StartOptions = {}): Promise<Running<P>> {
  checkTopology(topology, 'what start() is given')
  checkOptions(options)
  const lock = options.lock === undefined ? undefined : checkedLock(options.lock, 'the lock given to start()')
  const settings = settingsOf(options)
  const { world, close } = await openWorld(options)
  try {
    const app = await App.start(topology.graph, world, { ...settings, lock })
    await app.running()
    return {
      app,
      access: world,
      view: (name) => app.view(name),
      caughtUp: () => app.caughtUp(),
      settled: async () => {
        while (!(app.ready && (await app.caughtUp()))) {
          if (app.failure !== undefined) throw app.failure
          await world.clock.sleep(10)
        }
      },
      ended: () => app.ended(),
      close: async (how) => {
        try {
          await app.close(how)
        } finally {
          await close()
        }
      },
    }
  } catch (error) {
    await close()
    throw error
  }
}

/** What drivers and a telemetry can do, by which they are known. */
const ABLE: readonly (readonly [option: 'log' | 'state' | 'schemas' | 'telemetry', can: readonly string[], meant: string, such: string])[] =
  [
    ['log', ['open'], 'a log driver', "Such as log: kafka({ brokers: ['127.0.0.1:9092'] })."],
    ['state', ['open', 'list'], 'a state driver', 'Such as state: levelState({ folder }).'],
    ['schemas', ['byId', 'idOf', 'find'], 'a store of schemas', 'Such as schemas: schemaCatalogue({ file, writable: false }).'],
    ['telemetry', ['count', 'event'], 'a telemetry', 'Give { count, event }, or silent, which hears nothing.'],
  ]

/** @throws TidemarkError OPTION_INVALID for options that say nothing, or something of another kind */
function checkOptions(options: StartOptions): void {
  refuseUnknown(options, OPTIONS, 'start()')
  const { dir, guarantee, instance, membership, fsync, freezeRows } = options
  if (dir !== undefined) needText(dir, 'dir of start()', 'Name a folder: dir: ".tidemark".')
  if (instance !== undefined) {
    needText(instance, 'instance of start()', 'Name the worker: instance: "1".')
    checkedInstance(instance)
  }
  if (guarantee !== undefined) oneOf(guarantee, ['exactly-once', 'at-least-once'], 'guarantee of start()')
  if (membership !== undefined) oneOf(membership, ['static', 'dynamic'], 'membership of start()')
  if (fsync !== undefined) oneOf(fsync, FSYNC, 'fsync of start()')
  for (const option of ['commitBytes', 'cacheKeys'] as const)
    if (options[option] !== undefined) wholeNumber(options[option], 1, `${option} of start()`)
  if (freezeRows !== undefined) yesOrNo(freezeRows, 'freezeRows of start()')
  for (const [option, can, meant, such] of ABLE) {
    const given: unknown = options[option]
    const able = isRecord(given) && can.every((each) => typeof given[each] === 'function')
    if (given !== undefined && !able) refuse(given, `${option} of start()`, meant, such)
  }
  refuseIdle(options)
}

/** The runtime's options, for those that were given. @throws TidemarkError OPTION_INVALID */
export function settingsOf(options: StartOptions): Partial<RuntimeOptions> {
  const { guarantee, instance, membership, session, commitInterval, commitBytes, cacheKeys, freezeRows } = options
  if (membership === 'dynamic' && instance !== undefined) {
    throw new TidemarkError('OPTION_INVALID', 'a dynamic member has no name', {
      detail: `The instance is "${instance}".`,
      hint: 'Leave out "instance", or be a static member.',
    })
  }
  return {
    ...(guarantee === undefined ? {} : { guarantee }),
    ...(instance === undefined ? {} : { instance }),
    ...(membership === undefined ? {} : { membership }),
    ...(session === undefined ? {} : { sessionMs: durationMs(session, 'session') }),
    ...(commitInterval === undefined ? {} : { commitIntervalMs: durationMs(commitInterval, 'commitInterval') }),
    ...(commitBytes === undefined ? {} : { commitBytes }),
    ...(cacheKeys === undefined ? {} : { cacheKeys }),
    ...(freezeRows === undefined ? {} : { freezeRows }),
  }
}

/** It is a part of the name of a writer and of a member of the group. @throws TidemarkError OPTION_INVALID */
export function checkedInstance(instance: string): string {
  if (/^[a-zA-Z0-9._-]{1,100}$/.test(instance)) return instance
  throw new TidemarkError('OPTION_INVALID', `"${instance}" is no name for a worker`, {
    hint: 'Use 1 to 100 letters, digits, dots, dashes and underscores.',
  })
}

/** Opens the drivers of some options, for a runtime or for a tool that works beside none. @throws TidemarkError OPTION_INVALID, LOG_*, BROKER_* */
export async function openWorld(options: StartOptions): Promise<{ readonly world: World; readonly close: () => Promise<void> }> {
  checkOptions(options)
  const dir = options.dir ?? DEFAULT_DIR
  requireFolder(dir)
  const [{ nodeClock: clock, nodeRandom: random }, { nativeCodecs: codecs }, { avroSerdes }] = await Promise.all([
    import('./drivers/node/index.ts'),
    import('./drivers/codecs/index.ts'),
    import('./drivers/avro/index.ts'),
  ])
  const driver = options.log ?? embedded({ dir: join(dir, 'log'), ...(options.fsync === undefined ? {} : { fsync: options.fsync }) })
  const telemetry = options.telemetry ?? spoken(options)
  const opened = await driver.open({ clock, random, codecs, tell: (error) => telemetry.event({ kind: 'warning', error }) })
  try {
    const state = options.state ?? (await import('./drivers/level/index.ts')).levelState({ folder: join(dir, 'state') })
    const schemas = options.schemas ?? (await defaultSchemas(dir))
    const serdes = avroSerdes(schemas, { now: () => clock.mono() })
    const world: World = {
      log: opened.log,
      state,
      serdes,
      codecs,
      clock,
      random,
      telemetry,
      failpoint: { hit: () => undefined },
    }
    return { world, close: () => opened.close() }
  } catch (error) {
    await opened.close()
    throw error
  }
}

/** An option that would do nothing beside another would only seem to be set. @throws TidemarkError OPTION_INVALID */
function refuseIdle({ dir, log, state, schemas, fsync }: StartOptions): void {
  if (fsync !== undefined && log !== undefined) {
    throw new TidemarkError('OPTION_INVALID', 'fsync does nothing beside a log of your own', {
      detail: `It says what the embedded log in "dir" forces to disk, and the log that was given is "${log.name}".`,
      hint: 'Leave it out; what that log forces to disk is said where it is made, as in embedded({ dir, fsync }).',
    })
  }
  if (dir !== undefined && log !== undefined && state !== undefined && schemas !== undefined) {
    throw new TidemarkError('OPTION_INVALID', 'dir does nothing beside a log, a state and schemas of your own', {
      detail: `The folder "${dir}" would hold whichever of the three is not given.`,
      hint: 'Leave it out, or leave out what shall lie there.',
    })
  }
}

/** Looks whether there can be a folder, and makes none. @throws TidemarkError OPTION_INVALID where a file stands in its way */
export function requireFolder(dir: string): void {
  if (dir === '') throw new TidemarkError('OPTION_INVALID', 'the folder has no name', { hint: 'For the working folder itself, say ".".' })
  let there = resolve(dir)
  while (!existsSync(there)) there = dirname(there)
  if (statSync(there).isDirectory()) return
  throw new TidemarkError('OPTION_INVALID', `"${dir}" cannot be a folder: a file is in the way`, {
    detail: `${there} is a file.`,
    hint: 'Log and state need a folder of their own. Name another, or move the file away.',
  })
}

/** What must not pass in silence where nobody listens: on stderr, a line each. */
function spoken({ dir = DEFAULT_DIR, log }: StartOptions): Telemetry {
  const told = new Set<string>()
  const place = log === undefined ? `--dir ${quoted(dir)}` : (log.words ?? '--dir <its folder>')
  // A folder has one owner, brokers serve many.
  const when = log?.words === undefined ? 'when this program has ended' : 'also while it runs'
  return {
    count: (counter, { step, value }) => {
      if (counter !== 'dead' && counter !== 'parked') return
      const sentence =
        counter === 'dead'
          ? `step "${step}" dead-lettered a record (${value}); "tidemark dead list ${place} --topology <its module>" shows it and says why, ${when}`
          : `step "${step}" parked a key`
      if (told.has(sentence)) return
      told.add(sentence)
      console.error(`tidemark: ${sentence}. More of the same are not told.`)
    },
    event: (event) => {
      if ('error' in event && event.error !== undefined) console.error(`tidemark: ${event.kind}: ${event.error.explain()}`)
    },
  }
}

const FSYNC = ['commit', 'interval', 'never']

/** The log inside this process: durable, no broker, one process a folder. @throws TidemarkError OPTION_INVALID */
export function embedded(options: { readonly dir: string; readonly fsync?: 'commit' | 'interval' | 'never' }): LogDriver {
  refuseUnknown(options, ['dir', 'fsync'], 'embedded()')
  needText(options.dir, 'dir of embedded()', 'Name the folder of the log: embedded({ dir: ".tidemark/log" }).')
  if (options.fsync !== undefined) oneOf(options.fsync, FSYNC, 'fsync of embedded()')
  return {
    name: 'embedded',
    open: async ({ clock, random, codecs }) => {
      const [{ openEmbeddedLog }, { nodeFs: fs }] = await Promise.all([
        import('./drivers/embedded/index.ts'),
        import('./drivers/node/index.ts'),
      ])
      const broker = await openEmbeddedLog({
        folder: options.dir,
        fs,
        clock,
        random,
        codecs,
        ...(options.fsync === undefined ? {} : { fsync: options.fsync }),
      })
      return { log: broker.client(), close: () => broker.close() }
    },
  }
}

/** Ids of a folder's own catalogue begin here, so that they never meet those of a committed one. */
const OWN_IDS_FROM = 1_000_000

async function defaultSchemas(dir: string): Promise<SchemaStore> {
  const { schemaCatalogue, layeredSchemas } = await import('./drivers/schemas/index.ts')
  const own = schemaCatalogue({ file: join(dir, 'schemas.json'), writable: true, firstId: OWN_IDS_FROM, guarded: true })
  const committed = join('schemas', 'catalogue.json')
  return existsSync(committed) ? layeredSchemas([schemaCatalogue({ file: committed, writable: false }), own]) : own
}
