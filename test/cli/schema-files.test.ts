import { spawnSync } from 'node:child_process'
import { mkdir, mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { dirname, join, resolve } from 'node:path'
import { execPath } from 'node:process'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { generateTypes } from '../../src/cli/schema-files.ts'

const ROOT = resolve(import.meta.dirname, '../..')
let folder = ''
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'tidemark-types-'))
})
afterEach(() => rm(folder, { recursive: true }))

async function write(path: string, content: unknown): Promise<void> {
  await mkdir(dirname(join(folder, path)), { recursive: true })
  await writeFile(join(folder, path), typeof content === 'string' ? content : JSON.stringify(content, null, 2))
}
const read = (path: string): Promise<string> => readFile(join(folder, path), 'utf8')
/** Every file below the folder with its content. */
async function everything(): Promise<Record<string, string>> {
  const entries = await readdir(folder, { withFileTypes: true, recursive: true })
  const files = entries.filter((entry) => entry.isFile()).map((entry) => join(entry.parentPath, entry.name))
  return Object.fromEntries(await Promise.all(files.sort().map(async (file) => [file, await readFile(file, 'utf8')])))
}

const field = (name: string, type: unknown, more: object = {}): object => ({ name, type, ...more })
const OrderPlaced = {
  type: 'record',
  name: 'orders.OrderPlaced',
  fields: [field('id', 'string'), field('total', 'long', { 'tidemark.brand': 'Cents' })],
}
const Stock = { type: 'record', name: 'inventory.Stock', fields: [field('quantity', 'int')] }

describe('tidemark types', () => {
  it('writes a module a context and registers every schema', async () => {
    await write('orders/OrderPlaced.avsc', OrderPlaced)
    await write('inventory/Stock.avsc', Stock)
    const report = await generateTypes({ folder })
    expect(report).toEqual({
      problems: [],
      drift: [
        { path: 'inventory/Stock.avsc', kind: 'unregistered', message: 'inventory.Stock is now, with id 1, in catalogue.json' },
        { path: 'orders/OrderPlaced.avsc', kind: 'unregistered', message: 'orders.OrderPlaced is now, with id 2, in catalogue.json' },
        { path: 'inventory/index.ts', kind: 'missing', message: 'it does not exist yet' },
        { path: 'orders/index.ts', kind: 'missing', message: 'it does not exist yet' },
      ],
      schemas: 2,
      modules: 2,
    })
    expect(await read('orders/index.ts')).toContain("import { type Branded, type Schema, schema } from 'tidemark'")
    expect(JSON.parse(await read('catalogue.json'))).toEqual({
      format: 1,
      schemas: [
        { id: 1, subject: 'inventory.Stock', schema: Stock },
        { id: 2, subject: 'orders.OrderPlaced', schema: OrderPlaced },
      ],
    })
  })

  it('has nothing to do the second time', async () => {
    await write('orders/OrderPlaced.avsc', OrderPlaced)
    await generateTypes({ folder })
    const before = await everything()
    expect((await generateTypes({ folder })).drift).toEqual([])
    expect((await generateTypes({ folder, check: true })).drift).toEqual([])
    expect(await everything()).toEqual(before)
  })

  it('keeps the ids of old versions', async () => {
    await write('orders/OrderPlaced.avsc', OrderPlaced)
    await generateTypes({ folder })
    await write('orders/OrderPlaced.avsc', {
      ...OrderPlaced,
      fields: [...OrderPlaced.fields, field('gift', 'boolean', { default: false })],
    })
    await generateTypes({ folder })
    const { schemas } = JSON.parse(await read('catalogue.json')) as { schemas: { id: number; schema: object }[] }
    expect(schemas.map(({ id }) => id)).toEqual([1, 2])
    expect(schemas[0]?.schema).toEqual(OrderPlaced)
  })

  it('removes a module whose schemas are gone, and no other file', async () => {
    await write('orders/OrderPlaced.avsc', OrderPlaced)
    await generateTypes({ folder })
    await rm(join(folder, 'orders/OrderPlaced.avsc'))
    await write('notes/index.ts', 'export const mine = 1\n')
    expect((await generateTypes({ folder })).drift).toEqual([{ path: 'orders/index.ts', kind: 'stale', message: 'its schemas are gone' }])
    expect(await readdir(join(folder, 'orders'))).toEqual([])
    expect(await read('notes/index.ts')).toBe('export const mine = 1\n')
  })

  it('writes nothing when any file has a problem', async () => {
    await write('orders/OrderPlaced.avsc', OrderPlaced)
    await write('orders/Broken.avsc', '{')
    await write('Stray.avsc', Stock)
    const before = await everything()
    const { problems } = await generateTypes({ folder })
    expect(problems.map(({ path }) => path)).toEqual(['Stray.avsc', 'orders/Broken.avsc'])
    expect(await everything()).toEqual(before)
  })

  it('does not overwrite a file that it did not make', async () => {
    await write('orders/OrderPlaced.avsc', OrderPlaced)
    await write('orders/index.ts', 'export const mine = 1\n')
    const before = await everything()
    await expect(generateTypes({ folder })).rejects.toMatchObject({
      code: 'INPUT_INVALID',
      message: 'orders/index.ts is not a generated file',
    })
    expect(await everything()).toEqual(before)
  })

  it('needs a folder', async () => {
    await expect(generateTypes({ folder: join(folder, 'nowhere') })).rejects.toMatchObject({
      code: 'INPUT_INVALID',
      message: 'the folder of schemas cannot be read',
    })
  })
})

