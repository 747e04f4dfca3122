/** How things look: widths, numbers, and the live display as pictures and lines. */
import * as fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { nearest } from '../../src/base/nearest.ts'
import { Lines } from '../../src/cli/lines.ts'
import { nextSteps, picture, plainLine, type Sample, Screen } from '../../src/cli/live.ts'
import { bar, COLORS, clipped, clockTime, grouped, PLAIN, paint, table, widthOf, wrapped } from '../../src/cli/render.ts'
import type { Output } from '../../src/cli/shell.ts'

const terminal = (on: boolean): Output => ({ write: async () => {}, gone: false, terminal: on, columns: 80, rows: 24 })

describe('texts', () => {
  test('are cut to a width that no colour counts for, and end their colours', () => {
    expect(clipped('abcdef', 4)).toBe('abc…')
    expect(clipped('abcd', 4)).toBe('abcd')
    expect(clipped(`a${COLORS.bad('bcdef')}g`, 4)).toBe(`a${COLORS.bad('bc')}…`)
    expect(clipped('👩‍👩‍👧abc', 2)).toBe('👩‍👩‍👧…')
  })

  test('are never wider than they may be, whatever they hold', () => {
    const word = fc.oneof(fc.string({ unit: 'grapheme' }), fc.constantFrom(COLORS.good('x'), COLORS.strong('two words'), COLORS.faint('')))
    fc.assert(
      fc.property(fc.array(word), fc.nat(40), (words, width) => {
        const text = words.join('')
        expect(widthOf(clipped(text, width))).toBeLessThanOrEqual(Math.max(width, 0))
        if (widthOf(text) <= width) expect(clipped(text, width)).toBe(text)
      }),
      { seed: 7 },
    )
  })

  test('in a table stand below each other, numbers to the right', () => {
    expect(
      table([
        ['a', '1', 'x'],
        ['longer', '1,234', 'y'],
      ]),
    ).toEqual(['a           1  x', 'longer  1,234  y'])
  })

  test('that are long go on below, word by word, and lose none', () => {
    expect(wrapped('one two three', 7)).toEqual(['one two', 'three'])
    expect(wrapped('483e60d96b34e57f3f56', 4)).toEqual(['483e60d96b34e57f3f56'])
    fc.assert(
      fc.property(fc.array(fc.stringMatching(/^[a-z]{1,9}$/), { minLength: 1 }), fc.integer({ min: 9, max: 30 }), (words, width) => {
        const lines = wrapped(words.join(' '), width)
        expect(lines.join(' ')).toBe(words.join(' '))
        for (const line of lines) expect(line.length).toBeLessThanOrEqual(width)
      }),
      { seed: 9 },
    )
  })

  test('of numbers, times and shares are those that people write', () => {
    expect([0, 999, 1_000, 1_234_567].map(grouped)).toEqual(['0', '999', '1,000', '1,234,567'])
    expect([0, 65_000, 3_661_000].map(clockTime)).toEqual(['00:00', '01:05', '1:01:01'])
    expect([bar(0, 4), bar(0.5, 4), bar(7, 4)]).toEqual(['░░░░', '██░░', '████'])
  })

  test('are coloured on a terminal alone, and not where NO_COLOR or a dumb terminal says so', () => {
    expect(paint(terminal(true), {})).toBe(COLORS)
    expect(paint(terminal(true), { NO_COLOR: '' })).toBe(COLORS)
    for (const env of [{ NO_COLOR: '1' }, { TERM: 'dumb' }]) expect(paint(terminal(true), env)).toBe(PLAIN)
    expect(paint(terminal(false), {})).toBe(PLAIN)
  })
})

test('a mistyped word finds the one that was meant, and a strange one finds nothing', () => {
  const views = ['allocatable-stock', 'sales-by-day']
  expect(nearest('alocatable-stock', views)).toBe('allocatable-stock')
  expect(nearest('sales-yb-day', views)).toBe('sales-by-day')
  expect(nearest('customers', views)).toBeUndefined()
  expect(nearest('', views)).toBeUndefined()
})

