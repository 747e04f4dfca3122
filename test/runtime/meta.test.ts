/** What a commit says of its task, in its bytes. */
import { expect, test } from 'vitest'
import { decodeMeta, encodeMeta, type TaskMeta } from '../../src/runtime/meta.ts'

const META: TaskMeta = {
  generation: 2,
  positions: new Map([
    ['a.in/0', 17],
    ['b.in/0', 300],
  ]),
  recorded: new Map([['a.in/0', 1_700_000_000_000]]),
  topicIds: new Map([
    ['a.in', 'NVpoBmNqSiaTVdM4Ht-bjg'],
    ['b.in', 'hHkVd8j5QOeZTnsJpBf7Rg'],
  ]),
  schemas: [1, 7],
  stores: new Map(),
  heard: new Map([
    [
      'b.in/0',
      new Map([
        ['src/0', { position: 12, through: 1_700_000_000_000 }],
        ['src/1', { position: 0, through: undefined }],
        ['a.in/1 far/3', { position: 4, through: 0 }],
      ]),
    ],
  ]),
}

test('what a commit says of its task comes back as it was', () => {
  expect(decodeMeta(encodeMeta(META))).toEqual(META)
})
