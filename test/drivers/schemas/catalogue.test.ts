import { mkdir, mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { codeOf } from '../../../src/base/errors.ts'
import { layeredSchemas, memorySchemas, schemaCatalogue } from '../../../src/drivers/schemas/index.ts'

let folder = ''
let file = ''
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'tidemark-catalogue-'))
  file = join(folder, 'catalogue.json')
})
afterEach(() => rm(folder, { recursive: true }))

const schema = (name: string, ...fields: string[]): { readonly type: string } =>
  ({ type: 'record', name, fields: fields.map((name) => ({ name, type: 'string' })) }) as { readonly type: string }

describe('the catalogue file', () => {
  it('is readable, sorted by id, and only grows', async () => {
    const catalogue = schemaCatalogue({ file, writable: true })
    await catalogue.idOf('orders.OrderPlaced', schema('orders.OrderPlaced', 'id', 'region'))
    const first = await readFile(file, 'utf8')
    await catalogue.idOf('orders.OrderCancelled', schema('orders.OrderCancelled', 'id'))
    const second = await readFile(file, 'utf8')
    expect(second).toBe(`{
  "format": 1,
  "schemas": [
    {
      "id": 1,
      "subject": "orders.OrderPlaced",
      "schema": {
        "type": "record",
        "name": "orders.OrderPlaced",
        "fields": [
          { "name": "id", "type": "string" },
          { "name": "region", "type": "string" }
        ]
      }
    },
    {
      "id": 2,
      "subject": "orders.OrderCancelled",
      "schema": { "type": "record", "name": "orders.OrderCancelled", "fields": [{ "name": "id", "type": "string" }] }
    }
  ]
}
`)
    const entries = (text: string): unknown[] => (JSON.parse(text) as { schemas: unknown[] }).schemas
    expect(entries(second).slice(0, 1)).toEqual(entries(first))
  })

  it('is the only file left after writing, also after a refusal', async () => {
    const catalogue = schemaCatalogue({ file, writable: true })
    await catalogue.idOf('a', schema('A'))
    await writeFile(file, 'damaged')
    expect(await catalogue.idOf('b', schema('B')).catch(codeOf)).toBe('SCHEMA_SOURCE_FAILED')
    expect(await readdir(folder)).toEqual(['catalogue.json'])
  })

  it('continues after the highest id, also where lower ones are missing', async () => {
    await writeFile(file, JSON.stringify({ format: 1, schemas: [{ id: 7, subject: 'a', schema: schema('A') }] }))
    expect(await schemaCatalogue({ file, writable: true }).idOf('b', schema('B'))).toBe(8)
  })

  it('runs out of ids instead of giving one that does not fit a frame', async () => {
    await writeFile(file, JSON.stringify({ format: 1, schemas: [{ id: 2 ** 31 - 1, subject: 'a', schema: schema('A') }] }))
    await expect(schemaCatalogue({ file, writable: true }).idOf('b', schema('B'))).rejects.toMatchObject({
      message: 'the schema catalogue has no id left',
    })
  })

  it('takes registrations of two catalogues over one file', async () => {
    const [a, b] = [schemaCatalogue({ file, writable: true }), schemaCatalogue({ file, writable: true })]
    const ids = await Promise.all([a.idOf('a', schema('A')), b.idOf('b', schema('B')), a.idOf('c', schema('C')), b.idOf('a', schema('A'))])
    // Which of the two writes first is chance.
    expect(new Set(ids)).toEqual(new Set([1, 2, 3]))
    expect(ids[3]).toBe(ids[0])
  })

  it('is not written while another process writes it', async () => {
    await writeFile(`${file}.tmp`, '')
    const refused = schemaCatalogue({ file, writable: true }).idOf('a', schema('A'))
    await expect(refused).rejects.toMatchObject({
      code: 'SCHEMA_SOURCE_FAILED',
      hint: expect.stringContaining('Another process is writing'),
    })
    expect(await readdir(folder)).toEqual(['catalogue.json.tmp'])
    await rm(`${file}.tmp`)
    expect(await schemaCatalogue({ file, writable: true }).idOf('a', schema('A'))).toBe(1)
  })
})

describe('a catalogue that is only read', () => {
  it('says what to do about a new schema, and writes nothing', async () => {
    await schemaCatalogue({ file, writable: true }).idOf('a', schema('A'))
    const before = await readFile(file, 'utf8')
    await expect(schemaCatalogue({ file, writable: false }).idOf('a', schema('A', 'more'))).rejects.toMatchObject({
      code: 'SCHEMA_UNREGISTERED',
      message: 'the schema of "a" is not in the catalogue',
      hint: 'Run "tidemark types" and commit what it writes.',
    })
    expect(await readFile(file, 'utf8')).toBe(before)
  })

  it('must exist', async () => {
    await expect(schemaCatalogue({ file, writable: false }).byId(1)).rejects.toMatchObject({
      code: 'SCHEMA_SOURCE_FAILED',
      hint: 'Run "tidemark types" to make it.',
    })
  })

  it('that cannot be read is a failure of the source and not an unknown id', async () => {
    await mkdir(file)
    await expect(schemaCatalogue({ file, writable: false }).byId(1)).rejects.toMatchObject({
      code: 'SCHEMA_SOURCE_FAILED',
      message: 'the schema catalogue cannot be read',
    })
  })
})

