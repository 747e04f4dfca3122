/**
 * A simulated Kafka as the ground of a simulated world: brokers that go on whatever happens to their clients, and in each worker the real
 * driver over simulated sockets. Every worker is a machine of its own; a "process" of the world is then all of them at once.
 */
import { nativeCodecs } from '../../drivers/codecs/index.ts'
import { openClient } from '../../drivers/kafka/client.ts'
import type { Dial } from '../../drivers/kafka/sockets.ts'
import { GROUP_COORDINATOR, TRANSACTION_COORDINATOR } from '../../drivers/kafka/wire/find-coordinator.ts'
import { groupOf } from '../../plan/naming.ts'
import type { Clock, Random } from '../../ports/clock.ts'
import type { Log } from '../../ports/log.ts'
import { DEFAULT_LIMITS } from '../../ports/record-batch/index.ts'
import { TEST_EPOCH_MS } from '../clock.ts'
import { eyeOf, type Fate, SimKafka, served, simulatedDial, virtualTimeline, type Weather } from '../kafka-sim/index.ts'
import { around, between, type FaultKind, oneOf, streamOf } from './faults.ts'
import type { Ground, Hands, Hosted, Life } from './ground.ts'
import { Owner, virtualClock } from './scheduler.ts'
import type { World } from './world.ts'

/** Time of a marker, of news among brokers, and after the time of a transaction, on average where nothing is wrong, ms. */
const USUAL_MS = { marker: 1, news: 4, cleanup: 300 }
/** The same where something is. */
const LATE_MS = { marker: 300, news: 60, overtaken: 15, request: 1_200, quota: 400 }
const CONNECT_MS = 3_000
/** The requests that a commit is made of. */
const OF_COMMITS: ReadonlySet<string> = new Set(['AddPartitionsToTxn', 'Produce', 'AddOffsetsToTxn', 'TxnOffsetCommit', 'EndTxn'])

/** Who is connected, and when answers reach it. */
interface Client {
  readonly name: string
  readonly program: Owner
  readonly link: Owner
  readonly clock: Clock
  readonly dial: (dial: Dial) => Dial
}

export class KafkaGround implements Ground {
  readonly kafka: SimKafka
  readonly #world: World
  readonly #inputs = new Set<string>()
  readonly #legs: Random
  #hands: Hands | undefined

  constructor(world: World) {
    this.#world = world
    const { seed, scheduler, settings, faults } = world.parts
    const usual = streamOf(seed, 'brokers')
    this.#legs = streamOf(seed, 'legs')
    const late = (kind: FaultKind, usualMs: number, lateMs: number, chance: number): number => {
      const struck = faults.has(kind) && faults.active && faults.random(kind).unit() < chance
      return around(usual, usualMs) + (struck ? around(faults.random(kind), lateMs) : 0)
    }
    this.kafka = new SimKafka({
      timeline: virtualTimeline(scheduler, new Owner('brokers'), TEST_EPOCH_MS),
      codecs: nativeCodecs,
      protocol: settings.transactionProtocol,
      epochMax: settings.epochMax,
      markerMs: () => late('markers-late', USUAL_MS.marker, LATE_MS.marker, 0.2),
      newsMs: () => late('leader-moves', USUAL_MS.news, LATE_MS.news, 0.5),
      cleanupMs: () => around(usual, USUAL_MS.cleanup),
      unsure: () => faults.strikes('write-unsure'),
      throttle: () => (faults.strikes('quota-used-up') ? Math.ceil(around(faults.random('quota-used-up'), LATE_MS.quota)) : 0),
    })
  }

