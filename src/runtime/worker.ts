/**
 * A worker: the loop that reads, runs and commits for the tasks its group gave it.
 *
 * Processing is synchronous and goes in slices; between two slices the loop lets input, output and heartbeats happen. One commit is on its way
 * at a time while the next one fills: the tasks go on into their overlays as soon as they are sealed.
 *
 * What fails is dropped and opened again, never patched: a commit that failed takes all its tasks with it, a task that failed takes itself.
 */
import { codeOf, messageOf, TidemarkError } from '../base/errors.ts'
import type { Lifecycle } from '../base/lifecycle.ts'
import { groupOf, passingWriterId, writerId, writersOf } from '../plan/naming.ts'
import type { Identity, Membership, Writer } from '../ports/log.ts'
import { assignMembers, encodeMember, isOfAnotherPlan, liveWriters } from './assignment.ts'
import { Bell } from './bell.ts'
import { Claims } from './claims.ts'
import { type CommitProtocol, commitRun, runCommit } from './commit.ts'
import { backoffMs, isFinal } from './failure.ts'
import { Fetcher } from './fetcher.ts'
import type { Frontier } from './frontier.ts'
import { follows, GroupEvents, type GroupNews } from './group-events.ts'
import { Roster } from './roster.ts'
import { Soundings } from './soundings.ts'
import type { Stages } from './stages.ts'
import { Stalls } from './stalls.ts'
import { report } from './tally.ts'
import type { Task, TaskCommit, TaskStatus } from './task.ts'
import type { Warmth } from './warmth.ts'
import { type WorkerStatus, workerLife } from './worker-life.ts'
import type { RuntimeOptions, World } from './world.ts'

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
  readonly #roster: Roster
  readonly #claims: Claims
  readonly #stalls: Stalls
  readonly #soundings: Soundings
  #membership: Membership | undefined
  #identity: Identity | undefined
  #fetcher: Fetcher | undefined
  readonly #events: GroupEvents
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
  /** Why the group never will have it again: the worker ends with it, whatever it is. */
  #over: unknown
  /** How often in a row everything uncommitted was dropped, without a commit in between. */
  #recoveries = 0
  #finished: Promise<void> | undefined
  /** Whether the group is told that this worker does not come back. Who fails may not come back, and others should go on at once. */
  #leaves = true
  failure: TidemarkError | undefined

  constructor(world: World, options: RuntimeOptions, stages: Stages, frontier: Frontier, warmth: Warmth, protocol: CommitProtocol) {
    this.#world = world
    this.#options = options
    this.#stages = stages
    this.#frontier = frontier
    this.#protocol = protocol
    const { app } = stages.plan
    this.name = options.membership === 'dynamic' ? passingWriterId(app, world.random.id()) : writerId(app, options.instance)
    this.#soundings = new Soundings(world, frontier, stages.sources, (topic, error) => this.#roster.bar(topic, error))
    this.#events = new GroupEvents({
      signal: this.#stop.signal,
      onHeard: () => this.#bell.ring(),
      onTroubled: (error) => world.telemetry.event({ kind: 'warning', error }),
      onOver: (error) => {
        this.#over = error
        this.#break(error)
      },
    })
    this.#roster = new Roster({
      world,
      options,
      stages,
      frontier,
      warmth,
      owns: () => this.#identity !== undefined && !this.#rebalancing && !this.#events.waiting && this.#leased,
      // What the group has said since may be that others own them by now. It is heard first, and all that it can say opens what is missing.
      mayOpen: () => !this.#events.waiting && this.#claims.writer !== undefined && !this.#stop.signal.aborted,
      committed: async () => this.#committing,
      onBroken: (error) => this.#break(error),
      onChange: () => this.#bell.ring(),
    })
    this.#stalls = new Stalls({
      world,
      group: groupOf(app),
      writer: this.name,
      ...stages.partitions,
      onOwn: (error) => this.#break(error),
    })
    this.#claims = new Claims({ world, options, stages, stalls: this.#stalls, id: this.name, signal: this.#stop.signal })
    this.life = workerLife(this.name, (state) => world.telemetry.event({ kind: 'worker', worker: this.name, state }))
  }

  get tasks(): Iterable<Task> {
    return this.#roster.tasks
  }

  /** The tasks that the group gave it, and how each is: one that is not open yet, or not any more, is restoring. */
  get given(): readonly { readonly name: string; readonly state: TaskStatus }[] {
    return this.#roster.given
  }

  /** Transactions without an end that hold up what its application reads or writes. */
  get hanging(): readonly TidemarkError[] {
    return this.#stalls.hanging
  }

  /** Whether the group has given it its tasks and all of them run, or have halted. */
  get ready(): boolean {
    return this.#identity !== undefined && this.#broken === undefined && this.#roster.ready
  }

  /** Whether nothing of it is on its way: no commit, and nothing that waits for one. */
  get settled(): boolean {
    return this.#committing === undefined && this.#broken === undefined && this.#roster.clean
  }

  /** A read of a task's state failed. */
  readFailed(task: Task, error: unknown): void {
    this.#roster.readFailed(task, error)
  }

  /** Begins to work. Resolves when the worker has ended; rejects never: `failure` says why it ended. */
  run(): Promise<void> {
    this.#finished ??= this.#run()
    return this.#finished
  }

  async #run(): Promise<void> {
    const { log } = this.#world
    try {
      await this.#claims.open()
      this.#fetcher = new Fetcher({
        world: this.#world,
        options: this.#options,
        frontier: this.#frontier,
        reader: log.reader('committed'),
        signal: this.#stop.signal,
        onStopped: (task, error) => this.#roster.stop(task, error),
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
    this.#events.listen(this.#membership as Membership)
    // Who was refused owns nothing. What it has is dropped before it hears what is its own now, or that would be dropped as well.
    if (this.#broken !== undefined && this.#identity === undefined) await this.#recover()
    for (let event = this.#events.take(); event !== undefined; event = this.#events.take()) await this.#onGroup(event)
    if (this.#broken !== undefined) await this.#recover()
    this.#fetcher?.fetch(this.#roster.tasks)
    this.#soundings.take(this.#roster.tasks)
    const worked = this.#roster.slice()
    await this.#commitIfDue(!worked)
    if (worked) await this.#world.clock.turn()
    else await this.#rest()
  }

  /** Waits until there is something to do: input, an answer, an event of the group, a timer. */
  async #rest(): Promise<void> {
    if (this.#stop.signal.aborted || this.#broken !== undefined || this.#events.waiting) return
    await this.#bell.wait(this.#world.clock, IDLE_MS)
  }

  // --- commits -----------------------------------------------------------------------------------------------------------------

  /** A commit is begun when the last one is done and there is nothing else to do, or it is time, or enough has gathered. */
  async #commitIfDue(idle: boolean): Promise<void> {
    const full = this.#roster.uncommitted >= this.#options.commitBytes
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
    if (identity === undefined || this.#rebalancing || this.#broken !== undefined || !this.#leased) return
    const startedAt = this.#world.clock.mono()
    const parts = this.#roster.seal()
    if (parts.length === 0) return
    this.#commitStarted = startedAt
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
    const { telemetry } = this.#world
    const run = commitRun(this.#world, this.#stages, {
      writer: this.#claims.writer as Writer,
      identity,
      tasks,
      durableStores: this.#options.durableStores,
      checkLease: () => {
        if (identity === this.#identity && this.#leased) return
        throw new TidemarkError('MEMBER_LOST', 'the group has not been heard from for half a session', {
          hint: 'Another worker may own the tasks by now, so nothing is written.',
        })
      },
    })
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
      await this.#roster.committed(part, run.changelogEnds.get(part), run.failed.get(part))
    }
  }

  // --- the group ---------------------------------------------------------------------------------------------------------------

  #join(): Promise<Membership> {
    const { plan, planHash, tasks } = this.#stages
    const { instance, membership, sessionMs, guarantee } = this.#options
    return this.#world.log.join(groupOf(plan.app), {
      instance: membership === 'static' ? instance : undefined,
      sessionMs,
      fenced: guarantee === 'exactly-once',
      userData: () => encodeMember({ plan: planHash, writer: this.name, ...this.#roster.claims }),
      assign: (members) => assignMembers(tasks, planHash, members),
    })
  }

  async #onGroup(event: GroupNews): Promise<void> {
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
        await this.#keepOnly()
        return
      case 'assigned': {
        this.#rebalancing = false
        this.#roster.give(event.partitions, event.identity)
        // Only an unbroken membership proves that nobody else ran a task in between.
        const unbroken = follows(event.identity, this.#identity)
        this.#identity = event.identity
        if (!unbroken) this.#roster.forgetHalted()
        await this.#keepOnly(unbroken ? new Set(this.#roster.given.map(({ name }) => name)) : undefined)
        if (!unbroken) await this.#claims.checkGenerations()
        this.#world.telemetry.count('rebalances', {})
        // Members of this generation live. Whoever is none cannot commit positions any more, so what it left open is ended without harm.
        const live = liveWriters(event.userData)
        const fence = (): Promise<void> => this.#world.log.fence(writersOf(this.#stages.plan.app), live)
        if (await this.#claims.claim(this.#membership as Membership, fence)) this.#roster.openMissing()
        if (this.life.state === 'joining') this.life.to('running')
        // A member that comes back under its name is given what it had, without the leader hearing of it: also after a deploy with
        // another plan, which only a rebalance tells. Once, because a leader that is older than we are does not change its mind.
        if (!this.#objected && isOfAnotherPlan(event.userData, this.#stages.planHash)) (this.#membership as Membership).rejoin()
        this.#objected = true
      }
    }
  }

  /** Owns nothing until the group says so again. */
  #disown(): void {
    this.#identity = undefined
    this.#roster.give([])
  }

  /** Ends the commit on its way, and commits what is left. What a failed one left behind must not arrive once others own the tasks. */
  async #settle(): Promise<void> {
    await this.#committing
    if (this.#broken === undefined) this.#beginCommit()
    await this.#committing
    if (this.#broken !== undefined) await this.#claims.close()
  }

  // --- failures ----------------------------------------------------------------------------------------------------------------

  /** Notes that everything uncommitted is void; the loop recovers. */
  #break(error: unknown): void {
    this.#broken ??= error
    this.#bell.ring()
  }

  async #recover(): Promise<void> {
    const error = this.#broken
    const { telemetry, clock } = this.#world
    if (isFinal(error) || error === this.#over) throw error
    if (error instanceof TidemarkError) telemetry.event({ kind: 'worker', worker: this.name, state: 'recovering', error })
    await this.#keepOnly()
    // What fails again at once must keep neither this process nor the brokers busy.
    if (this.#recoveries > 0) await clock.sleep(backoffMs(this.#recoveries - 1, 1, RECOVERY), this.#stop.signal).catch(() => {})
    this.#recoveries += 1
    this.#broken = undefined
    await this.#claims.close()
    // Who owns nothing is told when it does again, or that it never will; only then is a writer opened.
    if (this.#identity === undefined) return
    if (await this.#claims.claim(this.#membership as Membership)) this.#roster.openMissing()
  }

  /** Drops tasks that are not in `names`, with all that they had not committed, before anything is written under a new identity. */
  async #keepOnly(names: ReadonlySet<string> = new Set()): Promise<void> {
    await this.#committing
    await this.#roster.keepOnly(names)
    // A poll on its way belongs to the old assignment; what it brings finds no task.
    await this.#fetcher?.settled()
  }

  async #drain(): Promise<void> {
    this.life.to('draining')
    await this.#settle()
    await this.#abandon()
    // The group went on without it: whoever has its tasks does again what it could not commit. Nothing is lost, and nothing failed.
    const passedBy = ['COMMIT_REJECTED', 'MEMBER_LOST'].includes(codeOf(this.#broken) ?? '')
    if (this.#broken !== undefined && !passedBy) throw this.#broken
  }

  async #abandon(): Promise<void> {
    this.#stop.abort()
    await this.#keepOnly()
    await this.#membership?.leave({ keep: !this.#leaves }).catch(() => {})
    await this.#fetcher?.close().catch(() => {})
    await this.#claims.close()
  }
}
