/** What a group knows of positions, held against a coordinator that is deposed while it is asked. */
import { expect, test } from 'vitest'
import type { OffsetFetchRequest } from '../../../src/drivers/kafka/wire/offset-fetch.ts'
import type { Tap } from '../../simulation/kafka-tap.ts'
import { simulatedKafka } from './simulated.ts'

test('a position is not missing because a coordinator that was just deposed has forgotten it', async () => {
  const { connect } = simulatedKafka()
  let forgets = 0
  let asked = 0
  const tap: Tap = {
    answers: {
      OffsetFetch: ({ groups }: OffsetFetchRequest) => {
        asked++
        if (forgets-- <= 0) return undefined
        const none = { committedOffset: -1, committedLeaderEpoch: -1, metadata: '', error: 0 }
        return {
          throttleMs: 0,
          groups: groups.map(({ groupId, topics }) => ({
            groupId,
            error: 0,
            topics: (topics ?? []).map(({ topic, partitions }) => ({
              topic,
              partitions: partitions.map((partition) => ({ partition, ...none })),
            })),
          })),
        }
      },
    },
  }
  const log = await connect(tap)
  await log.ensure([{ name: 'in', partitions: 2, cleanup: 'delete', retentionMs: -1 }])
  await log.commitPositions({ group: 'group', identity: undefined, positions: new Map([['in/0', 7]]) })
  forgets = 1
  expect(await log.committed('group', ['in/0', 'in/1'])).toEqual(new Map([['in/0', 7]]))
  // What is there is asked for once.
  asked = 0
  expect(await log.committed('group', ['in/0'])).toEqual(new Map([['in/0', 7]]))
  expect(asked).toBe(1)
  await log.close()
})
