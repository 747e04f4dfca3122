/** `tidemark dead`: what failed is listed, shown and put back, once, in a folder and on Kafka. */
import { cpSync, mkdirSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, test } from 'vitest'
import { describeUnless, startOwn, whyNoneOwn } from '../kafka/shared.ts'
import { tidemark as asProcess, Command, type Ended, inProcess, lastLine, ROOT, SHOP, temporary } from './tidemark.ts'

const tidemark = (...args: readonly string[]): Promise<Ended> => inProcess(args)
const LENIENT = `${SHOP}/lenient.ts`

/** A folder in which one order was not readable, and another one not translatable. */
async function failed(): Promise<string> {
  const dir = temporary()
  expect((await tidemark('dev', SHOP, '--dir', dir, '--once', '--broken', '--negative')).out).toContain('dead-lettered 2')
  return dir
}

interface Rows {
  readonly orders: number
  readonly units: number
}

async function rowsIn(dir: string): Promise<Rows> {
  const { out } = await tidemark('export', 'demand-by-sku', '--dir', dir)
  const rows = out.trim().split('\n')
  return rows
    .map((line) => (JSON.parse(line) as { value: Rows }).value)
    .reduce((sum, { orders, units }) => ({ orders: sum.orders + orders, units: sum.units + units }))
}

describe('dead letters', () => {
  test('are listed a line a step, with how many, why, and the last reason', async () => {
    const dir = await failed()
    const { code, out } = await tidemark('dead', 'list', '--dir', dir)
    expect([code, out.split('\n').length]).toEqual([0, 4])
    expect(out).toMatch(/^orders +1 dead {2}FRAMING_INVALID 1 +last at 20\S+Z: /m)
    expect(out).toMatch(
      /^orders-as-wants {2}1 dead {2}STEP_FAILED 1 .*: step "orders-as-wants" threw; RangeError: less than nothing is wanted$/m,
    )
    expect(lastLine(out)).toBe('2 dead letters')
    const data = JSON.parse((await tidemark('dead', 'list', '--dir', dir, '--json')).out) as unknown
    expect(data).toMatchObject({
      letters: 2,
      redriven: 0,
      steps: [
        { step: 'orders', letters: 1 },
        { step: 'orders-as-wants', codes: { STEP_FAILED: 1 } },
      ],
    })
    const none = temporary()
    await tidemark('dev', SHOP, '--dir', none, '--once')
    expect((await tidemark('dead', 'list', '--dir', none)).out).toBe('no dead letters\n')
  })

  test('are shown with origin, reason, key, id, times and bytes, chosen by step, offset and limit', async () => {
    const dir = await failed()
    const { out } = await tidemark('dead', 'show', '--dir', dir, '--step', 'orders-as-wants')
    for (const line of [
      /^orders-as-wants 0@0 {2}from orders\.v1\/\d@\d+$/m,
      /^ {2}why {5}STEP_FAILED: step "orders-as-wants" threw$/m,
      /^ {2}event {3}order-7 {2}orders\.Ordered$/m,
      /^ {2}key {5}customer-2$/m,
      /^ {2}time {4}20\S+Z, given up at 20\S+Z after 1 try$/m,
      /^ {4}hex {3}00[0-9a-f]+$/m,
      /^ {4}text {2}.*sku 1/m,
    ])
      expect(out).toMatch(line)
    const data = JSON.parse((await tidemark('dead', 'show', '--dir', dir, '--json', '--limit', '1')).out) as {
      readonly letters: readonly { readonly valueHex: string; readonly headers: readonly { readonly name: string }[] }[]
    }
    expect(data).toMatchObject({ more: true, letters: [{ step: 'orders', offset: 0, key: 'customer-0', redriven: false }] })
    expect(Buffer.from(data.letters[0]?.valueHex ?? '', 'hex').toString()).toBe('none')
    expect(data.letters[0]?.headers.some(({ name }) => name.startsWith('tm_'))).toBe(false)
    const one = ['--dir', dir, '--step', 'orders', '--offset']
    expect((await tidemark('dead', 'show', ...one, '0@0')).out).toContain('orders 0@0')
    expect((await tidemark('dead', 'show', ...one, '7')).out).toBe('no dead letters\n')
  })

  test('go on in the mended program, which says what it did; a second time nothing is left, and the rest still fails', async () => {
    const dir = await failed()
    expect(await rowsIn(dir)).toEqual({ orders: 199, units: 19_893 })
    const mended = ['--dir', dir, '--topology', LENIENT]
    const unmended = await tidemark('dead', 'redrive', '--dir', dir, '--step', 'orders-as-wants')
    expect([unmended.code, lastLine(unmended.out)]).toEqual([2, '0 redriven, 1 would fail again and stay dead'])
    const dry = await tidemark('dead', 'redrive', ...mended, '--all', '--dry-run')
    expect([dry.code, lastLine(dry.out)]).toEqual([2, '1 would go on, 1 would fail again and stay dead; nothing was written'])
    const done = await tidemark('dead', 'redrive', ...mended, '--step', 'orders-as-wants', '--offset', '0@0')
    expect(done.out).toMatch(/^orders-as-wants 0@0 \(orders\.v1\/\d@\d+\) {2}redriven\n1 redriven\n$/)
    expect(done.code).toBe(0)
    const again = await tidemark('dead', 'redrive', ...mended, '--step', 'orders-as-wants', '--json')
    expect(JSON.parse(again.out)).toMatchObject({ redriven: 0, already: 1, failed: 0, refused: 0, letters: [{ outcome: 'already' }] })
    expect((await tidemark('dead', 'list', '--dir', dir)).out).toMatch(/^orders-as-wants {2}1 dead, 1 redriven/m)
    expect((await tidemark('dead', 'show', '--dir', dir)).out).toMatch(/^orders-as-wants 0@0 .* redriven$/m)
    // What was put back is applied when the program runs again, like everything else.
    await tidemark('dev', LENIENT, '--dir', dir, '--once')
    expect(await rowsIn(dir)).toEqual({ orders: 200, units: 19_892 })
    expect((await tidemark('replay', 'demand-by-sku', ...mended)).out).toContain('equal.')
  })

  test('are not touched before it is said which are meant', async () => {
    const dir = await failed()
    for (const [words, sentence] of [
      [[], 'which letters are to be redriven is not said'],
      [['--step', 'orders-as-want'], 'Did you mean orders-as-wants?'],
      [['--offset', '0@0'], 'an offset needs its step'],
      [['--step', 'orders', '--offset', '1@0'], '"1@0" is no place of a dead letter'],
    ] as const) {
      const { code, out, err } = await tidemark('dead', 'redrive', '--dir', dir, ...words)
      expect([code, out]).toEqual([64, ''])
      expect(err).toContain(sentence)
    }
  })

  test('of a folder that a program has open are refused until it is stopped', async () => {
    const dir = temporary()
    const running = new Command(['dev', SHOP, '--dir', dir, '--port', '0', '--pause-at', '50'])
    await running.wrote(/feed 50\/200 .* applied 50 /)
    for (const what of ['list', 'show', 'redrive']) {
      const { code, err } = await asProcess('dead', what, '--dir', dir, ...(what === 'redrive' ? ['--all'] : []))
      expect([code, err]).toEqual([75, expect.stringContaining('hint: The log of a folder is one process’s. Stop that one first')])
    }
    running.signal('SIGTERM')
    await running.ended()
  })
})