  async open(life: Life): Promise<Hosted> {
    const { parts, wall } = this.#world
    const { scheduler, graph, bug, seed } = parts
    for (const node of graph.nodes) if (node.kind === 'source') this.#inputs.add(node.topic)
    const clock = virtualClock(scheduler, life.owner, wall, () => 0)
    const { owner } = life
    return {
      failure: undefined,
      seen: eyeOf(this.kafka),
      hides: (topic, partition) => this.kafka.partition(topic, partition)?.hides === true,
      plain: await this.#client({ name: `${owner.name} plain`, program: owner, link: owner, clock, dial: (dial) => dial }, seed),
      worker: async (worker, linkClock) => {
        const { owner: program, link } = worker
        return await this.#client(
          { name: `${program.name} driver`, program, link, clock: linkClock, dial: bug.dial?.() ?? ((dial) => dial) },
          seed,
        )
      },
      close: () => Promise.resolve(),
    }
  }

  #client({ name, program, link, clock, dial }: Client, seed: number): Promise<Log> {
    const { scheduler, settings } = this.#world.parts
    const site = {
      program: virtualTimeline(scheduler, program, TEST_EPOCH_MS),
      road: virtualTimeline(scheduler, link, TEST_EPOCH_MS),
      cutOff: () => link.still,
      weather: this.#weather(program, link),
    }
    return openClient({
      of: {
        seeds: this.kafka.seeds,
        link: { clientId: name, ssl: undefined, sasl: undefined, connectMs: CONNECT_MS },
        clock,
        random: streamOf(seed, name),
        dial: dial(simulatedDial(served(this.kafka), site)),
      },
      codecs: nativeCodecs,
      limits: DEFAULT_LIMITS,
      replication: -1,
      transactionMs: settings.transactionMs,
    })
  }

  #weather(program: Owner, link: Owner): Weather {
    const { faults, settings } = this.#world.parts
    const strikes = (kind: FaultKind): boolean => faults.strikes(kind, settings.requestFaults)
    return {
      // As on the embedded log: at least once, only time keeps a former owner's request from the changelog of the next one.
      ...(settings.guarantee === 'at-least-once' ? { lostMs: settings.sessionMs / 4, gone: () => program.dead } : {}),
      legMs: () => around(this.#legs, settings.legMs),
      // Late enough to come among others, or late enough that everybody has given up.
      lateMs: () => around(this.#world.chance, this.#world.chance.unit() < 0.5 ? LATE_MS.overtaken : LATE_MS.request),
      onLate: () => this.#world.onLate(),
      fate: (api): Fate => {
        if (OF_COMMITS.has(api) && strikes('commit-stops')) {
          this.#hands?.still(faults.random('commit-stops').unit() < 0.5 ? program : link, 'commit-stops')
        }
        if (strikes('request-lost')) return 'lost'
        if (strikes('request-late')) return 'late'
        if (strikes('answer-lost')) return 'unanswered'
        if (!strikes('answer-slow')) return 'well'
        return faults.random('answer-slow').unit() < 0.5 ? 'slow' : 'slow-answer'
      },
    }
  }

  died(): boolean {
    return false
  }

  free(): boolean {
    return true
  }

  deeds(hands: Hands): ReturnType<Ground['deeds']> {
    this.#hands = hands
    const { kafka } = this
    const { faults } = this.#world.parts
    return {
      'leader-moves': () => {
        const random = faults.random('leader-moves')
        const partitions = [...kafka.topics.values()].flatMap((topic) => topic.partitions)
        if (partitions.length > 0) kafka.moveLeader(oneOf(random, partitions), this.#broker(random))
      },
      'coordinator-moves': () => {
        const random = faults.random('coordinator-moves')
        const kind = oneOf(random, [GROUP_COORDINATOR, TRANSACTION_COORDINATOR])
        kafka.moveCoordinator(kind, between(random, 0, 3), this.#broker(random))
      },
      'broker-dies': () => {
        const random = faults.random('broker-dies')
        if (kafka.running.length < 2) return
        const node = this.#broker(random)
        kafka.stop(node)
        hands.until(around(random, 1_500), () => kafka.start(node))
      },
      'log-trimmed': () => this.#trim(faults.random('log-trimmed')),
    }
  }

  #broker(random: Random): number {
    return oneOf(random, this.kafka.running)
  }

  /** Retention removes what everybody has read, or a part of it. */
  #trim(random: Random): void {
    const { positions } = this.kafka.group(groupOf(this.#world.parts.graph.name)).offsets.truth
    const inputs = [...positions].filter(([name]) => this.#inputs.has(name.slice(0, name.lastIndexOf('/'))))
    if (inputs.length === 0) return
    const [name, position] = oneOf(random, inputs)
    const slash = name.lastIndexOf('/')
    this.kafka.partition(name.slice(0, slash), Number(name.slice(slash + 1)))?.trim(between(random, 0, position))
  }

  mend(): void {
    for (const node of this.kafka.nodeIds) this.kafka.start(node)
  }
}
