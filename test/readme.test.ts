/** README and DESIGN tell the truth: programs compile and run, the picture is the planner's, files, commands and packages are those that exist. */
import { spawnSync } from 'node:child_process'
import { existsSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { basename, join } from 'node:path'
import { expect, test } from 'vitest'
import { factsOf } from '../src/plan/lock.ts'
import { parseLock } from '../src/plan/lock-text.ts'
import { mermaid } from '../src/plan/mermaid.ts'
import { planOf } from '../src/plan/planner.ts'
import { retail } from '../topologies/retail/index.ts'

const ROOT = join(import.meta.dirname, '..')
const readme = readFileSync(join(ROOT, 'README.md'), 'utf8')
const blocks = [...readme.matchAll(/^```(\w+)(?: (\w+))?\n([\s\S]*?)^```$/gm)].map(([, language, mark, code]) => ({
  language,
  mark,
  code: code as string,
}))

test('every program in the README compiles and runs, twice, and not when it is only planned or checked; its test passes', {
  timeout: 120_000,
}, () => {
  const programs = blocks.filter(({ language, mark }) => language === 'ts' && mark === 'run')
  expect(programs).toHaveLength(1)
  // Inside the repository, so that the package's own name can stand for its sources.
  mkdirSync(join(ROOT, '.cache'), { recursive: true })
  const folder = mkdtempSync(join(ROOT, '.cache', 'readme-'))
  try {
    for (const [i, { code }] of programs.entries()) {
      expect(code.trim().split('\n').length).toBeLessThanOrEqual(30)
      writeFileSync(join(folder, `program-${i}.ts`), code.replaceAll("from 'tidemark'", "from '#tidemark'"))
    }
    writeFileSync(join(folder, 'tsconfig.json'), JSON.stringify({ extends: '../../tsconfig.json', include: ['*.ts'] }))
    const types = spawnSync(process.execPath, [join(ROOT, 'node_modules/typescript/bin/tsc'), '-p', folder], { encoding: 'utf8' })
    expect(types.stdout).toBe('')
    const outputs = [1, 2].map(() => {
      const ran = spawnSync(process.execPath, [join(folder, 'program-0.ts')], { cwd: folder, encoding: 'utf8' })
      expect(ran.stderr).toBe('')
      return ran.stdout.trim()
    })
    // Other commands read a topology's module, and must not run its program by that.
    for (const command of ['plan', 'check']) {
      const read = spawnSync(process.execPath, [join(ROOT, 'src/cli/main.ts'), command, 'program-0.ts'], { cwd: folder, encoding: 'utf8' })
      expect([read.status, read.stderr, read.stdout.includes('orders:')]).toEqual([0, '', false])
    }
    expect(outputs).toEqual(['{ orders: 2, total: 42 } fresh', '{ orders: 4, total: 84 } fresh'])
    // Its test lies in a folder beside it, as the README says.
    const tests = blocks.filter(({ mark }) => mark === 'test')
    expect(tests).toHaveLength(1)
    mkdirSync(join(folder, 'test'))
    const code = tests[0]?.code.replace("'tidemark/testing'", "'#tidemark/testing'").replace('../loyalty.ts', '../program-0.ts')
    writeFileSync(join(folder, 'test', 'loyalty.test.ts'), code as string)
    const vitest = join(ROOT, 'node_modules/vitest/vitest.mjs')
    const tested = spawnSync(process.execPath, [vitest, 'run', '--root', folder], { cwd: folder, encoding: 'utf8' })
    expect([tested.status, tested.stdout, tested.stderr]).toEqual([0, expect.stringMatching(/1 passed/), ''])
  } finally {
    rmSync(folder, { recursive: true, force: true })
  }
})

test('the picture in the README is the one that the planner draws', () => {
  const [picture] = blocks.filter(({ language }) => language === 'mermaid')
  const lock = parseLock(readFileSync(join(ROOT, 'topologies/retail/retail.plan.json'), 'utf8'), 'retail.plan.json')
  expect(picture?.code.trim()).toBe(mermaid(planOf(retail.graph, factsOf(lock))).trim())
})

test('the tour is as long as the README says, give or take a tenth', () => {
  const tour = readme.slice(readme.indexOf('## Twenty minutes through the code'))
  const files = [...tour.matchAll(/^\d\. \[`[^`]+`\]\(([^)]+)\)/gm)].map(([, path]) => path as string)
  expect(files).toHaveLength(6)
  const lines = files.reduce((sum, file) => sum + readFileSync(join(ROOT, file), 'utf8').split('\n').length - 1, 0)
  expect(tour).toContain('about twelve hundred lines')
  expect(Math.abs(lines - 1_200)).toBeLessThan(120)
})

test('every file that the README links to exists', () => {
  const links = [...readme.matchAll(/\]\((?!https?:)([^)#]+)\)/g)].map(([, path]) => path as string)
  expect(links.length).toBeGreaterThan(6)
  expect(links.filter((path) => !existsSync(join(ROOT, path)))).toEqual([])
})

test('the commands that the README names are those that the command line has', () => {
  const help = spawnSync(process.execPath, [join(ROOT, 'bin/tidemark.mjs'), '--help'], { encoding: 'utf8' }).stdout
  const named = [...readme.matchAll(/^\| `tidemark (\w+)/gm)].map(([, command]) => command as string)
  expect(named.length).toBeGreaterThan(5)
  for (const command of named) expect(help).toMatch(new RegExp(`^  ${command} `, 'm'))
})

const design = readFileSync(join(ROOT, 'DESIGN.md'), 'utf8')

test('the file map in DESIGN.md names every source file', () => {
  const files = readdirSync(join(ROOT, 'src'), { recursive: true, encoding: 'utf8' }).filter((file) => file.endsWith('.ts'))
  // Some folders stand for the files in them; all others are named one by one.
  const unnamed = files.filter(
    (file) => !/(simulation|log-suite|wire|broker)\/[^/]+$/.test(file) && !design.includes(`\`${basename(file, '.ts')}\``),
  )
  expect(files.length).toBeGreaterThan(100)
  expect(unnamed).toEqual([])
})

test('DESIGN.md says of every package why it is there', () => {
  const { dependencies } = JSON.parse(readFileSync(join(ROOT, 'package.json'), 'utf8')) as { dependencies: Record<string, string> }
  const rows = design.split('\n').filter((line) => line.startsWith('|'))
  expect(Object.keys(dependencies).filter((name) => !rows.some((row) => row.includes(name)))).toEqual([])
})
