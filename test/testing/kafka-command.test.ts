/** `npm run kafka`, as a process: whatever ends its broker, it says so and ends as well. */
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { expect, onTestFinished, test } from 'vitest'
import { freePorts } from '../../src/testing/broker/ports.ts'
import { describeUnless, whyNotStarted } from '../kafka/shared.ts'

const SCRIPT = join(import.meta.dirname, '..', '..', 'scripts', 'kafka.ts')

describeUnless(await whyNotStarted(), 'a Kafka for a developer', () => {
  /** Starts one, and ends it with the test. */
  async function begun() {
    const folder = mkdtempSync(join(tmpdir(), 'tidemark-developer-'))
    const [port] = await freePorts(1)
    const child = spawn(process.execPath, [SCRIPT, '--port', `${port}`, '--folder', folder], { stdio: ['ignore', 'pipe', 'pipe'] })
    let said = ''
    for (const stream of [child.stdout, child.stderr]) {
      stream.setEncoding('utf8').on('data', (text: string) => {
        said += text
      })
    }
    const ended = once(child, 'close').then(([code]) => code as number | null)
    onTestFinished(async () => {
      child.kill('SIGKILL')
      await ended
      rmSync(folder, { recursive: true, force: true, maxRetries: 20 })
    })
    while (!said.includes('No topic makes itself')) {
      const over = await Promise.race([ended, new Promise<'not yet'>((resolve) => setTimeout(resolve, 50, 'not yet'))])
      if (over !== 'not yet') throw new Error(`it ended with ${over}: ${said}`)
    }
    return { child, ended, port, said: () => said }
  }

  test('says that its broker was killed, and that the data is there, and fails', { timeout: 60_000 }, async () => {
    const { ended, port, said } = await begun()
    const [, pid] = /node 1 .* process (\d+)/.exec(said()) ?? []
    process.kill(Number(pid), 'SIGKILL')
    expect(await ended).toBe(1)
    expect(said()).toContain(`node 1 (port ${port}, process ${pid}) ended, and not because it was stopped here. No node is left.`)
    expect(said()).toMatch(/The data stays in .*\. The same command starts it again\.\n$/)
  })

  test('stops in silence and with success when it is told to', { timeout: 60_000 }, async () => {
    const { child, ended, said } = await begun()
    child.kill('SIGINT')
    expect(await ended).toBe(0)
    expect(said()).toMatch(/stopping\.\.\.\n$/)
  })
})
