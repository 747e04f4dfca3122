import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { levelState } from '../../src/drivers/level/index.ts'
import { type StoreSuiteOptions, storeSuite } from '../../src/testing/store-suite.ts'

const makeWith =
  (options: { writeBufferBytes?: number; cacheBytes?: number }): StoreSuiteOptions['make'] =>
  async () => {
    const folder = await mkdtemp(join(tmpdir(), 'tidemark-level-'))
    return { driver: levelState({ folder, ...options }), cleanup: () => rm(folder, { recursive: true, force: true }) }
  }

storeSuite({ name: 'level', make: makeWith({}) })
// The smallest buffers that LevelDB takes, so that rows are read from its tables and not only from its memory.
storeSuite({ name: 'level with small buffers', make: makeWith({ writeBufferBytes: 65_536, cacheBytes: 0 }) })