describeUnless(await whyNoneOwn(), 'dead letters on Kafka', () => {
  test('are listed and shown, and those of steps that keep nothing go on, while the program may run', { timeout: 180_000 }, async () => {
    const kafka = await startOwn()
    try {
      // On Kafka schemas have ids that are committed with the code: here those that a run in a folder has given.
      const working = temporary()
      await tidemark('dev', SHOP, '--dir', join(working, 'first'), '--once')
      mkdirSync(join(working, 'schemas'))
      cpSync(join(working, 'first', 'schemas.json'), join(working, 'schemas', 'catalogue.json'))
      const brokers = ['--brokers', kafka.brokers.join(',')]
      const run = (...args: readonly string[]): Promise<Ended> => new Command([...args, ...brokers], working).ended()
      const shop = join(ROOT, SHOP)
      expect(await run('topics', 'apply', shop)).toMatchObject({ code: 0 })
      const first = await run('run', shop, '--feed', '--once', '--negative', '--broken')
      expect(first.out).toContain('dead-lettered 2')
      const list = await run('dead', 'list', '--topology', shop)
      expect(lastLine(list.out)).toBe('2 dead letters')
      expect((await run('dead', 'show', '--topology', shop, '--step', 'orders-as-wants')).out).toContain('order-7')
      const redriven = await run('dead', 'redrive', '--topology', join(ROOT, LENIENT), '--all')
      expect([redriven.code, lastLine(redriven.out)]).toEqual([2, '1 redriven, 1 cannot be put back here'])
      expect(redriven.out).toContain('keeps state that belongs to a running worker')
      const again = await run('dead', 'redrive', '--topology', join(ROOT, LENIENT), '--step', 'orders-as-wants')
      expect([again.code, lastLine(again.out)]).toEqual([0, '0 redriven, 1 redriven before and left alone'])
      const applied = await run('run', join(ROOT, LENIENT), '--once', '--json')
      expect(JSON.parse(applied.out)).toMatchObject({ applied: 1 })
    } finally {
      await kafka.stop()
    }
  })
})
