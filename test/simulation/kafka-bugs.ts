/**
 * Deliberate bugs of a Kafka client, one at a time: what its brokers would see of it. Each must be found on the simulated Kafka, or the
 * simulator has rotted. `seed` is known to find it.
 */
import { Cluster } from '../../src/drivers/kafka/cluster.ts'
import type { CoordinatorCall, CoordinatorKind } from '../../src/drivers/kafka/coordinator.ts'
import type { JoinGroupResponse } from '../../src/drivers/kafka/wire/join-group.ts'
import type { OffsetFetchRequest } from '../../src/drivers/kafka/wire/offset-fetch.ts'
import type { ProduceRequest } from '../../src/drivers/kafka/wire/produce.ts'
import type { TxnOffsetCommitRequest } from '../../src/drivers/kafka/wire/txn-offset-commit.ts'
import type { Bug, Settings } from '../../src/testing/simulate.ts'
import type { NamedBug } from './bugs.ts'
import { resequenced, type SentBatch, type Tap, tapped } from './kafka-tap.ts'

/** A tap of its own for each worker, for it may remember. */
const withTap = (make: () => Tap): Bug => ({
  dial: () => {
    const tap = make()
    return (dial) => tapped(dial, tap)
  },
})

const anonymous = (request: TxnOffsetCommitRequest): TxnOffsetCommitRequest => ({
  ...request,
  generationId: -1,
  memberId: '',
  instanceId: null,
})

/** Whoever it is now commits what it had when it was another. */
const identityOfTheMoment = (): Tap => {
  let now: { readonly generationId: number; readonly memberId: string } | undefined
  return {
    hears: {
      JoinGroup: ({ error, generationId, memberId }: JoinGroupResponse) => {
        if (error === 0) now = { generationId, memberId }
      },
    },
    sends: { TxnOffsetCommit: (request: TxnOffsetCommitRequest) => ({ ...request, ...now }) },
  }
}

/** What is sent again is numbered anew. */
const numberedAnew = (): Tap => {
  const lanes = new Map<string, { readonly seen: Set<number>; shift: number }>()
  const sequenceOf = ({ partition, producerId, epoch, sequence, count }: SentBatch): number => {
    const name = `${producerId} ${epoch} ${partition}`
    const lane = lanes.get(name) ?? { seen: new Set<number>(), shift: 0 }
    lanes.set(name, lane)
    if (lane.seen.has(sequence)) lane.shift += count
    lane.seen.add(sequence)
    return sequence + lane.shift
  }
  return { sends: { Produce: (request: ProduceRequest) => resequenced(request, sequenceOf) } }
}

/** Sequences go on from one epoch to the next, as under protocol 1. */
const numbersGoOn = (): Tap => {
  const lanes = new Map<string, { epoch: number; before: number; next: number }>()
  const sequenceOf = ({ partition, producerId, epoch, sequence, count }: SentBatch): number => {
    const name = `${producerId} ${partition}`
    const lane = lanes.get(name) ?? { epoch, before: 0, next: 0 }
    lanes.set(name, lane)
    if (lane.epoch !== epoch) {
      lane.epoch = epoch
      lane.before = lane.next
    }
    lane.next = Math.max(lane.next, lane.before + sequence + count)
    return lane.before + sequence
  }
  return { sends: { Produce: (request: ProduceRequest) => resequenced(request, sequenceOf) } }
}

/** Whatever was not answered is sent again, EndTxn of protocol 1 as well. */
const endAgain = (): (() => void) => {
  const real = Object.getOwnPropertyDescriptor(Cluster.prototype, 'askCoordinator') as PropertyDescriptor
  const ask = real.value as Cluster['askCoordinator']
  Cluster.prototype.askCoordinator = function <Request, Response>(
    kind: CoordinatorKind,
    key: string,
    call: CoordinatorCall<Request, Response>,
  ): Promise<Response> {
    return ask.call(this, kind, key, (call.api.name === 'EndTxn' ? { ...call, again: true } : call) as never) as Promise<Response>
  }
  return () => Object.defineProperty(Cluster.prototype, 'askCoordinator', real)
}

/** Over a slow network much happens between a request and its answer. */
const SLOW: Partial<Settings> = { sessionMs: 1_500, workers: 2, activeMs: 8_000, requestFaults: 6, legMs: 15 }

export const KAFKA_BUGS: readonly NamedBug[] = [
  {
    name: 'nobodys-positions',
    about: 'positions are committed in a transaction without member and generation',
    bug: withTap(() => ({ sends: { TxnOffsetCommit: anonymous } })),
    faults: ['commit-stops'],
    settings: SLOW,
    seed: 2,
  },
  {
    name: 'identity-of-the-moment',
    about: 'positions are committed as the member that one is now, not as the one that read the records',
    bug: withTap(identityOfTheMoment),
    faults: ['answer-slow', 'worker-moves'],
    settings: { ...SLOW, transactionMs: 10_000, requestFaults: 20 },
    seed: 25,
  },
  {
    name: 'end-sent-again',
    about: 'under protocol 1 the end of a transaction is sent again when it was not answered',
    bug: { patch: endAgain },
    faults: ['request-late'],
    settings: { transactionProtocol: 1, commitIntervalMs: 0, chunk: 1, requestFaults: 12, legMs: 15 },
    seed: 72,
  },
  {
    name: 'numbered-anew',
    about: 'a batch that is sent again gets another sequence',
    bug: withTap(numberedAnew),
    faults: ['answer-lost', 'write-unsure'],
    seed: 3,
  },
  {
    name: 'unstable-positions',
    about: 'positions are read although a transaction is about to change them',
    bug: withTap(() => ({ sends: { OffsetFetch: (request: OffsetFetchRequest) => ({ ...request, requireStable: false }) } })),
    faults: ['markers-late', 'worker-moves', 'worker-kill'],
    seed: 3,
  },
  {
    name: 'numbers-go-on',
    about: 'sequences are not begun anew with the epoch',
    bug: withTap(numbersGoOn),
    settings: { transactionProtocol: 2 },
    seed: 1,
  },
]
