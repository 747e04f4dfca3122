/** The Kafka driver over simulated brokers on the clock of this machine, with a tap on its sockets. */
import { nativeCodecs } from '../../../src/drivers/codecs/index.ts'
import { openClient } from '../../../src/drivers/kafka/client.ts'
import type { Dial } from '../../../src/drivers/kafka/sockets.ts'
import { nodeClock, nodeRandom } from '../../../src/drivers/node/index.ts'
import type { Log } from '../../../src/ports/log.ts'
import { DEFAULT_LIMITS } from '../../../src/ports/record-batch/index.ts'
import { FAIR_WEATHER, realTimeline, SimKafka, served, simulatedDial } from '../../../src/testing/kafka-sim/index.ts'
import { type Tap, tapped } from '../../simulation/kafka-tap.ts'

export interface Simulated {
  readonly kafka: SimKafka
  readonly connect: (tap?: Tap) => Promise<Log>
}

export function simulatedKafka(protocol: 1 | 2 = 2): Simulated {
  const timeline = realTimeline(nodeClock)
  const kafka = new SimKafka({ timeline, codecs: nativeCodecs, protocol })
  const dial: Dial = simulatedDial(served(kafka), { program: timeline, road: timeline, cutOff: () => false, weather: FAIR_WEATHER })
  const link = { clientId: 'test', ssl: undefined, sasl: undefined, connectMs: 3_000 }
  const connect = (tap: Tap = {}): ReturnType<typeof openClient> =>
    openClient({
      of: { seeds: kafka.seeds, link, clock: nodeClock, random: nodeRandom, dial: tapped(dial, tap) },
      codecs: nativeCodecs,
      limits: DEFAULT_LIMITS,
      replication: -1,
      transactionMs: 3_000,
    })
  return { kafka, connect }
}

export async function eventually(holds: () => boolean | Promise<boolean>, what: string, ms = 15_000): Promise<void> {
  for (const since = performance.now(); !(await holds()); await nodeClock.sleep(5)) {
    if (performance.now() - since > ms) throw new Error(`waited ${ms} ms for ${what}`)
  }
}
