/**
 * Commits of positions outside transactions, as at-least-once work makes them. One whose answer was lost is sent again, and the lost one may
 * still arrive after that: it takes the positions back, and where nothing new comes the group would stand behind for ever, though everything is
 * done. So what was committed last is committed once more, some time after such a loss.
 */
import type { Clock } from '../../ports/clock.ts'
import type { GroupPositions, PartitionName } from '../../ports/log.ts'
import type { Cluster } from './cluster.ts'
import { commitPositions } from './positions.ts'

/**
 * How long after a loss, ms: chosen, not measured. What comes even later takes the positions back all the same, until the next commit; nothing is
 * lost by that, and a restart does again what lies between.
 */
const AGAIN_MS = 10_000

export class PositionCommits {
  readonly #cluster: Cluster
  readonly #clock: Clock
  /** Of each group what its member has committed, as long as it was the same member of the same generation. */
  readonly #last = new Map<string, GroupPositions>()
  readonly #waiting = new Map<string, AbortController>()

  constructor(cluster: Cluster, clock: Clock) {
    this.#cluster = cluster
    this.#clock = clock
  }

  /**
   * Positions without a member, such as a reset's, are committed once: later somebody may have set others on purpose.
   * @throws TidemarkError as `commitPositions`
   */
  async commit(positions: GroupPositions): Promise<void> {
    if (positions.identity === undefined) return await commitPositions(this.#cluster, positions)
    let lost = false
    try {
      await commitPositions(this.#cluster, positions, () => {
        lost = true
      })
      this.#last.set(positions.group, joined(this.#last.get(positions.group), positions))
    } finally {
      if (lost) this.#commitAgainLater(positions.group)
    }
  }

  close(): void {
    for (const waiting of this.#waiting.values()) waiting.abort()
    this.#waiting.clear()
  }

  #commitAgainLater(group: string): void {
    this.#waiting.get(group)?.abort()
    const waiting = new AbortController()
    this.#waiting.set(group, waiting)
    void this.#clock.sleep(AGAIN_MS, waiting.signal).then(
      () => {
        this.#waiting.delete(group)
        const last = this.#last.get(group)
        // Who is not the owner any more is refused, and whoever is has gone on from what the group knew. No answer is a loss, and comes here again.
        if (last !== undefined) void this.commit(last).catch(() => undefined)
      },
      () => undefined,
    )
  }
}

function joined(before: GroupPositions | undefined, { group, identity, positions }: GroupPositions): GroupPositions {
  const same = before?.identity?.member === identity?.member && before?.identity?.generation === identity?.generation
  const all = new Map<PartitionName, number>(same ? before?.positions : [])
  for (const [partition, position] of positions) all.set(partition, Math.max(position, all.get(partition) ?? 0))
  return { group, identity, positions: all }
}
