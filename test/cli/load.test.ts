/** Topologies as modules: what is found, and what every way of going wrong says. */
import { mkdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, test } from 'vitest'
import { loadTopology } from '../../src/cli/load.ts'
import { ROOT, SHOP, temporary } from './tidemark.ts'

const TIDEMARK = JSON.stringify(join(ROOT, 'src', 'index.ts'))
const topology = (name: string): string => `topology('${name}', (flow) => {
  flow.stream('${name}.in', { key: text, value: schema({ type: 'record', name: 'Thing', fields: [{ name: 'n', type: 'int' }] }) }).to('out', '${name}.out')
  return []
})`
const HEAD = `import { schema, text, topology } from ${TIDEMARK}\n`

function moduleOf(text: string): string {
  const folder = temporary()
  writeFileSync(join(folder, 'index.ts'), text)
  return folder
}

describe('a topology', () => {
  test('is found in a folder, in a file, and below topologies/ by its name', async () => {
    const inFolder = await loadTopology(SHOP, ROOT)
    expect([inFolder.topology.name, inFolder.name, inFolder.folder]).toEqual(['shop', SHOP, join(ROOT, SHOP)])
    expect(Object.keys(inFolder.feed?.options ?? {})).toContain('orders')
    expect((await loadTopology(`${SHOP}/renamed.ts`, ROOT)).feed).toBeUndefined()

    const working = temporary()
    mkdirSync(join(working, 'topologies', 'things'), { recursive: true })
    writeFileSync(join(working, 'topologies', 'things', 'index.ts'), `${HEAD}export const things = ${topology('things')}`)
    expect((await loadTopology('things', working)).topology.name).toBe('things')
  })

  test('among several is chosen by the name of its export, and named so again', async () => {
    const folder = moduleOf(`${HEAD}export const one = ${topology('one')}\nexport const two = ${topology('two')}`)
    await expect(loadTopology(folder, ROOT)).rejects.toMatchObject({
      code: 'INPUT_INVALID',
      hint: expect.stringContaining(`${folder}#one`),
    })
    const chosen = await loadTopology(`${folder}#two`, ROOT)
    expect([chosen.topology.name, chosen.name]).toEqual(['two', `${folder}#two`])
    await expect(loadTopology(`${folder}#tow`, ROOT)).rejects.toMatchObject({ hint: `Did you mean ${folder}#two?` })
  })

  test('under two names is one', async () => {
    const folder = moduleOf(`${HEAD}export const one = ${topology('one')}\nexport default one`)
    expect((await loadTopology(folder, ROOT)).topology.name).toBe('one')
  })
})

describe('a module that is not right', () => {
  test.each([
    ['throws', 'export const broken = undefined\nthrow new RangeError("no such thing")', 'RangeError: no such thing'],
    ['is no TypeScript', 'export const x: = 1', 'index.ts'],
    ['imports what is not there', `import './nowhere.ts'`, 'nowhere.ts'],
    ['exports no topology', 'export const x = { name: "x" }', 'No export of it was made by topology(...).'],
  ])('because it %s is answered with where and why', async (_, text, detail) => {
    await expect(loadTopology(moduleOf(text), ROOT)).rejects.toMatchObject({
      code: 'INPUT_INVALID',
      detail: expect.stringContaining(detail),
      hint: expect.any(String),
    })
  })

  test('because tidemark refused it keeps the code of that', async () => {
    const folder = moduleOf(`${HEAD}export const empty = topology('empty', () => [])`)
    await expect(loadTopology(folder, ROOT)).rejects.toMatchObject({ code: 'TOPOLOGY_INVALID' })
  })

  test('because its feed is none is told what a feed has', async () => {
    const folder = moduleOf(`${HEAD}export const one = ${topology('one')}\nexport const feed = { open: 1 }`)
    await expect(loadTopology(folder, ROOT)).rejects.toMatchObject({
      code: 'INPUT_INVALID',
      detail: expect.stringContaining('"open", a function'),
    })
  })
})

describe('a place that is not right', () => {
  test('suggests what was meant, or lists what there is', async () => {
    const working = temporary()
    for (const name of ['retail', 'returns']) {
      mkdirSync(join(working, 'topologies', name), { recursive: true })
      writeFileSync(join(working, 'topologies', name, 'index.ts'), '')
    }
    await expect(loadTopology('retial', working)).rejects.toMatchObject({ hint: 'Did you mean topologies/retail?' })
    await expect(loadTopology('topologies/retrail', working)).rejects.toMatchObject({ hint: 'Did you mean topologies/retail?' })
    await expect(loadTopology('inventory', working)).rejects.toMatchObject({ hint: 'There are: topologies/retail, topologies/returns.' })
    await expect(loadTopology('', working)).rejects.toMatchObject({ code: 'INPUT_INVALID' })
    await expect(loadTopology('x', temporary())).rejects.toMatchObject({ hint: 'Name the file or folder of a topology.' })
  })

  test('that is a folder without a module says which files it looked for', async () => {
    await expect(loadTopology(temporary(), ROOT)).rejects.toMatchObject({ detail: expect.stringContaining('index.ts') })
  })
})
