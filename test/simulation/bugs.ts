/**
 * Deliberate bugs, one at a time, made of nothing but the commit's own steps and wrappers of ports: each must be found, or the simulator has
 * rotted. An entry says by which means: 500 random seeds as they are drawn; the same with something given, where worlds in which the bug
 * matters are too rare to wait for; or the systematic run, in which the process dies at every event of a script.
 */
import { binary } from '../../src/base/bytes.ts'
import { nativeCodecs } from '../../src/drivers/codecs/index.ts'
import type {
  Fetched,
  GroupEvent,
  GroupPositions,
  Identity,
  Log,
  Membership,
  PartitionName,
  Positions,
  Writer,
} from '../../src/ports/log.ts'
import type { RecordBatch } from '../../src/ports/record-batch/index.ts'
import type { StateDriver, StateId, TaskStore } from '../../src/ports/store.ts'
import {
  COMMIT,
  type CommitRun,
  type CommitStep,
  commitPositions,
  decide,
  sendChangelogs,
  sendOutputs,
  writeStores,
} from '../../src/runtime/commit.ts'
import type { Input } from '../../src/runtime/input.ts'
import { lastRecord } from '../../src/runtime/lineage.ts'
import { decodeCheckpoint, encodeCheckpoint } from '../../src/runtime/meta.ts'
import { Progress } from '../../src/runtime/progress.ts'
import { CHK_KEY, unescapeKey } from '../../src/runtime/rows.ts'
import { StoreState } from '../../src/runtime/store-state.ts'
import type { Bug, FaultKind, Settings } from '../../src/testing/simulate.ts'
import { type Script, TORN } from './systematic.ts'

export interface NamedBug {
  readonly name: string
  /** What is wrong, in one sentence. */
  readonly about: string
  readonly bug: Bug
  /** What seeds are not to draw. */
  readonly settings?: Partial<Settings>
  /** The only kinds of fault that they are to have. */
  readonly faults?: readonly FaultKind[]
  /** A seed that finds it; where seeds are the means. */
  readonly seed?: number
  /** The script that finds it, and at which of its events; where the systematic run is the means. */
  readonly systematic?: Omit<Script, 'bug'> & { readonly event: number }
}

const EXACTLY: Partial<Settings> = { guarantee: 'exactly-once' }
const AT_LEAST: Partial<Settings> = { guarantee: 'at-least-once' }

const exactly = (...exactlyOnce: CommitStep[]): Bug => ({ protocol: { ...COMMIT, exactlyOnce } })
const atLeast = (...atLeastOnce: CommitStep[]): Bug => ({ protocol: { ...COMMIT, atLeastOnce } })

// --- the order of a commit -------------------------------------------------------------------------------------------------------

/** Rows go to disk as if there were no overlay; how far they are follows with the commit. */
const writeRowsNow: CommitStep = async (run) => {
  for (const { task, state } of run.tasks) {
    const { keys = [], values = [] } = state?.writes.batch() ?? {}
    await task.parts.state?.db.write({ keys: keys.slice(0, -1), values: values.slice(0, -1) })
  }
}

const positionsOf = (run: CommitRun, identity: Identity | undefined): GroupPositions => ({
  group: run.group,
  identity,
  positions: new Map(run.tasks.flatMap(({ positions }) => [...positions])),
})

const decideNothing: CommitStep = async (run) => {
  const outcome = await (run.writer as Writer).commit([])
  if (outcome.kind !== 'committed') throw outcome.error
}

/** An outcome that nobody knows is taken for the one that is hoped for. */
const decideInHope: CommitStep = async (run) => {
  const outcome = await (run.writer as Writer).commit([positionsOf(run, run.identity)])
  if (outcome.kind !== 'committed' && outcome.kind !== 'in-doubt') throw outcome.error
}

const decideAsNobody: CommitStep = async (run) => {
  const outcome = await (run.writer as Writer).commit([positionsOf(run, undefined)])
  if (outcome.kind !== 'committed') throw outcome.error
}