const sample: Sample = {
  app: 'shop',
  where: 'on the embedded log in .tidemark/shop',
  elapsedMs: 61_000,
  feed: { done: 50, total: 200 },
  rates: { in: 1_234.4, out: 99 },
  counts: { applied: 12_345, duplicate: 2, stale: 0, gap: 1, parked: 0, dead: 3 },
  held: { facts: 12, keys: 4, parked: 1 },
  lag: 7,
  silent: undefined,
  resumed: undefined,
  hanging: [],
  restoring: { tasks: 0, left: 0, secondsLeft: undefined },
  views: [
    { name: 'demand', freshness: { state: 'fresh', ageMs: 120, asOf: 'a/0@1' } },
    { name: 'sales-by-day', freshness: { state: 'stale', ageMs: 9_000, overrunMs: 4_000, asOf: 'a/0@1' } },
  ],
  highlights: ['busiest: sku 1'],
  problems: ['line 3: no units', 'line 4: no units', 'line 5: no units', 'line 6: no units'],
  notices: [{ kind: 'warning', text: 'port 8080 is taken' }],
  check: undefined,
  url: 'http://127.0.0.1:8081/views',
  next: [['npx tidemark plan', 'what runs here']],
}

describe('the live display', () => {
  test('says everything in one plain line', () => {
    expect(plainLine(sample)).toBe(
      '01:01  feed 50/200  in 1234/s  out 99/s  applied 12345  duplicate 2  stale 0  gap 1  parked 0  dead-lettered 3  held now 12 of 4 keys, 1 parked  lag 7  demand fresh (120 ms)  sales-by-day stale (9 s)',
    )
    expect(plainLine({ ...sample, held: { facts: 1, keys: 1, parked: 0 } })).toContain('  held now 1 of 1 key  lag 7  ')
    expect(plainLine({ ...sample, held: undefined })).toContain('  held now unknown  lag 7  ')
    const restoring = { tasks: 2, left: 10, secondsLeft: undefined }
    expect(plainLine({ ...sample, restoring })).toMatch(/restoring 2 tasks, 10 records left(?!,)/)
    expect(plainLine({ ...sample, restoring: { ...restoring, secondsLeft: 74.2 } })).toContain('10 records left, about 75 s')
    const deaf = plainLine({ ...sample, lag: undefined, silent: 'no broker answers since 10:00:00' })
    expect(deaf).toMatch(/^01:01 {2}feed 50\/200 {2}no broker answers since 10:00:00 {2}.* lag unknown /)
  })

  test('shows it as a picture, with what to try next', () => {
    expect(picture(sample, { columns: 100, rows: 40 }, PLAIN)).toEqual([
      '',
      '  shop on the embedded log in .tidemark/shop   01:01',
      '',
      `  feed ${'█'.repeat(8)}${'░'.repeat(22)} 50 of 200 (25 %)`,
      '  in 1,234/s   out 99/s   waiting 7',
      '  applied 12,345   duplicate 2   stale 0   gap 1   parked 0   dead-lettered 3',
      '  now 12 facts of 4 keys are held (1 parked)',
      '',
      '  demand        fresh (120 ms)',
      '  sales-by-day  stale (9 s) 4 s beyond its window',
      '',
      '  busiest: sku 1',
      '',
      '  4 rows could not be read (--json lists them all); the last:',
      '  line 4: no units',
      '  line 5: no units',
      '  line 6: no units',
      '',
      '  port 8080 is taken',
      '',
      '  http://127.0.0.1:8081/views',
      '',
      '  npx tidemark plan   what runs here',
    ])
  })

  test('shows in the picture what is held only while something is, and says loudly only that keys are parked', () => {
    const about = (held: Sample['held'], color = PLAIN): string[] =>
      picture({ ...sample, held }, { columns: 100, rows: 40 }, color).filter((line) => line.includes('held'))
    expect(about({ facts: 0, keys: 0, parked: 0 })).toEqual([])
    expect(about(undefined)).toEqual([])
    const waiting = about({ facts: 1, keys: 1, parked: 0 }, COLORS)
    expect(waiting).toEqual(['  now 1 fact of 1 key is held'])
    expect(about({ facts: 1, keys: 1, parked: 1 }, COLORS)).toEqual([`  ${COLORS.warn('now 1 fact of 1 key is held (1 parked)')}`])
  })

  test('says what hangs, in the line and in the picture', () => {
    const hanging = ['a transaction without an end holds up out/1']
    expect(plainLine({ ...sample, hanging })).toContain('  HANGING: a transaction without an end holds up out/1  ')
    expect(picture({ ...sample, hanging }, { columns: 100, rows: 40 }, PLAIN)).toContain('  a transaction without an end holds up out/1')
  })

  test('fits the terminal, however small that is', () => {
    for (const size of [
      { columns: 20, rows: 5 },
      { columns: 1, rows: 1 },
      { columns: 60, rows: 12 },
    ]) {
      const lines = picture(sample, size, COLORS)
      expect(lines.length).toBeLessThanOrEqual(Math.max(1, size.rows - 1))
      for (const line of lines) expect(widthOf(line)).toBeLessThanOrEqual(size.columns)
    }
  })

  test('replaces the picture before, and gives the cursor back at the end', async () => {
    const rows: string[] = []
    const screen = new Screen({ ...terminal(true), write: async (text) => void rows.push(text) })
    await screen.show(['one', 'two', 'three'])
    await screen.show(['one'])
    await screen.end()
    await screen.end()
    expect(rows).toHaveLength(3)
    // Three lines up, one line written, the rest of the old picture cleared.
    expect(rows[1]).toBe('\u001b[3A\r\u001b[2Kone\n\u001b[J')
    expect(rows[2]).toBe('\u001b[?25h')
  })
})

