/** Errors show what was given in one short line, and name the word that was most likely meant. */
import { expect, test } from 'vitest'
import { refuseUnknown, shown } from '../../src/base/options.ts'

class Meter {
  readonly name = 'meter'
}
const round: unknown[] = []
round.push(round)

test.each<[value: unknown, said: string]>([
  [undefined, 'undefined'],
  [null, 'null'],
  [Number.NaN, 'NaN'],
  [12n, '12n'],
  [Symbol('s'), 'Symbol(s)'],
  ['text', '"text"'],
  ['x'.repeat(200), `"${'x'.repeat(80)}..."`],
  [{ attempts: 3 }, '{"attempts":3}'],
  [[1, 2], '[1,2]'],
  [{ at: 1n }, 'an object'],
  [{ do: () => 0, name: 'mine' }, 'an object (of the name "mine")'],
  [{ long: 'x'.repeat(100) }, 'an object'],
  [Object.create(null), '{}'],
  [new Map(), 'a Map'],
  [new Meter(), 'a Meter (of the name "meter")'],
  [Promise.resolve(), 'a Promise'],
  [round, 'a list'],
  [shown, 'a function (shown)'],
])('no value is shown as [object Object], nor breaks the error that shows it: %#', (value, said) => {
  expect(shown(value)).toBe(said)
})

test('an unknown word is answered with the one that was meant, and with all that there are', () => {
  const said = (given: object): unknown => expect.objectContaining(given)
  expect(() => refuseUnknown({ limt: 1 }, ['limit', 'after'], 'page')).toThrow(
    said({ message: 'page has no option "limt"', hint: 'Did you mean "limit"? It has limit, after.' }),
  )
  expect(() => refuseUnknown({ colour: 1 }, ['limit', 'after'], 'page')).toThrow(said({ hint: 'It has limit, after.' }))
  for (const none of [null, undefined, 'x', 12n, [], () => 0])
    expect(() => refuseUnknown(none as object, ['limit'], 'page')).toThrow(said({ code: 'OPTION_INVALID', hint: 'It has limit.' }))
})
