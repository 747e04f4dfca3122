/**
 * A worker: the loop that reads, runs and commits for the tasks its group gave it.
 *
 * Processing is synchronous and goes in slices; between two slices the loop lets input, output and heartbeats happen. One commit is on its way
 * at a time while the next one fills: the tasks go on into their overlays as soon as they are sealed.
 *
 * What fails is dropped and opened again, never patched: a commit that failed takes all its tasks with it, a task that failed takes itself.
 */
import { codeOf, messageOf, TidemarkError } from '../base/errors.ts'
import { Lifecycle, type Transitions } from '../base/lifecycle.ts'
import { groupOf, passingWriterId, rebuildersOf, writerId, writersOf } from '../plan/naming.ts'
import type { TaskPlan } from '../plan/tasks.ts'
import type { GroupEvent, Identity, Membership, PlainWriter, Writer } from '../ports/log.ts'
import { assignMembers, encodeMember, isOfAnotherPlan, liveWriters } from './assignment.ts'
import { Bell } from './bell.ts'
import { COMMIT, type CommitProtocol, type CommitRun, runCommit } from './commit.ts'
import { readDecisions } from './decisions.ts'
import { backoffMs, isFinal, TaskStopped } from './failure.ts'
import { Fetcher } from './fetcher.ts'
import type { Frontier } from './frontier.ts'
import { Openings } from './openings.ts'
import { Soundings } from './soundings.ts'
import type { Stages } from './stages.ts'
import { Stalls } from './stalls.ts'
import { report } from './tally.ts'
import type { Task, TaskCommit, TaskStatus } from './task.ts'
import type { RuntimeOptions, World } from './world.ts'

/**
 *   joining -> running -> draining -> closed
 *      |          |           |
 *      +----------+-----------+----> failed
 */
export type WorkerStatus = 'joining' | 'running' | 'draining' | 'closed' | 'failed'
const TRANSITIONS: Transitions<WorkerStatus> = {
  joining: ['running', 'draining', 'failed'],
  running: ['draining', 'failed'],
  draining: ['closed', 'failed'],
  closed: [],
  failed: [],
}

/** A slice ends after this long, so that heartbeats and answers are never far behind, ms. */
const SLICE_MS = 10
/** How long the loop sleeps when there is nothing to do at all, ms: input wakes it. */
const IDLE_MS = 100
/** How long the second recovery in a row waits, ms; each further one twice as long, up to the most. */
const RECOVERY = { firstMs: 20, maxMs: 1_000 }

export class Worker {
  readonly life: Lifecycle<WorkerStatus>
  readonly name: string
  readonly #world: World
  readonly #options: RuntimeOptions
  readonly #stages: Stages
  readonly #frontier: Frontier
  readonly #protocol: CommitProtocol
  readonly #tasks = new Map<string, Task>()
  readonly #openings: Openings
  readonly #stalls: Stalls
  readonly #soundings: Soundings
  readonly #halted = new Set<string>()
  /** Tasks that failed, whose state is being closed and perhaps moved aside: whoever opened them now would have it taken away. */
  readonly #clearing = new Set<string>()
  #mine: readonly TaskPlan[] = []
  #membership: Membership | undefined
  #identity: Identity | undefined
  /** None while it is not sure that this worker is still the one that may open it. */
  #writer: Writer | PlainWriter | undefined
  #fetcher: Fetcher | undefined
  #listening = false
  readonly #events: GroupEvent[] = []
  /** The group has been asked once to think anew about what it gave. */
  #objected = false
  /** Between giving up partitions and knowing the new ones: nothing is committed then. */
  #rebalancing = false
  #committing: Promise<void> | undefined
  #commitStarted = 0
  readonly #bell = new Bell()
  readonly #stop = new AbortController()
  /** Set by what runs beside the loop; the loop acts on it. */
  #broken: unknown
  /** How often in a row everything uncommitted was dropped, without a commit in between. */
  #recoveries = 0
  #finished: Promise<void> | undefined
  /** Whether the group is told that this worker does not come back. Who fails may not come back, and others should go on at once. */
  #leaves = true
  failure: TidemarkError | undefined

