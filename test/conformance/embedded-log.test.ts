import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { nativeCodecs } from '../../src/drivers/codecs/index.ts'
import { EMBEDDED_MANIFEST, openEmbeddedLog } from '../../src/drivers/embedded/index.ts'
import { nodeClock, nodeFs, nodeRandom } from '../../src/drivers/node/index.ts'
import { simulatedDisk } from '../../src/testing/disk.ts'
import { logSuite } from '../../src/testing/log-suite.ts'

const shared = { clock: nodeClock, random: nodeRandom, codecs: nativeCodecs, manifest: EMBEDDED_MANIFEST, sessionMs: 1_000 }

logSuite({
  ...shared,
  name: 'embedded log on the disk of this machine',
  make: async () => {
    const folder = join(await mkdtemp(join(tmpdir(), 'tidemark-log-')), 'log')
    const options = { ...shared, folder, fs: nodeFs, segmentBytes: 256 * 1024 }
    let log = await openEmbeddedLog(options)
    return {
      connect: () => Promise.resolve(log.client()),
      compact: async (topic) => void (await log.compact(topic)),
      restart: async () => {
        await log.close()
        log = await openEmbeddedLog(options)
      },
      stop: async () => {
        await log.close()
        await rm(folder, { recursive: true })
      },
    }
  },
})

// Small segments, a sync before every commit, and a process that dies instead of being closed.
logSuite({
  ...shared,
  name: 'embedded log on a simulated disk',
  make: async () => {
    const disk = simulatedDisk({ random: nodeRandom })
    const open = () =>
      openEmbeddedLog({ ...shared, folder: '/log', fs: disk.fs, fsync: 'commit', segmentBytes: 16 * 1024, journalBytes: 2_048 })
    let log = await open()
    return {
      connect: () => Promise.resolve(log.client()),
      compact: async (topic) => void (await log.compact(topic)),
      restart: async () => {
        disk.powerCut()
        log = await open()
      },
      stop: () => log.close(),
    }
  },
})
