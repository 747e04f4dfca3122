/** The tools beside the command line speak as it does: usage with examples, and what was meant. */
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, test } from 'vitest'

const ROOT = join(import.meta.dirname, '..', '..')
const { scripts } = JSON.parse(readFileSync(join(ROOT, 'package.json'), 'utf8')) as { scripts: Record<string, string> }

/** Runs what `npm run <name> -- <words>` runs. */
async function tool(name: string, ...words: readonly string[]): Promise<{ code: number; out: string; err: string }> {
  const file = (scripts[name] as string).split(' ').at(-1) as string
  const child = spawn(process.execPath, [join(ROOT, file), ...words], { cwd: ROOT, stdio: ['ignore', 'pipe', 'pipe'] })
  const said = { out: '', err: '' }
  child.stdout.setEncoding('utf8').on('data', (text: string) => {
    said.out += text
  })
  child.stderr.setEncoding('utf8').on('data', (text: string) => {
    said.err += text
  })
  const [code] = (await once(child, 'close')) as [number]
  return { code, ...said }
}

describe.each(['simulate', 'kafka', 'kafka-faults', 'crash-test', 'bench'])('npm run %s', (name) => {
  test('prints its usage with examples that begin with its own name, and does nothing else', async () => {
    const { code, out, err } = await tool(name, '--help')
    expect([code, err]).toEqual([0, ''])
    expect(out).toMatch(new RegExp(`^Usage: npm run ${name} -- \\[options\\]\n`))
    const [, examples = ''] = /\nExamples:\n([\s\S]*?)\n\n/.exec(out) ?? []
    expect(examples.split('\n').length).toBeGreaterThan(1)
    for (const line of examples.split('\n')) expect(line).toMatch(new RegExp(`^  npm run ${name}( -- --\\w.*)?   +\\S`))
    // Every flag of an example is one that it has.
    for (const [, flag] of examples.matchAll(/ --([a-z][\w-]*)/g)) expect(out).toContain(`\n  --${flag} `)
    expect(out).toMatch(/\nExit codes: 0 /)
  })

  test('refuses a flag that it does not have in the words of the command line, and ends with 64', async () => {
    expect(await tool(name, '--hepl')).toEqual({
      code: 64,
      out: '',
      err: "OPTION_INVALID: unknown option '--hepl'\nhint: Did you mean --help?\n",
    })
    expect(await tool(name, 'word')).toMatchObject({ code: 64, out: '', err: expect.stringMatching(/^OPTION_INVALID: too many arguments/) })
  })
})

test.each([
  ['simulate', ['--topology', 'contuing'], 'There is no topology "contuing". Did you mean counting?'],
  ['simulate', ['--seed', 'x'], '--seed is a whole number from 0, not "x".'],
  ['kafka', ['--nodes', '2'], '--nodes is 1 or 3, not "2".'],
  ['kafka-faults', ['--only', 'restes'], 'There is no scenario "restes". Did you mean resets?'],
  ['crash-test', ['--only', 'klils'], 'There is no scenario "klils". Did you mean kills?'],
  ['bench', ['--only', 'nothing-like-it'], 'There is no bench "nothing-like-it". There are record-batch, '],
])('npm run %s %j is refused before anything runs', async (name, words, said) => {
  const { code, out, err } = await tool(name, ...words)
  expect([code, out]).toEqual([64, ''])
  expect(err).toContain(said)
})