const undecided = new WeakSet<CommitRun>()
/** A commit that failed is passed over: what it would have written stays in memory, as if it had. */
const decideOrShrug: CommitStep = async (run) => {
  const outcome = await (run.writer as Writer).commit([positionsOf(run, run.identity)])
  if (outcome.kind !== 'committed') undecided.add(run)
}
const writeStoresIfDecided: CommitStep = async (run) => {
  if (!undecided.has(run)) await writeStores(run)
}
/** A writer that opens itself anew after a failed commit, so that whoever shrugs can go on. */
const undying = (log: Log): Log => ({
  ...log,
  writer: async (id) => {
    let writer = await log.writer(id)
    return {
      id,
      append: (partition, batch) => writer.append(partition, batch),
      commit: async (positions) => {
        const outcome = await writer.commit(positions)
        if (outcome.kind !== 'committed') writer = await log.writer(id)
        return outcome
      },
      abort: () => writer.abort(),
      close: () => writer.close(),
    }
  },
})

const unleashed =
  (step: CommitStep): CommitStep =>
  (run) =>
    step({ ...run, checkLease: () => {} })

const writeStoresOrNot: CommitStep = async (run) => {
  await writeStores(run)
  run.failed.clear()
}

// --- the log ---------------------------------------------------------------------------------------------------------------------

/** What somebody has asked for and heard of positions, in one run of a world. */
const heard = {
  asked: new Map<string, { readonly group: string; readonly partitions: readonly string[] }>(),
  committed: new Map<string, number>(),
}

/** Committed positions as they were before the last fencing, and without what a transaction was about to commit then. */
const positionsBeforeFencing = (log: Log): Log => {
  const { asked, committed } = heard
  const early = new Map<string, Positions>()
  const look = async (): Promise<void> => {
    for (const [name, { group, partitions }] of asked) {
      // What was read first is what counts: that it was before the fencing is the bug.
      if (early.has(name)) continue
      const positions = await log.committed(group, partitions)
      const known = partitions.flatMap((each): [string, number][] => (committed.has(each) ? [[each, committed.get(each) as number]] : []))
      early.set(name, positions === 'unstable' ? new Map(known) : positions)
    }
  }
  return {
    ...log,
    committed: async (group, partitions) => {
      const name = `${group} ${partitions.join()}`
      asked.set(name, { group, partitions })
      const before = early.get(name)
      early.delete(name)
      return before ?? log.committed(group, partitions)
    },
    fence: async (prefix, live) => {
      await look()
      await log.fence(prefix, live)
    },
    writer: async (id) => {
      await look()
      const writer = await log.writer(id)
      return {
        id,
        append: (partition, batch) => writer.append(partition, batch),
        commit: async (groups) => {
          const outcome = await writer.commit(groups)
          if (outcome.kind === 'committed') for (const { positions } of groups) for (const [name, at] of positions) committed.set(name, at)
          return outcome
        },
        abort: () => writer.abort(),
        close: () => writer.close(),
      }
    },
  }
}

const unheard = (): (() => void) => {
  heard.asked.clear()
  heard.committed.clear()
  return () => {}
}

const restoredToStable = (log: Log): Log => ({
  ...log,
  offsets: (partitions, at) =>
    log.offsets(partitions, at === 'high' && partitions.every((name) => name.includes('-changelog/')) ? 'stable' : at),
})

/** Every generation looks like the one after the last, so that whoever was away believes to have been there all the time. */
const neverAway = (log: Log): Log => {
  const real = new Map<Identity, Identity>()
  const truly = (positions: GroupPositions): GroupPositions => ({
    ...positions,
    identity: positions.identity === undefined ? undefined : (real.get(positions.identity) ?? positions.identity),
  })
  const remember = (membership: Membership): Membership => {
    let generation = 0
    const next = async (signal: AbortSignal): Promise<GroupEvent> => {
      for (;;) {
        const event = await membership.next(signal)
        if (event.kind === 'lost') continue
        if (event.kind !== 'assigned') return event
        const identity = { ...event.identity, member: 'somebody', generation: ++generation }
        real.set(identity, event.identity)
        return { ...event, identity }
      }
    }
    return { ...membership, next }
  }
  return {
    ...log,
    join: async (group, options) => remember(await log.join(group, options)),
    commitPositions: (positions) => log.commitPositions(truly(positions)),
    writer: async (id) => {
      const writer = await log.writer(id)
      return {
        id,
        append: (partition, batch) => writer.append(partition, batch),
        commit: (positions) => writer.commit(positions.map(truly)),
        abort: () => writer.abort(),
        close: () => writer.close(),
      }
    },
  }
}

