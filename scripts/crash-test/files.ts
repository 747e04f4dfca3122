/** Drivers with small files: segments, journal and LevelDB's buffers of a few kilobytes, so that little data already has many of each. */
import { join } from 'node:path'
import { openEmbeddedLog } from '../../src/drivers/embedded/index.ts'
import { levelState } from '../../src/drivers/level/index.ts'
import { nodeFs } from '../../src/drivers/node/index.ts'
import type { LogDriver } from '../../src/ports/log.ts'
import type { StateDriver } from '../../src/ports/store.ts'

export function smallLog(dir: string): LogDriver {
  return {
    name: 'embedded',
    open: async ({ clock, random, codecs }) => {
      const sizes = { segmentBytes: 16 * 1024, journalBytes: 1024, compactionBytes: 64 * 1024 }
      const broker = await openEmbeddedLog({ folder: join(dir, 'log'), fs: nodeFs, clock, random, codecs, ...sizes })
      return { log: broker.client(), close: () => broker.close() }
    },
  }
}

export function smallState(dir: string): StateDriver {
  return levelState({ folder: join(dir, 'state'), writeBufferBytes: 64 * 1024, cacheBytes: 0 })
}