describe('tidemark types --check', () => {
  it('reports each drift and changes nothing', async () => {
    await write('orders/OrderPlaced.avsc', OrderPlaced)
    await write('inventory/Stock.avsc', Stock)
    await write('gone/Old.avsc', { type: 'record', name: 'gone.Old', fields: [] })
    await generateTypes({ folder })
    await rm(join(folder, 'gone/Old.avsc'))
    await rm(join(folder, 'inventory/index.ts'))
    await write('orders/OrderPlaced.avsc', { ...OrderPlaced, fields: [field('id', 'string')] })
    const before = await everything()
    expect((await generateTypes({ folder, check: true })).drift).toEqual([
      { path: 'orders/OrderPlaced.avsc', kind: 'unregistered', message: 'orders.OrderPlaced is not in catalogue.json' },
      { path: 'gone/index.ts', kind: 'stale', message: 'its schemas are gone' },
      { path: 'inventory/index.ts', kind: 'missing', message: 'it does not exist yet' },
      { path: 'orders/index.ts', kind: 'different', message: 'it is not what its schemas make now' },
    ])
    expect(await everything()).toEqual(before)
  })

  it('reports a schema before there is any catalogue', async () => {
    await write('orders/OrderPlaced.avsc', OrderPlaced)
    expect((await generateTypes({ folder, check: true })).drift.map(({ kind }) => kind)).toEqual(['unregistered', 'missing'])
    expect(await readdir(folder)).toEqual(['orders'])
  })

  it('finds nothing wrong with the line ends of another system', async () => {
    await write('orders/OrderPlaced.avsc', OrderPlaced)
    await generateTypes({ folder })
    await write('orders/index.ts', (await read('orders/index.ts')).replaceAll('\n', '\r\n'))
    expect((await generateTypes({ folder, check: true })).drift).toEqual([])
  })
})

