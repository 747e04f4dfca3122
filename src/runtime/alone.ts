/**
 * Being alone with an application: a member of its group beside which there is no other. A worker that comes meanwhile is let in, which ends the
 * work; what is committed in this member's name is refused from that moment on.
 */
import { TidemarkError } from '../base/errors.ts'
import { groupOf } from '../plan/naming.ts'
import type { GroupEvent, Identity, Log, Membership } from '../ports/log.ts'

export interface Alone {
  /** In whose name to commit: valid only as long as nobody else has come. */
  readonly identity: Identity
  /** Aborted, with the reason, when somebody else comes, or the caller's signal is. */
  readonly signal: AbortSignal
}

/** How long the group waits for this member when it is silent, ms: it may die in the middle. */
const SESSION_MS = 10_000

/**
 * Does `work` while nobody runs the application.
 * @throws TidemarkError APP_RUNNING when somebody does, or begins to
 */
export async function alone<T>(app: string, log: Log, outer: AbortSignal, work: (alone: Alone) => Promise<T>): Promise<T> {
  let members = 0
  const membership = await log.join(groupOf(app), {
    instance: undefined,
    sessionMs: SESSION_MS,
    // Bytes that are no worker's: one that leads gives this member nothing.
    userData: () => new Uint8Array(0),
    assign: (all) => {
      members = all.length
      return new Map(all.map(({ member }) => [member, { partitions: [], userData: new Uint8Array(0) }]))
    },
  })
  const over = new AbortController()
  const signal = AbortSignal.any([outer, over.signal])
  try {
    const event = await heard(membership, outer)
    if (event.kind === 'lost') throw event.error
    // Whom another one leads has company as well.
    if (event.kind !== 'assigned' || members !== 1) throw running(app)
    const watch = async (): Promise<void> => {
      const next = await heard(membership, over.signal)
      if (next.kind === 'revoking') next.done()
      over.abort(running(app))
    }
    void watch().catch((error: unknown) => over.abort(error))
    return await work({ identity: event.identity, signal })
  } catch (error) {
    throw over.signal.aborted && !outer.aborted ? over.signal.reason : error
  } finally {
    over.abort()
    await membership.leave({ keep: false }).catch(() => {})
  }
}

/** The next event that changes anything. */
async function heard(membership: Membership, signal: AbortSignal): Promise<Exclude<GroupEvent, { kind: 'troubled' }>> {
  for (;;) {
    const event = await membership.next(signal)
    if (event.kind !== 'troubled') return event
  }
}

function running(app: string): TidemarkError {
  return new TidemarkError('APP_RUNNING', `workers run "${app}"`, {
    hint: 'Stop them first. One that was killed counts until its session is over, which takes 10 s unless it was set otherwise.',
  })
}
