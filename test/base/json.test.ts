import { runInNewContext } from 'node:vm'
import { assert, constantFrom, jsonValue, property } from 'fast-check'
import { describe, expect, it } from 'vitest'
import { lineOf, parseJson, printJson } from '../../src/base/json.ts'

describe('a mistake in JSON', () => {
  it.each<[string, number, RegExp]>([
    ['{\n "a": }', 2, /Unexpected token '}'/],
    ['{\n "a": 1\n "b": 2}', 3, /Expected ',' or '}'/],
    ['{\n "a": 1,\n}', 3, /Expected double-quoted property name/],
    ['[1,\n true,\n ]', 3, /Unexpected token ']'/],
    ['[\n1,,\n2]', 2, /Unexpected token ','/],
    ['{"type": "record",\n"name": "X",\n<<<<<<< HEAD\n"fields": []}', 3, /Expected double-quoted/],
    ['{"a":\n nope}', 2, /Unexpected token 'o'/],
    ['{"a": "x\ny"}', 1, /Bad control character/],
    ['{"a": 1}\n}', 2, /non-whitespace character after JSON/],
    ['[1,\n2\n', 3, /Expected ',' or ']'/],
    ['', 1, /Unexpected end/],
  ])('in %j is on line %i', (text, line, problem) => {
    const parsed = parseJson(text)
    expect(parsed).toMatchObject({ line })
    expect('problem' in parsed && parsed.problem).toMatch(problem)
  })

  it('is told without the text around it', () => {
    const parsed = parseJson('{"password": "hunter2", "x": }')
    expect('problem' in parsed && parsed.problem).toBe("Unexpected token '}'")
  })
})

describe('the line of a value', () => {
  const text = '{\n  "a}": ["x", "\\"]",\n    { "b": 1,\n "c": [\n7 ] } ],\n  "d": {} }\n'
  it.each<[(string | number)[], number]>([
    [[], 1],
    [['a}'], 2],
    [['a}', 1], 2],
    [['a}', 2, 'b'], 3],
    [['a}', 2, 'c', 0], 5],
    [['d'], 6],
    [['d', 'nothing', 3], 6],
  ])('at %j is %i', (path, line) => {
    expect(lineOf(text, path)).toBe(line)
  })
})

describe('printed JSON', () => {
  it('means the same, whatever its layout', () => {
    assert(
      property(jsonValue({ maxDepth: 6 }), constantFrom(0, 40, 130), (value, indent) => {
        expect(JSON.parse(printJson(value, 'json', indent))).toEqual(JSON.parse(JSON.stringify(value)))
      }),
      { numRuns: 300, seed: 20_261 },
    )
  })

  it('means the same in TypeScript', () => {
    assert(
      property(jsonValue({ maxDepth: 4 }), (value) => {
        const evaluated: unknown = runInNewContext(`(${printJson({ value }, 'typescript')})`)
        expect(JSON.stringify(evaluated)).toBe(JSON.stringify({ value }))
      }),
      { numRuns: 300, seed: 20_262 },
    )
  })

  it('breaks a list of objects and keeps what fits on a line', () => {
    const json = {
      name: 'R',
      fields: [
        { name: 'a', type: 'int' },
        { name: 'b', type: ['null', 'string'], default: null },
      ],
      aliases: ['S'],
    }
    expect(printJson(json, 'typescript')).toBe(
      "{\n  name: 'R',\n  fields: [\n    { name: 'a', type: 'int' },\n    { name: 'b', type: ['null', 'string'], default: null },\n  ],\n  aliases: ['S'],\n}",
    )
    expect(printJson({ name: 'R', fields: [{ name: 'a', type: 'int' }] }, 'json')).toBe(
      '{ "name": "R", "fields": [{ "name": "a", "type": "int" }] }',
    )
  })
})
