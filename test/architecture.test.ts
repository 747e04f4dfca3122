/**
 * The layer rule, as a test: each folder may import itself and what its row names; packages come in only where a row lets them. Types count:
 * an `import type` that points the wrong way is still a wrong arrow. Dynamic imports count like any other.
 */
import { readdirSync, readFileSync } from 'node:fs'
import { dirname, join, posix } from 'node:path'
import { expect, test } from 'vitest'

const ANY = /./
const NONE = /(?!)/
const NODE = /^node:/
const LAYERS: Readonly<Record<string, { readonly may: readonly string[]; readonly packages: RegExp }>> = {
  base: { may: [], packages: NONE },
  contract: { may: ['base'], packages: NONE },
  ports: { may: ['base'], packages: NONE },
  topology: { may: ['base', 'ports', 'contract'], packages: NONE },
  operators: { may: ['base', 'contract', 'topology'], packages: NONE },
  plan: { may: ['base', 'contract', 'topology'], packages: NONE },
  runtime: { may: ['base', 'ports', 'contract', 'topology', 'plan'], packages: NONE },
  drivers: { may: ['base', 'ports'], packages: ANY },
  testing: {
    may: ['base', 'ports', 'contract', 'topology', 'operators', 'plan', 'runtime', 'drivers', 'start'],
    packages: /^(node:|vitest$|fast-check$)/,
  },
  server: { may: ['base', 'contract', 'plan', 'runtime'], packages: /^(node:|hono|@hono\/)/ },
  cli: {
    may: ['base', 'ports', 'contract', 'topology', 'operators', 'plan', 'runtime', 'drivers', 'testing', 'server', 'start', 'index'],
    packages: /^(node:|commander$)/,
  },
  start: { may: ['base', 'ports', 'contract', 'topology', 'operators', 'plan', 'runtime', 'drivers'], packages: NODE },
  index: { may: ['base', 'ports', 'contract', 'topology', 'operators', 'plan', 'runtime', 'start'], packages: NONE },
}
/** Longer files, each with its reason. */
const LONG: Readonly<Record<string, string>> = {
  'testing/disk.ts': 'one disk: its operations share what is durable and what is not',
  'testing/harness.ts': 'one face for tests, method by method',
  'testing/store-suite.ts': 'a list of promises',
}
/** Imports whose name is a variable. */
const BY_NAME: Readonly<Record<string, string>> = {
  'cli/load.ts': 'the topology that the command names',
  'testing/broker/container.ts': 'testcontainers, which need not be installed',
}
const LINES_MAX = 400
/** What only drivers may ask: time, chance and the process belong to the simulator. */
const FORBIDDEN = /\b(Date\.now|Math\.random|setTimeout|setInterval|setImmediate|performance\.now|(?<![\w'"/])process\.\w+)\b/

const SRC = join(import.meta.dirname, '..', 'src')
const files = readdirSync(SRC, { recursive: true, encoding: 'utf8' })
  .map((file) => file.replaceAll('\\', '/'))
  .filter((file) => file.endsWith('.ts'))
const textOf = (file: string): string => readFileSync(join(SRC, file), 'utf8')
const layerOf = (file: string): string => (file.includes('/') ? file.slice(0, file.indexOf('/')) : file.replace(/\.ts$/, ''))
/** Drivers do not know each other: each is a family of its own. */
const familyOf = (file: string): string => file.split('/').slice(0, 2).join('/')

interface Arrow {
  readonly from: string
  readonly to: string
}
const arrows: readonly Arrow[] = files.flatMap((from) => {
  const code = textOf(from).replaceAll(/\/\*[\s\S]*?\*\/|^\s*\/\/.*$/gm, '')
  return [...code.matchAll(/(?:^\s*(?:import|export)\b[^'"`]*?\bfrom\s+|\bimport\s*\(\s*|^\s*import\s+)['"]([^'"]+)['"]/gm)].map(
    ([, to]) => ({
      from,
      to: (to as string).startsWith('.') ? posix.normalize(`${dirname(from)}/${to}`) : `package:${to}`,
    }),
  )
})
const show = ({ from, to }: Arrow): string => `${from} -> ${to}`

test('imports point inward only', () => {
  const wrong = arrows.filter(({ from, to }) => {
    const layer = LAYERS[layerOf(from)]
    if (layer === undefined) return true
    if (to.startsWith('package:')) return !layer.packages.test(to.slice('package:'.length))
    return layerOf(to) !== layerOf(from) && !layer.may.includes(layerOf(to))
  })
  expect(wrong.map(show)).toEqual([])
})

test('what is imported by a name that only the run knows is told here, because no rule can see it', () => {
  const unseen = files.filter((file) => /\bimport\s*\(\s*(?!['"\s])/.test(textOf(file).replaceAll(/\/\*[\s\S]*?\*\/|\/\/.*$/gm, '')))
  expect(Object.fromEntries(unseen.map((file) => [file, BY_NAME[file]]))).toEqual(BY_NAME)
})

test('no driver knows another', () => {
  const wrong = arrows.filter(({ from, to }) => layerOf(from) === 'drivers' && layerOf(to) === 'drivers' && familyOf(from) !== familyOf(to))
  expect(wrong.map(show)).toEqual([])
})

test('no file imports itself, however far round', () => {
  const next = Map.groupBy(arrows, ({ from }) => from)
  const done = new Set<string>()
  const visit = (file: string, path: readonly string[]): void => {
    if (path.includes(file)) throw new Error(`import cycle: ${[...path.slice(path.indexOf(file)), file].join(' -> ')}`)
    if (done.has(file)) return
    for (const { to } of next.get(file) ?? []) visit(to, [...path, file])
    done.add(file)
  }
  for (const file of files) visit(file, [])
})

test('every import names a file', () => {
  expect(arrows.filter(({ to }) => !to.startsWith('package:') && !files.includes(to)).map(show)).toEqual([])
})

test('a file fits in one sitting, or says why not', () => {
  const long = files.filter((file) => textOf(file).split('\n').length > LINES_MAX && LONG[file] === undefined)
  expect(long).toEqual([])
})

test('time and chance come from ports, outside drivers and tools', () => {
  const free = new Set(['drivers', 'cli', 'testing', 'server'])
  const wrong = files.filter(
    (file) => !free.has(layerOf(file)) && FORBIDDEN.test(textOf(file).replaceAll(/\/\*[\s\S]*?\*\/|\/\/.*$/gm, '')),
  )
  expect(wrong).toEqual([])
})
