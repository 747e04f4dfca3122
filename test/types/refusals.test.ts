/**
 * What the compiler refuses: each file of `refusals/` is a small program that must not compile, for one reason, which its first line states.
 * The reason is a sentence of the compiler's message, so that whoever makes the mistake reads what to mend.
 */
import { spawnSync } from 'node:child_process'
import { readdirSync, readFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { expect, test } from 'vitest'

const HERE = join(dirname(fileURLToPath(import.meta.url)), 'refusals')
const ROOT = join(HERE, '..', '..', '..')

/** Messages of the compiler by file, each with the lines that explain it. One run for all programs. */
function compile(): Map<string, string[]> {
  const tsc = join(ROOT, 'node_modules', 'typescript', 'bin', 'tsc')
  const { stdout, stderr } = spawnSync(process.execPath, [tsc, '-p', HERE, '--pretty', 'false', '--noErrorTruncation'], {
    cwd: ROOT,
    encoding: 'utf8',
  })
  expect(stderr).toBe('')
  const messages = new Map<string, string[]>()
  let last: string[] | undefined
  for (const line of stdout.split('\n')) {
    const file = /^test\/types\/refusals\/([a-z-]+)\.ts\(\d+,\d+\): error TS\d+: (.*)$/.exec(line)
    if (file !== null) {
      last = messages.get(file[1] as string) ?? []
      last.push(file[2] as string)
      messages.set(file[1] as string, last)
    } else if (last !== undefined && line.startsWith(' ')) last.push(`${last.pop()}\n${line}`)
    else expect(line).toBe('')
  }
  return messages
}

const programs = readdirSync(HERE).flatMap((name) => (name.endsWith('.ts') && name !== 'given.ts' ? [name.slice(0, -'.ts'.length)] : []))
const messages = compile()

/** Rows of the requirements that a refusal makes true. */
const ROWS: Readonly<Record<string, string>> = {
  'translate-case-missing': ' (D17)',
  'fold-case-missing': ' (D17)',
  'brands-mixed': ' (E04)',
  'value-without-freshness': ' (K11)',
  'unordered-insert': ' (G09)',
  'clock-in-a-fold': ' (E02)',
}

test('what is given to all of them compiles, and so does everything done right', () => {
  expect(messages.get('given')).toBeUndefined()
  expect(programs.length).toBeGreaterThan(10)
})

test.each(programs.map((program) => [program, ROWS[program] ?? ''] as const))('%s is refused, once, in words that name it%s', (program) => {
  const [first] = readFileSync(join(HERE, `${program}.ts`), 'utf8').split('\n')
  const sentence = /^\/\/ refused: (.+)$/.exec(first ?? '')?.[1]
  expect(messages.get(program) ?? []).toEqual([expect.stringContaining(sentence as string)])
})
