/** The ear: a log that owes an answer for longer than a moment is told soon, since when, and when it answers again. */
import { expect, test } from 'vitest'
import { manualClock } from '#tidemark/testing'
import { TidemarkError } from '../../src/base/errors.ts'
import { Ear, Silence } from '../../src/cli/ear.ts'
import type { Log, LogDriver } from '../../src/ports/log.ts'

/** A log whose `describe` answers when the test says so. */
function slow() {
  const clock = manualClock()
  const waiting: { readonly answer: () => void; readonly fail: (error: unknown) => void }[] = []
  const describe = () =>
    new Promise<[]>((resolve, reject) => {
      waiting.push({ answer: () => resolve([]), fail: reject })
    })
  const driver: LogDriver = { name: 'slow', open: async () => ({ log: { describe } as unknown as Log, close: async () => {} }) }
  const ear = new Ear(clock)
  const told: string[] = []
  const silence = new Silence(ear, clock, (kind, text) => told.push(`${kind}: ${text}`))
  return {
    clock,
    told,
    silence,
    ear,
    log: async () => (await ear.listened(driver).open({} as never)).log,
    answer: async () => waiting.shift()?.answer(),
    fail: async (code: 'BROKER_UNREACHABLE' | 'NOT_AUTHORIZED') => waiting.shift()?.fail(new TidemarkError(code, 'no')),
  }
}

test('a call that is answered in time is not worth a word, and idleness is no silence', async () => {
  const { clock, silence, told, log, answer } = slow()
  const call = (await log()).describe()
  await clock.advance(1_000)
  await answer()
  await call
  await clock.advance(60_000)
  silence.look()
  expect([told, silence.text]).toEqual([[], undefined])
})

test('one that is late is told once, with the time since when, and so is the first answer after it', async () => {
  const { clock, silence, told, log, answer } = slow()
  const call = (await log()).describe()
  for (let tick = 0; tick < 40; tick++) {
    await clock.advance(100)
    silence.look()
  }
  const since = new Date(clock.now() - 4_000).toTimeString().slice(0, 8)
  expect(silence.text).toBe(`no broker answers since ${since}`)
  await answer()
  await call
  silence.look()
  expect(silence.text).toBeUndefined()
  expect(told).toEqual([
    `warning: no broker answers since ${since}; what is committed is safe, and work goes on when one is back`,
    'note: a broker answers again, after 4 s',
  ])
})

test('between two tries that nobody answered it is silent too, and a refusal is an answer', async () => {
  const { clock, silence, log, fail } = slow()
  const opened = await log()
  const first = opened.describe().catch(() => {})
  await clock.advance(1_000)
  await fail('BROKER_UNREACHABLE')
  await first
  await clock.advance(1_000)
  silence.look()
  expect(silence.text).toMatch(/^no broker answers since /)
  const second = opened.describe().catch(() => {})
  await fail('NOT_AUTHORIZED')
  await second
  silence.look()
  expect(silence.text).toBeUndefined()
})