describe('what is generated', () => {
  const long = 'a sentence that is long enough to make the line around it longer than any formatter lets it be, and then some more'
  const Everything = {
    type: 'record',
    name: 'all.Everything',
    doc: 'It\'s "everything" with */ in it.\n\n  Two paragraphs.\n',
    'x-quoted': "it's",
    fields: [
      field('text', 'string', { doc: `${long}. ${long}.` }),
      field('position', ['null', 'long'], { 'tidemark.type': 'bigint', default: null, doc: long }),
      field('quantity', 'int', { 'tidemark.brand': 'Quantity', default: 1 }),
      field('at', { type: 'long', logicalType: 'timestamp-millis' }),
      field('blob', ['bytes', 'string', 'null']),
      field('hash', { type: 'fixed', name: 'Hash', size: 2 }),
      field('kind', { type: 'enum', name: 'Kind', symbols: ['A', 'B'], default: 'A', doc: 'Which.' }),
      field('many', { type: 'enum', name: 'Many', symbols: Array.from({ length: 20 }, (_, i) => `SYMBOL_${i}`) }),
      field('either', [
        'null',
        { type: 'record', name: 'Card', fields: [field('x', 'int')] },
        { type: 'record', name: 'Cash', fields: [] },
      ]),
      field(
        'one_of_many_records_with_a_long_name',
        Array.from({ length: 4 }, (_, i) => ({ type: 'record', name: `AlternativeWithALongName${i}`, fields: [field('a', 'int')] })),
      ),
      field('lists', { type: 'array', items: { type: 'array', items: ['null', 'Card'] } }),
      field('tree', { type: 'map', values: { type: 'array', items: 'Everything' } }, { default: {} }),
      field('large', 'double', { default: 1e30 }),
      field('quoted', 'string', { default: `"it's" ${long}`, aliases: ['a', 'b'] }),
    ],
  }

  it('compiles in the strictest settings, and is formatted and linted already', async () => {
    await write('all/Everything.avsc', Everything)
    await write('all/Hash16.avsc', { type: 'fixed', name: 'all.Hash16', size: 16 })
    await write('all/Empty.avsc', { type: 'record', name: 'all.Empty', fields: [] })
    await write('names/Only.avsc', { type: 'enum', name: 'names.Only', symbols: ['ONE'] })
    expect((await generateTypes({ folder, importFrom: join(ROOT, 'src/contract/schema.ts') })).problems).toEqual([])
    await write(
      'use.ts',
      `import { Empty, Everything, type Kind, type Quantity } from './all/index.ts'
import type { Only } from './names/index.ts'
const only: Only = 'ONE'
const kind: Kind = 'B'
export const read = (value: Everything): [string, Quantity, number, bigint | null, Uint8Array | string | null] =>
  [value.text + Everything.name + only + kind + Empty.name, value.quantity, value.at, value.position, value.blob]
export const first = (value: Everything): number | undefined => value.lists[0]?.[0]?.x
// @ts-expect-error a number is no quantity until someone says so
export const wrong = (value: Everything): Everything => ({ ...value, quantity: 1 })
`,
    )
    await write('package.json', { type: 'module' })
    await write('tsconfig.json', {
      extends: join(ROOT, 'tsconfig.json'),
      compilerOptions: { types: [], noUncheckedSideEffectImports: true },
      include: ['**/*.ts'],
    })
    expect(tool('typescript/bin/tsc', ['-p', join(folder, 'tsconfig.json')])).toBe('')
    for (const path of ['all/index.ts', 'names/index.ts', 'catalogue.json']) {
      expect(tool('@biomejs/biome/bin/biome', ['check', '--write', `--stdin-file-path=${path}`], await read(path)), path).toBe(
        await read(path),
      )
    }
    await write('module.ts', `import { Everything } from './all/index.ts'\nconsole.log(JSON.stringify(Everything.avro))\n`)
    const { status, stdout } = spawnSync(execPath, ['--disable-warning=ExperimentalWarning', join(folder, 'module.ts')], {
      encoding: 'utf8',
    })
    expect([status, JSON.parse(stdout)]).toEqual([0, Everything])
  })

  /** What a development tool prints about a text. */
  function tool(path: string, args: readonly string[], input = ''): string {
    const { stdout, stderr, status } = spawnSync(execPath, [join(ROOT, 'node_modules', path), ...args], {
      cwd: ROOT,
      encoding: 'utf8',
      input,
    })
    return status === 0 ? stdout : `${stdout}${stderr}`
  }
})