// --- state -----------------------------------------------------------------------------------------------------------------------

const stores =
  (changed: (store: TaskStore, id: StateId) => Partial<TaskStore>) =>
  (state: StateDriver): StateDriver => ({
    ...state,
    open: async (id) => {
      const store = await state.open(id)
      return { ...store, ...changed(store, id) }
    },
  })

/**
 * Whatever the disk took last, the changelog seems to have just that there: who reads a single byte of a changelog asks for it. Only for who opens a
 * task, and has asked where its changelog ends right before.
 */
const opening = new Set<PartitionName>()
const lineageUnchecked: Bug = {
  state: stores((store, { app, stage, generation, partition }) => ({
    get: (key) => {
      const value = store.get(key)
      if (value === undefined || !CHK_KEY.equals(key)) return value
      const { last, ...known } = decodeCheckpoint(value)
      if (last === undefined || !opening.delete(`${app}-${stage}-g${generation}-changelog/${partition}`)) return value
      return encodeCheckpoint({ ...known, last: lastRecord(last.offset, CHK_KEY, null) })
    },
  })),
  log: (log) => ({
    ...log,
    offsets: (partitions, at) => {
      if (at === 'high' && partitions.length === 1) opening.add(partitions[0] as string)
      return log.offsets(partitions, at)
    },
    reader: (isolation) => {
      const reader = log.reader(isolation)
      let at: readonly [partition: PartitionName, offset: number] | undefined
      const asWanted = ([partition, offset]: readonly [PartitionName, number]): Fetched => ({
        kind: 'batches',
        partition,
        batches: [{ count: 1, offset: () => offset, key: () => CHK_KEY, value: () => null }] as unknown as RecordBatch[],
        next: offset + 1,
        high: offset + 1,
        stable: offset + 1,
        logStart: 0,
      })
      return {
        assign: (positions) => {
          at = [...positions][0]
          reader.assign(positions)
        },
        pause: (partitions) => reader.pause(partitions),
        poll: (options) =>
          options.bytes === 1 && at?.[0].includes('-changelog/') === true ? Promise.resolve([asWanted(at)]) : reader.poll(options),
        close: () => reader.close(),
      }
    },
  }),
}

const isPosition = (key: Uint8Array): boolean => key[0] === 0
const isTimer = (key: Uint8Array): boolean => key[1] === 0 && key[2] === 0x21
const subOf = (key: Uint8Array): string => unescapeKey(key, 1)?.sub ?? ''

/** Rows of the first generation show through in all later ones, but for those of projections: their numbers are given last. */
const marksOfAllGenerations = (state: StateDriver): StateDriver => {
  const first = new Map<string, Map<string, Buffer>>()
  return {
    ...state,
    open: async (id) => {
      const store = await state.open(id)
      const name = `${id.stage}/${id.partition}`
      if (id.generation > 1) {
        const marks = first.get(name) ?? new Map<string, Buffer>()
        const get = (key: Uint8Array): Buffer | undefined =>
          store.get(key) ?? (key[0] === 1 && !isTimer(key) ? marks.get(binary(key)) : undefined)
        return { ...store, get }
      }
      const close = async (): Promise<void> => {
        const rows = await store.range({ from: Buffer.alloc(0), to: undefined, limit: 1e9 }).catch(() => [])
        first.set(name, new Map(rows.map(([key, value]) => [binary(key), value])))
        await store.close()
      }
      return { ...store, close }
    },
  }
}

