/** The command as npm installs it: it runs from the repository, passes on exit codes, and says what is missing before set-up. */
import { execFile } from 'node:child_process'
import { cpSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { pathToFileURL } from 'node:url'
import { expect, test } from 'vitest'
import { ROOT, temporary } from './tidemark.ts'

interface Ended {
  readonly code: number
  readonly out: string
  readonly err: string
}

function run(bin: string, ...args: string[]): Promise<Ended> {
  return new Promise((resolve) => {
    execFile(process.execPath, [bin, ...args], { cwd: temporary(), timeout: 40_000 }, (error, out, err) => {
      resolve({ code: typeof error?.code === 'number' ? error.code : error === null ? 0 : -1, out, err })
    })
  })
}

const { version } = JSON.parse(readFileSync(join(ROOT, 'package.json'), 'utf8')) as { version: string }

test('the command runs from the repository, from any folder, with its own exit codes', async () => {
  const bin = join(ROOT, 'bin', 'tidemark.mjs')
  expect(await run(bin, '--version')).toEqual({ code: 0, out: `${version}\n`, err: '' })
  expect(await run(bin, 'paln')).toMatchObject({ code: 64, out: '', err: expect.stringContaining('Did you mean plan?') })
})

test('the command says how to set up when nothing is installed', async () => {
  const clone = temporary()
  for (const part of ['bin', 'scripts', 'package.json', '.nvmrc']) cpSync(join(ROOT, part), join(clone, part), { recursive: true })
  expect(await run(join(clone, 'bin', 'tidemark.mjs'), 'plan')).toMatchObject({
    code: 78,
    err: expect.stringContaining('run "npm install"'),
  })
})

test('the command runs what was compiled where that is, as in the published package', async () => {
  const installed = temporary()
  cpSync(join(ROOT, 'bin'), join(installed, 'bin'), { recursive: true })
  mkdirSync(join(installed, 'dist', 'cli'), { recursive: true })
  writeFileSync(join(installed, 'package.json'), '{ "type": "module" }')
  writeFileSync(join(installed, 'dist', 'cli', 'main.js'), 'console.log(process.argv.slice(2).join())\nprocess.exit(2)\n')
  expect(await run(join(installed, 'bin', 'tidemark.mjs'), 'plan', '--check')).toEqual({ code: 2, out: 'plan,--check\n', err: '' })
})

test('the command that was compiled says under an older Node which one it needs and how to get on, and runs nothing', async () => {
  const installed = temporary()
  cpSync(join(ROOT, 'bin'), join(installed, 'bin'), { recursive: true })
  mkdirSync(join(installed, 'dist', 'cli'), { recursive: true })
  writeFileSync(join(installed, 'package.json'), '{ "type": "module" }')
  writeFileSync(join(installed, 'dist', 'cli', 'main.js'), 'console.log("it ran")\n')
  const old = join(installed, 'old.mjs')
  const bin = join(installed, 'bin', 'tidemark.mjs')
  for (const node of ['20.20.2', '22.14.0']) {
    writeFileSync(
      old,
      `Object.defineProperty(process, 'versions', { value: { ...process.versions, node: '${node}' } })\nawait import(${JSON.stringify(pathToFileURL(bin).href)})\n`,
    )
    const { code, out, err } = await run(old)
    expect([code, out]).toEqual([78, ''])
    expect(err).toBe(
      `tidemark needs Node 22.15 or newer, and this is ${node} (${process.execPath}).\n` +
        'Install a newer one, such as with a version manager ("nvm install 24"), and give the same command again: what npm has installed stays as it is.\n',
    )
  }
})

test('npm start prints npm’s own lines before the JSON of --json, and with --silent not even those', async () => {
  const start = (...words: string[]): Promise<Ended> =>
    new Promise((resolve) => {
      const line = ['start', ...words, '--', '--dir', temporary(), '--port', '0', '--csv', 'nothing.csv', '--json']
      execFile('npm', line, { cwd: ROOT, timeout: 40_000, shell: process.platform === 'win32' }, (error, out, err) => {
        resolve({ code: Number(error?.code ?? 0), out, err })
      })
    })
  const spoken = await start()
  expect(spoken.code).toBe(78)
  const [json, ...npms] = spoken.out
    .split('\n')
    .filter((line) => line !== '')
    .toReversed()
  expect(npms.filter((line) => !line.startsWith('> '))).toEqual([])
  expect(JSON.parse(json ?? '')).toMatchObject({ error: { code: 'INPUT_INVALID' } })
  const silent = await start('--silent')
  expect([silent.code, JSON.parse(silent.out)]).toMatchObject([78, { error: { code: 'INPUT_INVALID' } }])
})
