/**
 * Work beside an application on Kafka, whose workers may run or not. Its state is restored from its changelogs into a folder of its own, task
 * by task, and removed again; nobody's folder is touched but the one that was named, and that only while its worker does not run.
 */
import { existsSync } from 'node:fs'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join, resolve } from 'node:path'
import { TidemarkError } from '../base/errors.ts'
import { levelState } from '../drivers/level/index.ts'
import type { StateDriver, StateId } from '../ports/store.ts'
import type { World } from '../runtime/world.ts'
import { checkedInstance, openWorld } from '../start.ts'
import { committedSchemas, type KafkaWords, kafkaOf } from './kafka.ts'
import type { Loaded } from './load.ts'
import type { Meter } from './meter.ts'
import { loadedOnKafka, type Wanted } from './place.ts'
import type { Shell } from './shell.ts'
import { lockFolder, workerFolder } from './worker-folder.ts'

/** What was opened for work beside an application. */
export interface OpenedFor {
  readonly loaded: Loaded
  readonly world: World
  /** Workers elsewhere may run it meanwhile. */
  readonly shared: boolean
  /** Whether there is state of a task here that stays when the work is done. */
  readonly keeps: (id: StateId) => Promise<boolean>
  readonly close: () => Promise<void>
}

/** @throws TidemarkError OPTION_INVALID, INPUT_INVALID, STORE_LOCKED, BROKER_*, and what the topology's module throws */
export async function openOnKafka(
  wanted: Wanted,
  words: KafkaWords & { readonly instance?: string | undefined },
  shell: Shell,
  meter: Meter,
): Promise<OpenedFor> {
  const { instance } = words
  if (instance !== undefined) checkedInstance(instance)
  const loaded = await loadedOnKafka(wanted, shell.folder)
  const named = wanted.dir ?? (instance === undefined ? undefined : workerFolder(loaded.topology.name, instance))
  const dir = named === undefined ? undefined : resolve(shell.folder, named)
  if (dir !== undefined && !existsSync(join(dir, 'state'))) {
    throw new TidemarkError('INPUT_INVALID', `no worker has kept state in folder "${named}"`, {
      hint: 'Name another with --instance or --dir; without them the state is taken from the changelogs.',
    })
  }
  const driver = await kafkaOf(words, shell)
  const closes: (() => Promise<unknown>)[] = []
  const close = async (): Promise<void> => {
    for (const each of closes.splice(0).toReversed()) await each()
  }
  try {
    if (dir !== undefined) {
      const { lock } = await lockFolder(
        dir,
        instance ?? '0',
        'Stop it, or leave out --instance and --dir: then the state is taken from the changelogs.',
      )
      closes.push(() => lock.release())
    }
    const spare = await mkdtemp(join(tmpdir(), 'tidemark-'))
    closes.push(() => rm(spare, { recursive: true, force: true }))
    const kept = dir === undefined ? undefined : levelState({ folder: join(dir, 'state') })
    const keeps = async (id: StateId): Promise<boolean> => (await kept?.list(id.app))?.some((each) => same(each, id)) ?? false
    const state = keptOrSpare(kept, keeps, levelState({ folder: spare }))
    const opened = await openWorld({ log: driver, state, schemas: await committedSchemas(), telemetry: meter })
    closes.push(() => opened.close())
    return { loaded, world: opened.world, shared: true, keeps, close }
  } catch (error) {
    await close()
    throw error
  }
}

function same(a: StateId, b: StateId): boolean {
  return a.app === b.app && a.stage === b.stage && a.generation === b.generation && a.partition === b.partition
}

/** State of tasks that a worker's folder has is that; of all others it is made in a folder of its own, and is gone when it is closed. */
function keptOrSpare(kept: StateDriver | undefined, keeps: (id: StateId) => Promise<boolean>, spare: StateDriver): StateDriver {
  const driverOf = async (id: StateId): Promise<StateDriver> => (kept !== undefined && (await keeps(id)) ? kept : spare)
  return {
    name: spare.name,
    open: async (id) => {
      const driver = await driverOf(id)
      const store = await driver.open(id)
      if (driver === kept) return store
      return {
        get: (key) => store.get(key),
        range: (range) => store.range(range),
        write: (batch, options) => store.write(batch, options),
        close: async () => {
          await store.close()
          await spare.destroy(id)
        },
      }
    },
    check: async (id) => await (await driverOf(id)).check?.(id),
    quarantine: async (id) => await (await driverOf(id)).quarantine(id),
    destroy: async (id) => await (await driverOf(id)).destroy(id),
    list: async (app) => (await kept?.list(app)) ?? [],
  }
}