describe('where nothing is redrawn', () => {
  const told = (): { lines: Lines; said: string[] } => {
    const said: string[] = []
    return { said, lines: new Lines({ ...terminal(false), write: async (text) => void said.push(text.trimEnd()) }) }
  }

  test('what to try next is said once, and what can be tried later when it can', async () => {
    const { lines, said } = told()
    await lines.next(nextSteps('shop', 'demand', 'http://127.0.0.1:8080', undefined, false))
    await lines.next(nextSteps('shop', 'demand', 'http://127.0.0.1:8080', 'http://127.0.0.1:8080/views/demand/sku%201', true))
    expect(said).toEqual([
      "try: curl 'http://127.0.0.1:8080/views/demand?limit=5'   (a page of rows)",
      'try: npx tidemark plan shop   (what runs here, and why)',
      'try: Ctrl-C   (stops it; started again, it goes on)',
      "try: curl 'http://127.0.0.1:8080/views/demand/sku%201'   (one row, and how fresh it is)",
    ])
  })

  test('the highlights are one line every ten seconds, and one at the end', async () => {
    const { lines, said } = told()
    const busiest = ['busiest: sku 1    7 units', '         sku 2    6 units']
    for (const now of [50, 1_050, 10_049, 10_050, 11_050, 20_050]) await lines.highlights(busiest, now, false)
    await lines.highlights(busiest, 20_100, true)
    await lines.highlights([], 20_200, true)
    expect(said).toEqual(Array(3).fill('busiest: sku 1 7 units; sku 2 6 units'))
  })

  test('ten rows that could not be read are said one by one, of the others how many there are and where they all are', async () => {
    const { lines, said } = told()
    const problems = Array.from({ length: 12 }, (_, i) => `line ${i + 1}: no units`)
    await lines.problems(problems.slice(0, 1), false)
    await lines.problems(problems.slice(0, 11), false)
    await lines.problems(problems, false)
    expect(said).toEqual([
      ...problems.slice(0, 10).map((problem) => `input: ${problem}`),
      'input: 1 more row could not be read; --json lists them all, under "unread"',
    ])
    await lines.problems(problems, true)
    await lines.problems(problems, true)
    expect(said.slice(11)).toEqual(['input: 2 more rows could not be read; --json lists them all, under "unread"'])
  })
})