  constructor(world: World, options: RuntimeOptions, stages: Stages, frontier: Frontier, protocol: CommitProtocol = COMMIT) {
    this.#world = world
    this.#options = options
    this.#stages = stages
    this.#frontier = frontier
    this.#protocol = protocol
    const { app } = stages.plan
    this.name = options.membership === 'dynamic' ? passingWriterId(app, world.random.id()) : writerId(app, options.instance)
    this.#soundings = new Soundings(world, frontier)
    this.#openings = new Openings({
      world,
      stages,
      onOpened: (plan, task) => this.#opened(plan, task),
      owns: () => this.#identity !== undefined && !this.#rebalancing && this.#events.length === 0 && this.#leased,
      onFinal: (error) => this.#break(error),
      onEnd: () => this.#bell.ring(),
    })
    this.#stalls = new Stalls({
      world,
      group: groupOf(app),
      writer: this.name,
      ...stages.partitions,
      onOwn: (error) => this.#break(error),
    })
    this.life = new Lifecycle<WorkerStatus>(`worker ${this.name}`, 'joining', TRANSITIONS, (state) =>
      world.telemetry.event({ kind: 'worker', worker: this.name, state }),
    )
  }

  get tasks(): Iterable<Task> {
    return this.#tasks.values()
  }

  /** The tasks that the group gave it, and how each is: one that is not open yet, or not any more, is restoring. */
  get given(): readonly { readonly name: string; readonly state: TaskStatus }[] {
    return this.#mine.map(({ name }) => ({
      name,
      state: this.#halted.has(name) ? 'halted' : (this.#tasks.get(name)?.life.state ?? 'restoring'),
    }))
  }

  /** Transactions without an end that hold up what its application reads or writes. */
  get hanging(): readonly TidemarkError[] {
    return this.#stalls.hanging
  }

  /** Whether the group has given it its tasks and all of them run, or have halted. */
  get ready(): boolean {
    return (
      this.#identity !== undefined &&
      this.#broken === undefined &&
      this.#mine.every(({ name }) => this.#halted.has(name) || this.#tasks.get(name)?.life.state === 'running')
    )
  }

  /** Whether nothing of it is on its way: no commit, and nothing that waits for one. */
  get settled(): boolean {
    return (
      this.#committing === undefined &&
      this.#broken === undefined &&
      [...this.#tasks.values()].every((task) => task.life.state !== 'running' || !task.dirty(this.#world.clock.now()))
    )
  }

  /** Begins to work. Resolves when the worker has ended; rejects never: `failure` says why it ended. */
  run(): Promise<void> {
    this.#finished ??= this.#run()
    return this.#finished
  }

  async #run(): Promise<void> {
    const { log } = this.#world
    try {
      await this.#openWriter()
      this.#fetcher = new Fetcher({
        world: this.#world,
        options: this.#options,
        frontier: this.#frontier,
        reader: log.reader('committed'),
        signal: this.#stop.signal,
        onStopped: (task, error) => this.#stopTask(task, error),
        onBroken: (error) => this.#break(error),
        onAnswer: () => this.#bell.ring(),
      })
      this.#membership = await this.#join()
      void this.#stalls.run(this.#stop.signal).catch((error: unknown) => this.#break(error))
      while (!this.#stop.signal.aborted) await this.#turn()
      await this.#drain()
      this.life.to('closed')
    } catch (error) {
      this.failure =
        error instanceof TidemarkError
          ? error
          : new TidemarkError('APP_CLOSED', `worker ${this.name} ended: ${messageOf(error)}`, { cause: error })
      if (this.life.may('failed')) this.life.to('failed')
      this.#world.telemetry.event({ kind: 'worker', worker: this.name, state: 'failed', error: this.failure })
      await this.#abandon().catch(() => {})
    }
  }

  /**
   * Finishes what is begun and commits it. A static member is then expected back, and its tasks wait for it as long as a session lasts;
   * with `leave`, and always as a dynamic member, it leaves for good, and others go on with its tasks at once.
   */
  async close({ leave }: { readonly leave: boolean }): Promise<void> {
    this.#leaves = leave || this.#options.membership === 'dynamic'
    this.#stop.abort()
    this.#bell.ring()
    await this.#finished
  }

  // --- one turn of the loop ----------------------------------------------------------------------------------------------------

  async #turn(): Promise<void> {
    this.#listen()
    for (let event = this.#events.shift(); event !== undefined; event = this.#events.shift()) await this.#onGroup(event)
    if (this.#broken !== undefined) await this.#recover()
    this.#fetcher?.fetch(this.#tasks.values())
    this.#soundings.take(this.#tasks.values())
    const worked = this.#slice()
    await this.#commitIfDue(!worked)
    if (worked) await this.#world.clock.turn()
    else await this.#rest()
  }

  /** Keeps one ear on the group. */
  #listen(): void {
    if (this.#listening) return
    this.#listening = true
    void (this.#membership as Membership)
      .next(this.#stop.signal)
      .then((event) => {
        this.#events.push(event)
      })
      .catch((error: unknown) => {
        if (!this.#stop.signal.aborted) this.#break(error)
      })
      .finally(() => {
        this.#listening = false
        this.#bell.ring()
      })
  }

  /** Waits until there is something to do: input, an answer, an event of the group, a timer. */
  async #rest(): Promise<void> {
    if (this.#stop.signal.aborted || this.#broken !== undefined || this.#events.length > 0) return
    await this.#bell.wait(this.#world.clock, IDLE_MS)
  }

  /** Runs every task that has something, for a slice of time. False when none had. */
  #slice(): boolean {
    const { clock } = this.#world
    const until = clock.mono() + SLICE_MS
    let worked = false
    do {
      let turn = 0
      for (const task of this.#tasks.values()) {
        if (task.life.state !== 'running') continue
        try {
          // What cannot be committed, because the group is silent, may not grow without bound either.
          if (this.#uncommitted() < this.#options.commitBytes) {
            if (task.wake(clock.now())) turn += 1
            if (task.busy) turn += task.pending === undefined ? task.run(this.#options.turnRecords) : 0
          }
          if (task.pending !== undefined) this.#load(task)
        } catch (error) {
          this.#stopTask(task, error)
        }
      }
      if (turn === 0) break
      worked = true
    } while (clock.mono() < until)
    return worked
  }

  readonly #loading = new Set<Task>()

  /** Loads what a task waits for, beside the loop. */
  #load(task: Task): void {
    if (this.#loading.has(task)) return
    this.#loading.add(task)
    const done = async (): Promise<void> => {
      try {
        await task.load()
      } catch (error) {
        if (task.life.state === 'running') this.#stopTask(task, error)
      } finally {
        this.#loading.delete(task)
        this.#bell.ring()
      }
    }
    void done()
  }

  #uncommitted(): number {
    let bytes = 0
    for (const task of this.#tasks.values()) bytes += task.uncommittedBytes
    return bytes
  }

  // --- commits -----------------------------------------------------------------------------------------------------------------

  /** A commit is begun when the last one is done and there is nothing else to do, or it is time, or enough has gathered. */
  async #commitIfDue(idle: boolean): Promise<void> {
    const full = this.#uncommitted() >= this.#options.commitBytes
    if (this.#committing !== undefined) {
      // The next overlay may not grow without bound while the sealed one is on its way.
      if (full) await this.#committing
      return
    }
    const waited = this.#world.clock.mono() - this.#commitStarted
    if (!idle && !full && waited < this.#options.commitIntervalMs) return
    this.#beginCommit()
  }

  #beginCommit(): void {
    const identity = this.#identity
    const now = this.#world.clock.now()
    const dirty = [...this.#tasks.values()].filter((task) => task.life.state === 'running' && task.pending === undefined && task.dirty(now))
    if (dirty.length === 0 || identity === undefined || this.#rebalancing || this.#broken !== undefined || !this.#leased) return
    this.#commitStarted = this.#world.clock.mono()
    const parts: TaskCommit[] = []
    for (const task of dirty) {
      try {
        parts.push(task.seal(now, (partition, position, recordedAt) => this.#frontier.reachedBy(partition, position, recordedAt, now)))
      } catch (error) {
        this.#stopTask(task, error)
      }
    }
    if (parts.length === 0) return
    this.#committing = this.#commit(parts, identity).finally(() => {
      this.#committing = undefined
      this.#bell.ring()
    })
  }

  /** Whether the group has confirmed this member lately: if not, others may own the tasks by now. */
  get #leased(): boolean {
    return (this.#membership as Membership).heartbeatAge() <= this.#options.sessionMs / 2
  }

  async #commit(tasks: readonly TaskCommit[], identity: Identity): Promise<void> {
    const { log, clock, failpoint, telemetry } = this.#world
    const run: CommitRun = {
      log,
      clock,
      failpoint,
      tasks,
      identity,
      writer: this.#writer as Writer,
      group: groupOf(this.#stages.plan.app),
      app: this.#stages.plan.app,
      durableStores: this.#options.durableStores,
      changelogEnds: new Map(),
      failed: new Map(),
      positionsSent: false,
      changelogIdOf: (topic) => this.#stages.topicId(topic),
      deadTopics: this.#stages.deadTopics,
      checkLease: () => {
        if (identity === this.#identity && this.#leased) return
        throw new TidemarkError('MEMBER_LOST', 'the group has not been heard from for half a session', {
          hint: 'Another worker may own the tasks by now, so nothing is written.',
        })
      },
    }
    try {
      await runCommit(this.#options.guarantee === 'exactly-once' ? this.#protocol.exactlyOnce : this.#protocol.atLeastOnce, run)
    } catch (error) {
      telemetry.count('commit_failures', {})
      // Who was refused owns nothing until the group says so again, unless it has said so since.
      const refused = codeOf(error) === 'COMMIT_REJECTED'
      if (identity === this.#identity && (refused || run.positionsSent)) {
        this.#disown()
        // Positions without an answer may arrive after newer ones. In another generation they are refused, and only then is it asked for
        // where to go on.
        if (!refused) (this.#membership as Membership).rejoin()
      }
      this.#break(error)
      return
    }
    telemetry.count('commits', {})
    this.#recoveries = 0
    for (const part of tasks) {
      report(part.counts, telemetry)
      part.task.release(part)
      this.#openings.noteProgress(part.task.name)
      this.#frontier.committed(part.task.name, part)
      const failed = run.failed.get(part)
      if (failed !== undefined) this.#stopTask(part.task, failed)
      else if (part.task.life.state === 'running') await part.task.sweep().catch((error: unknown) => this.#stopTask(part.task, error))
    }
  }

  // --- the group ---------------------------------------------------------------------------------------------------------------

  #join(): Promise<Membership> {
    const { plan, planHash, tasks } = this.#stages
    const { instance, membership, sessionMs } = this.#options
    return this.#world.log.join(groupOf(plan.app), {
      instance: membership === 'static' ? instance : undefined,
      sessionMs,
      userData: () => encodeMember({ plan: planHash, writer: this.name, tasks: [...this.#tasks.keys(), ...this.#openings.names] }),
      assign: (members) => assignMembers(tasks, planHash, members),
    })
  }

  async #onGroup(event: GroupEvent): Promise<void> {
    switch (event.kind) {
      case 'revoking':
        // Commit what is finished while the old identity still counts; what is not goes to whoever gets the task.
        await this.#settle()
        this.#rebalancing = true
        event.done()
        return
      case 'lost':
        this.#world.telemetry.event({ kind: 'worker', worker: this.name, state: 'recovering', error: event.error })
        this.#disown()
        await this.#discardAll()
        return
      case 'assigned': {
        this.#rebalancing = false
        const names = new Set(event.partitions.map(({ topic, partition }) => `${topic}/${partition}`))
        this.#mine = this.#stages.tasks.filter((task) => task.inputs.every(({ topic }) => names.has(`${topic}/${task.partition}`)))
        const before = this.#identity
        this.#identity = event.identity
        // Only an unbroken membership proves that nobody else ran a task in between.
        const unbroken =
          before !== undefined && before.member === event.identity.member && before.generation + 1 === event.identity.generation
        // What halted was read as a former owner's: others may have got past it since, and where they have not it halts again.
        if (!unbroken) this.#halted.clear()
        await this.#keepOnly(unbroken ? new Set(this.#mine.map(({ name }) => name)) : new Set())
        if (!unbroken) await this.#insist(() => this.#checkGenerations())
        this.#world.telemetry.count('rebalances', {})
        // Members of this generation live. Whoever is none cannot commit positions any more, so what it left open is ended without harm.
        const live = liveWriters(event.userData)
        if (await this.#claim(() => this.#world.log.fence(writersOf(this.#stages.plan.app), live))) this.#openMissing()
        if (this.life.state === 'joining') this.life.to('running')
        // A member that comes back under its name is given what it had, without the leader hearing of it: also after a deploy with
        // another plan, which only a rebalance tells. Once, because a leader that is older than we are does not change its mind.
        if (!this.#objected && isOfAnotherPlan(event.userData, this.#stages.planHash)) (this.#membership as Membership).rejoin()
        this.#objected = true
      }
    }
  }

  /**
   * While this worker was no member, a projection may have been rebuilt and switched to. A switch is refused once this worker is a member, so what
   * is decided by now stays so; one that is on its way is ended first, one way or the other.
   * @throws TidemarkError PLAN_CHANGED
   */
  async #checkGenerations(): Promise<void> {
    const { app, stages } = this.#stages.plan
    await this.#world.log.fence(rebuildersOf(app), new Set())
    const { generations } = await readDecisions(this.#world.log, app, 'high')
    for (const { name, generation } of stages) {
      const live = generations.get(name) ?? generation
      if (live === generation) continue
      throw new TidemarkError('PLAN_CHANGED', `stage "${name}" was rebuilt`, {
        detail: `Generation ${live} is live, and this worker was started for generation ${generation}.`,
        hint: 'Start it again: it takes up what was rebuilt.',
      })
    }
  }

  /** Owns nothing until the group says so again. */
  #disown(): void {
    this.#identity = undefined
    this.#mine = []
  }

  /** Lets a commit that is on its way end, and commits what is left. */
  async #settle(): Promise<void> {
    await this.#committing
    if (this.#broken !== undefined) return
    this.#beginCommit()
    await this.#committing
  }

  #openMissing(): void {
    // What the group has said since may be that others own them by now. It is heard first, and all that it can say ends here again.
    if (this.#events.length > 0 || this.#writer === undefined) return
    for (const task of this.#mine) {
      if (this.#tasks.has(task.name) || this.#openings.has(task.name) || this.#halted.has(task.name) || this.#clearing.has(task.name))
        continue
      this.#openings.begin(task)
    }
  }

  #opened(plan: TaskPlan, task: Task): void {
    task.life.to('running')
    this.#tasks.set(plan.name, task)
    this.#frontier.opened(plan, task)
  }

  // --- failures ----------------------------------------------------------------------------------------------------------------

  /** A read of a task's state failed. Where it is damaged, the task is opened again over what its changelog has. */
  readFailed(task: Task, error: unknown): void {
    if (codeOf(error) === 'STORE_CORRUPT' && this.#tasks.get(task.name) === task) this.#stopTask(task, error)
  }

  /** Ends one task: what it had not committed is dropped. */
  #stopTask(task: Task, error: unknown): void {
    if (task.life.state !== 'running') return
    const stopped =
      error instanceof TaskStopped
        ? error
        : new TaskStopped(
            'reopen',
            task.name,
            error instanceof TidemarkError
              ? error
              : new TidemarkError('STEP_FAILED', `task ${task.name} failed: ${messageOf(error)}`, { cause: error }),
          )
    const { telemetry } = this.#world
    telemetry.event({ kind: 'failure', task: task.name, step: stopped.step, decision: stopped.verdict, error: stopped.failure })
    task.life.to(stopped.verdict === 'halt' ? 'halted' : 'failed')
    if (stopped.verdict === 'halt') {
      this.#halted.add(task.name)
      this.#frontier.halted(task.name, stopped.failure)
      return
    }
    this.#openings.noteFailure(task.name)
    void this.#reopen(task, codeOf(stopped.failure) === 'STORE_CORRUPT')
  }

  async #reopen(task: Task, damaged: boolean): Promise<void> {
    const { state, telemetry } = this.#world
    await this.#committing
    if (this.#tasks.get(task.name) !== task) return
    this.#clearing.add(task.name)
    try {
      await task.close().catch(() => {})
      this.#tasks.delete(task.name)
      if (damaged) {
        telemetry.count('wipes', { step: task.parts.stage.name, value: 'STORE_CORRUPT' })
        await state.quarantine({
          app: this.#stages.plan.app,
          stage: task.parts.stage.name,
          generation: task.parts.stage.generation,
          partition: task.parts.partition,
        })
      }
    } catch (error) {
      // Where the damage stays, the next opening finds it again.
      if (error instanceof TidemarkError) telemetry.event({ kind: 'warning', error })
      else this.#break(error)
    } finally {
      this.#clearing.delete(task.name)
    }
    if (!this.#stop.signal.aborted) this.#openMissing()
  }

  /** Notes that everything uncommitted is void; the loop recovers. */
  #break(error: unknown): void {
    this.#broken ??= error
    this.#bell.ring()
  }

  async #recover(): Promise<void> {
    const error = this.#broken
    const { telemetry, clock } = this.#world
    if (isFinal(error)) throw error
    if (error instanceof TidemarkError) telemetry.event({ kind: 'worker', worker: this.name, state: 'recovering', error })
    await this.#discardAll()
    // What fails again at once must keep neither this process nor the brokers busy.
    if (this.#recoveries > 0) await clock.sleep(backoffMs(this.#recoveries - 1, 1, RECOVERY), this.#stop.signal).catch(() => {})
    this.#recoveries += 1
    this.#broken = undefined
    await this.#closeWriter()
    // Who owns nothing is told when it does again, or that it never will; only then is a writer opened.
    if (this.#identity === undefined) return
    if (await this.#claim(() => Promise.resolve())) this.#openMissing()
  }

  /**
   * Opens the writer where there is none, and does what else ends the work of others: never before the group has said that this worker still
   * is its member. One that slept, and whose place or name another process took meanwhile, would end the transactions of its successor.
   * False when it is no member any more, or the worker is to end: the next event says so.
   */
  async #claim(work: () => Promise<void>): Promise<boolean> {
    let wanted = false
    await this.#insist(async () => {
      wanted = false
      if (!(await (this.#membership as Membership).confirm(this.#stop.signal))) return
      if (this.#writer === undefined) await this.#openWriter()
      await work()
      wanted = true
    })
    return wanted
  }

  /** Tries until it works, the worker is to end, or it never will work. */
  async #insist(work: () => Promise<void>): Promise<void> {
    const { clock, random } = this.#world
    for (let attempt = 0; !this.#stop.signal.aborted; attempt++) {
      try {
        await work()
        return
      } catch (error) {
        if (this.#stop.signal.aborted) return
        if (isFinal(error)) throw error
        await clock.sleep(backoffMs(attempt, random.unit()), this.#stop.signal).catch(() => {})
      }
    }
  }

  /** A fresh epoch: fences this worker's earlier life and ends the transaction it left open. */
  async #openWriter(): Promise<void> {
    const { log } = this.#world
    if (this.#options.guarantee === 'at-least-once') {
      this.#writer = await log.plainWriter()
      return
    }
    const writer = await log.writer(this.name)
    try {
      if (!(await this.#stalls.left())) {
        this.#writer = writer
        return
      }
    } catch (error) {
      await writer.close().catch(() => {})
      throw error
    }
    // What the log lost of the ends of our transactions is known by now, and the next writer makes up for it where it can.
    await writer.close()
    this.#writer = await log.writer(this.name)
  }

  async #closeWriter(): Promise<void> {
    await this.#writer?.close().catch(() => {})
    this.#writer = undefined
  }

  async #discardAll(): Promise<void> {
    await this.#keepOnly(new Set())
  }

  /** Drops tasks that are not in `names`, with all that they had not committed, before anything is written under a new identity. */
  async #keepOnly(names: ReadonlySet<string>): Promise<void> {
    await this.#committing
    await this.#openings.keepOnly(names)
    for (const [name, task] of this.#tasks) {
      if (names.has(name)) continue
      this.#tasks.delete(name)
      this.#frontier.closed(name)
      await task.close().catch(() => {})
    }
    // A poll on its way belongs to the old assignment; what it brings finds no task.
    await this.#fetcher?.settled()
  }

  // --- the end -----------------------------------------------------------------------------------------------------------------

  async #drain(): Promise<void> {
    this.life.to('draining')
    await this.#settle()
    await this.#abandon()
    if (this.#broken !== undefined) throw this.#broken
  }

  async #abandon(): Promise<void> {
    this.#stop.abort()
    await this.#discardAll()
    await this.#membership?.leave({ keep: !this.#leaves }).catch(() => {})
    await this.#fetcher?.close().catch(() => {})
    await this.#closeWriter()
  }
}