describe('a damaged catalogue is refused with its line', () => {
  const entry = (id: unknown, subject: unknown = 'a', name = 'A'): object => ({ id, subject, schema: schema(name) })
  const text = (...schemas: unknown[]): string =>
    `{"format": 1, "schemas": [\n${schemas.map((entry) => JSON.stringify(entry)).join(',\n')}\n]}`
  const cases: [string, string, RegExp][] = [
    ['no JSON', '{"format": 1,\n"schemas": [}', /catalogue\.json:2: Unexpected token '}'\.$/],
    ['nothing', '', /catalogue\.json:1: /],
    ['a merge that is not done', `${text(entry(1)).slice(0, -3)}\n<<<<<<< ours\n`, /catalogue\.json:3: /],
    ['another format', '{"format": 2, "schemas": []}', /:1: it is not of format 1\.$/],
    ['a list', '[]', /:1: it is not of format 1\.$/],
    ['null', 'null', /:1: it is not of format 1\.$/],
    ['no list', '{"format": 1}', /:1: it has no list of schemas\.$/],
    ['an id used twice', text(entry(1), entry(2, 'b'), entry(2, 'c')), /:4: id 2 comes after id 2\.$/],
    ['ids out of order', text(entry(2), entry(1, 'b')), /:3: id 1 comes after id 2\.$/],
    ['an id that is a text', text(entry('1')), /:2: the id of entry 1 is not an integer/],
    ['an id of 32 bits', text(entry(2 ** 31)), /:2: the id of entry 1 is not an integer from 1 to 2147483647\.$/],
    ['an entry that is null', text(null), /:2: the id of entry 1 is not an integer/],
    ['no subject', text(entry(1, '')), /:2: entry 1 has no subject\.$/],
    ['one schema twice', text(entry(1), entry(2)), /:3: entry 2 repeats entry 1\.$/],
    [
      'a schema that is none',
      text({ id: 1, subject: 'a', schema: { type: 'record', name: 'A' } }),
      /:2: the schema of entry 1 is refused: record "A" must have a list of fields\.$/,
    ],
  ]
  it.each(cases)('%s', async (_, content, detail) => {
    await writeFile(file, content)
    await expect(schemaCatalogue({ file, writable: false }).byId(1)).rejects.toMatchObject({
      code: 'SCHEMA_SOURCE_FAILED',
      message: 'the schema catalogue cannot be read',
      detail: expect.stringMatching(detail),
    })
    expect(await schemaCatalogue({ file, writable: true }).idOf('new', schema('New')).catch(codeOf)).toBe('SCHEMA_SOURCE_FAILED')
    expect(await readFile(file, 'utf8')).toBe(content)
  })

  it('with a hint when it is a merge', async () => {
    await writeFile(file, '{\n<<<<<<< ours\n')
    await expect(schemaCatalogue({ file, writable: false }).byId(1)).rejects.toMatchObject({
      hint: expect.stringContaining('Keep the entries of both sides'),
    })
  })
})

describe('layers', () => {
  it('answer in their order', async () => {
    const [a, b] = [memorySchemas(), memorySchemas({ firstId: 10 })]
    await b.idOf('x', schema('X'))
    await a.idOf('x', schema('X'))
    const layers = layeredSchemas([a, b])
    expect(await layers.idOf('x', schema('X'))).toBe(1)
    expect(await layers.byId(10)).toEqual(schema('X'))
  })

  it('register in the last writable one', async () => {
    const [a, b] = [memorySchemas(), memorySchemas({ firstId: 10 })]
    const layers = layeredSchemas([a, b])
    expect(layers.writable).toBe(true)
    expect(await layers.idOf('x', schema('X'))).toBe(10)
    expect(await a.find('x', schema('X'))).toBeUndefined()
  })

  it('that are all read-only refuse what is new', async () => {
    await schemaCatalogue({ file, writable: true }).idOf('a', schema('A'))
    const layers = layeredSchemas([schemaCatalogue({ file, writable: false })])
    expect(layers.writable).toBe(false)
    expect(await layers.idOf('b', schema('B')).catch(codeOf)).toBe('SCHEMA_UNREGISTERED')
  })

  it('do not let an id mean two things', async () => {
    const a = memorySchemas()
    await a.idOf('a', schema('A'))
    await expect(layeredSchemas([a, memorySchemas()]).idOf('b', schema('B'))).rejects.toMatchObject({
      code: 'SCHEMA_SOURCE_FAILED',
      message: 'schema id 1 means two things',
    })
  })

  it('do not pass over one that cannot answer', async () => {
    const broken = schemaCatalogue({ file, writable: false })
    expect(await layeredSchemas([broken, memorySchemas()]).byId(1).catch(codeOf)).toBe('SCHEMA_SOURCE_FAILED')
  })

  it('need at least one', () => {
    expect(() => layeredSchemas([])).toThrow(TypeError)
  })
})
