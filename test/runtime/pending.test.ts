/** Loading what a record needs happens beside the loop, and the loop lets it. */
import { execFile } from 'node:child_process'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { expect, test } from 'vitest'

test('a task that waits for a schema does not keep the process from reading it', async () => {
  const dir = await mkdtemp(join(tmpdir(), 'tidemark-'))
  const program = join(import.meta.dirname, '..', 'fixtures', 'late-schemas.ts')
  // The limit is for a process that hangs: it would never end by itself.
  const { stdout } = await promisify(execFile)(process.execPath, [program, dir], { timeout: 30_000, killSignal: 'SIGKILL' })
  expect(JSON.parse(stdout)).toEqual({ value: { mayInvoiceByEmail: true, changes: 1 }, asked: 1 })
  await rm(dir, { recursive: true })
})
