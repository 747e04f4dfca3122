import { type ChildProcess, spawn } from 'node:child_process'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { fileURLToPath } from 'node:url'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { nativeCodecs } from '../../../src/drivers/codecs/index.ts'
import { openEmbeddedLog } from '../../../src/drivers/embedded/index.ts'
import { nodeClock, nodeFs, nodeRandom } from '../../../src/drivers/node/index.ts'
import { codeFrom, readValues, seededRandom } from './kit.ts'

const WRITER = fileURLToPath(new URL('./kill-writer.ts', import.meta.url))
const ROUNDS = 10
const real = { fs: nodeFs, clock: nodeClock, random: nodeRandom, codecs: nativeCodecs }

interface Life {
  readonly child: ChildProcess
  readonly lines: string[]
  /** When it has printed so many lines. */
  said(count: number): Promise<void>
  readonly ended: Promise<void>
}

const children: ChildProcess[] = []

function start(folder: string): Life {
  const child = spawn(process.execPath, ['--disable-warning=ExperimentalWarning', WRITER, folder], { stdio: ['ignore', 'pipe', 'inherit'] })
  children.push(child)
  const lines: string[] = []
  let wake = (): void => {}
  createInterface({ input: child.stdout as NodeJS.ReadableStream }).on('line', (line) => {
    lines.push(line)
    wake()
  })
  const ended = new Promise<void>((resolve) => child.on('close', () => resolve()))
  const said = async (count: number): Promise<void> => {
    while (lines.length < count && child.exitCode === null && child.signalCode === null) {
      await Promise.race([
        ended,
        new Promise<void>((resolve) => {
          wake = resolve
        }),
      ])
    }
  }
  return { child, lines, said, ended }
}

describe('a process on a real disk', () => {
  let folder: string

  beforeAll(async () => {
    folder = join(await mkdtemp(join(tmpdir(), 'tidemark-kill-')), 'log')
  })

  afterAll(async () => {
    for (const child of children) child.kill('SIGKILL')
    await rm(folder, { recursive: true, force: true })
  })

  it('that is killed again and again loses nothing that was acknowledged, and repeats nothing', { timeout: 120_000 }, async () => {
    const random = seededRandom(11)
    let acknowledged = 0
    for (let round = 0; round < ROUNDS; round++) {
      const life = start(folder)
      await life.said(2 + Math.floor(random.unit() * 60))
      life.child.kill('SIGKILL')
      await life.ended
      const [opened, ...numbers] = life.lines
      expect(opened).toMatch(/^open \d+$/)
      const from = Number(opened?.slice(5))
      // The commit that was under way when the kill came may have been decided.
      expect(from === acknowledged || from === acknowledged + 1).toBe(true)
      expect(numbers.map(Number)).toEqual(numbers.map((_, i) => from + 1 + i))
      acknowledged = from + numbers.length
    }
    const log = await openEmbeddedLog({ ...real, folder })
    const client = log.client()
    const committed = (await client.committed('g', ['a/0'])) as ReadonlyMap<string, number>
    const last = committed.get('a/0') as number
    expect(last === acknowledged || last === acknowledged + 1).toBe(true)
    for (const partition of ['a/0', 'a/1', 'a/2']) {
      const numbers = (await readValues(client, partition)).map((value) => Number(value?.split(' ')[0]))
      expect(numbers).toEqual(Array.from({ length: last }, (_, i) => i + 1))
    }
    expect(await client.offsets(['a/0'], 'stable')).toEqual(await client.offsets(['a/0'], 'high'))
    await log.close()
  })

  it('shares its directory with no other process, and with no other opening of its own', { timeout: 60_000 }, async () => {
    const log = await openEmbeddedLog({ ...real, folder })
    expect(await codeFrom(openEmbeddedLog({ ...real, folder }))).toBe('LOG_LOCKED')
    const second = start(folder)
    await second.ended
    expect(second.lines).toEqual(['refused LOG_LOCKED'])
    expect((await log.client().describe()).length).toBe(1)
    await log.close()
    // The lock of a process that is killed ends with it.
    const third = start(folder)
    await third.said(1)
    expect(third.lines[0]).toMatch(/^open/)
    expect(await codeFrom(openEmbeddedLog({ ...real, folder }))).toBe('LOG_LOCKED')
    third.child.kill('SIGKILL')
    await third.ended
    const again = await openEmbeddedLog({ ...real, folder })
    await again.close()
  })
})