export const BUGS: readonly NamedBug[] = [
  {
    name: 'store-before-commit',
    about: 'the disk has a commit before the log has decided it',
    bug: exactly(sendOutputs, sendChangelogs, writeStores, decide),
    seed: 1,
  },
  {
    name: 'no-overlay',
    about: 'rows are written to disk before anything is sent',
    bug: exactly(writeRowsNow, ...COMMIT.exactlyOnce),
    seed: 1,
  },
  {
    name: 'position-apart',
    about: 'how far the disk is goes in another batch than the rows',
    bug: {
      state: stores((store) => ({
        write: async ({ keys, values }, options) => {
          for (const positions of [true, false]) {
            const places = [...keys.keys()].filter((i) => isPosition(keys[i] as Uint8Array) === positions)
            const part = { keys: places.map((i) => keys[i] as Uint8Array), values: places.map((i) => values[i] as Uint8Array | null) }
            await store.write(part, options)
          }
        },
      })),
    },
    seed: 9,
  },
  {
    name: 'marks-before-effects',
    about: 'what says that facts were processed is durable before what they brought about',
    bug: atLeast(sendChangelogs, writeStores, sendOutputs, commitPositions),
    seed: 46,
  },
  {
    name: 'positions-before-effects',
    about: 'positions are committed before what was made from them is sent',
    bug: atLeast(commitPositions, ...COMMIT.atLeastOnce),
    seed: 25,
  },
  {
    name: 'positions-in-another-transaction',
    about: 'positions are decided before outputs and state, which follow in the next transaction',
    bug: exactly(decide, sendOutputs, sendChangelogs, decideNothing, writeStores),
    seed: 6,
  },
  {
    name: 'offsets-before-fencing',
    about: 'committed positions are read before former owners are fenced',
    bug: { log: positionsBeforeFencing, patch: unheard },
    seed: 7,
  },
  {
    name: 'restore-to-stable',
    about: 'state is restored up to what is decided, not up to what is written',
    bug: { log: restoredToStable },
    seed: 22,
  },
  {
    name: 'overlay-kept',
    about: 'what a failed commit would have written stays in memory, and the task goes on from it',
    bug: { ...exactly(sendOutputs, sendChangelogs, decideOrShrug, writeStoresIfDecided), log: undying },
    seed: 22,
  },
  {
    name: 'in-doubt-is-done',
    about: 'a commit in doubt is taken for one that succeeded',
    bug: exactly(sendOutputs, sendChangelogs, decideInHope, writeStores),
    seed: 17,
  },
  {
    name: 'failed-store-ignored',
    about: 'a task goes on after its disk has refused a commit',
    bug: exactly(sendOutputs, sendChangelogs, decide, writeStoresOrNot),
    seed: 47,
  },
  {
    name: 'stream-time-forgotten',
    about: 'stream time does not survive a restart',
    bug: {
      patch: () => {
        const real = Object.getOwnPropertyDescriptor(StoreState.prototype, 'resume') as PropertyDescriptor
        const { value: resume } = real as { value: StoreState['resume'] }
        StoreState.prototype.resume = function (meta) {
          resume.call(this, { ...meta, streamTime: undefined })
        }
        return () => Object.defineProperty(StoreState.prototype, 'resume', real)
      },
    },
    seed: 32,
  },
  {
    name: 'timers-forgotten',
    about: 'timers do not survive a restart',
    bug: { state: stores((store) => ({ range: async (range) => (await store.range(range)).filter(([key]) => !isTimer(key)) })) },
    seed: 17,
  },
  {
    name: 'held-forgotten',
    about: 'facts that wait for their predecessors do not survive a restart',
    bug: { state: stores((store) => ({ get: (key) => (subOf(key).startsWith('!p') ? undefined : store.get(key)) })) },
    seed: 17,
  },
  {
    name: 'held-counted-twice',
    about: 'a key whose state is read from the disk again is counted once more among those that hold facts',
    bug: {
      patch: () => {
        const real = Object.getOwnPropertyDescriptor(StoreState.prototype, 'noteHeld') as PropertyDescriptor
        StoreState.prototype.noteHeld = () => {}
        return () => Object.defineProperty(StoreState.prototype, 'noteHeld', real)
      },
    },
    seed: 1,
  },
  {
    name: 'deletes-forgotten',
    about: 'rows that were deleted stay on disk',
    bug: {
      state: stores((store) => ({
        write: ({ keys, values }, options) => {
          const places = [...keys.keys()].filter((i) => values[i] !== null)
          return store.write(
            { keys: places.map((i) => keys[i] as Uint8Array), values: places.map((i) => values[i] as Uint8Array) },
            options,
          )
        },
      })),
    },
    seed: 1,
  },
  {
    name: 'revoked-task-commits',
    about: 'a commit does not say in which generation its author owned the task',
    bug: {
      protocol: {
        exactlyOnce: [unleashed(sendOutputs), unleashed(sendChangelogs), decideAsNobody, writeStores],
        atLeastOnce: COMMIT.atLeastOnce,
      },
      log: (log) => ({ ...log, join: async (group, options) => ({ ...(await log.join(group, options)), heartbeatAge: () => 0 }) }),
    },
    settings: EXACTLY,
    faults: ['worker-pause', 'worker-cut-off', 'worker-moves'],
    seed: 33,
  },
  {
    name: 'silent-owner-writes',
    about: 'at least once, a worker that the group has given up goes on writing',
    bug: {
      protocol: { ...COMMIT, atLeastOnce: [unleashed(sendOutputs), unleashed(sendChangelogs), writeStores, commitPositions] },
      log: (log) => ({ ...log, join: async (group, options) => ({ ...(await log.join(group, options)), heartbeatAge: () => 0 }) }),
    },
    settings: AT_LEAST,
    faults: ['worker-pause', 'worker-cut-off', 'worker-moves'],
    seed: 33,
  },
  {
    name: 'missed-generation',
    about: 'a worker keeps its tasks although others may have run them while it was away',
    bug: { log: neverAway },
    seed: 76,
  },
  {
    name: 'nobody-fenced',
    about: 'transactions of dead members are left open',
    bug: { log: (log) => ({ ...log, fence: async () => {} }) },
    settings: { ...EXACTLY, workers: 3 },
    faults: ['worker-lost', 'worker-moves', 'log-unanswered'],
    seed: 614,
  },
  {
    name: 'aborted-seen',
    about: 'records of aborted transactions are read like any other',
    bug: { log: (log) => ({ ...log, reader: () => log.reader('uncommitted') }) },
    seed: 3,
  },
  {
    name: 'torn-tail-accepted',
    about: 'the log takes for written what a power cut has left half written',
    bug: { codecs: { ...nativeCodecs, crc32c: () => 0 } },
    systematic: { ...TORN, event: 60 },
  },
  {
    name: 'lineage-unchecked',
    about: 'state that was made from records that the log has lost is taken for state that is behind',
    bug: lineageUnchecked,
    seed: 12,
  },
  {
    name: 'marks-of-all-generations',
    about: 'a projection that is rebuilt finds the marks of the live one, and drops every fact as a duplicate',
    bug: { state: marksOfAllGenerations },
    seed: 12,
  },
  {
    name: 'told-too-early',
    about: 'an inbox is told that a source has come through as far as it was read, not as far as it was processed',
    bug: {
      patch: () => {
        const real = Object.getOwnPropertyDescriptor(Progress.prototype, 'announce') as PropertyDescriptor
        const { value: announce } = real as { value: Progress['announce'] }
        Progress.prototype.announce = function (outbox, inputs, reached, now) {
          const read = inputs.map((input) => Object.create(input, { position: { value: input.readTo } }) as Input)
          announce.call(this, outbox, read, reached, now)
        }
        return () => Object.defineProperty(Progress.prototype, 'announce', real)
      },
    },
    seed: 56,
  },
]
