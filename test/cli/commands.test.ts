/** The commands that end at once: what they print, and what their exit codes mean. */
import { existsSync, globSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { gzipSync } from 'node:zlib'
import { describe, expect, test } from 'vitest'
import { type Ended, inProcess, lastLine, ROOT, SHOP, temporary } from './tidemark.ts'

const tidemark = (...args: readonly string[]): Promise<Ended> => inProcess(args)

/** A topology in a folder of its own, where its lock lies too. */
function copyOf(file: string, lock?: string): string {
  const folder = temporary()
  writeFileSync(join(folder, 'index.ts'), `export { shop } from ${JSON.stringify(join(ROOT, SHOP, file))}\n`)
  if (lock !== undefined) writeFileSync(join(folder, 'shop.plan.json'), lock)
  return folder
}

const HELPED = (
  'dev, run, plan, check, types, export, replay, verify, acl, dead, dead list, dead show, dead redrive, ' +
  'topics, topics plan, topics apply, topics verify'
).split(', ')

describe('words', () => {
  test('that no command knows are answered with a sentence and what was meant', async () => {
    for (const [args, meant] of [
      [['pln'], 'Did you mean plan?'],
      [['plan', SHOP, '--fromat', 'text'], 'Did you mean --format?'],
      [['plan', SHOP, '--stage', 'topcs'], 'Did you mean topics?'],
      [['dev', SHOP, '--oders', '5'], 'Did you mean --orders?'],
      [['dev', 'topologies/retial'], 'Did you mean topologies/retail?'],
      [['dev', SHOP, '--port', 'http'], 'A port is a number from 0 to 65535'],
      [['dev', '--orders', '5', SHOP], 'Name it first'],
      [['export'], 'Look at --help.'],
    ] as const) {
      const { code, out, err } = await tidemark(...args)
      expect([code, out]).toEqual([args[1] === 'topologies/retial' ? 78 : 64, ''])
      expect(err).toContain(meant)
      expect(err).toMatch(/^[A-Z_]+: \S.*\n/)
    }
  })

  test('of a feed are its own: a bad value is refused by it, as data too', async () => {
    const { code, out, err } = await tidemark('dev', SHOP, '--dir', temporary(), '--once', '--json', '--orders', 'many')
    expect(code).toBe(64)
    expect(JSON.parse(out)).toEqual({ error: { code: 'OPTION_INVALID', message: '--orders is not a number', hint: 'Write --orders 200.' } })
    expect(err).toContain('hint: Write --orders 200.')
  })

  test('of help are there for every command, with examples, and for the options of a feed', async () => {
    for (const command of HELPED) {
      const { code, out } = await tidemark(...command.split(' '), '--help')
      expect(code).toBe(0)
      expect(out).toContain(`Usage: tidemark ${command}`)
      expect(out).toContain('Examples:')
    }
    const { out } = await tidemark('dev', SHOP, '--help')
    expect(out).toMatch(/Options of its feed:\n\s+--orders <n>\s+how many orders there are \(default: 200\)/)
  })

  test('that ask for JSON are the same for every command, or are answered with what it has instead', async () => {
    for (const command of HELPED) {
      const words = command.split(' ')
      const { out } = await tidemark(...words, '--help')
      if (out.includes(' --json ')) continue
      expect(['export', 'dead', 'topics']).toContain(command)
      const refused = await tidemark(...words, ...(command === 'export' ? ['stock'] : []), '--json')
      const { error } = JSON.parse(refused.out) as { error: { message: string; hint: string } }
      expect([refused.code, error.message]).toEqual([64, "unknown option '--json'"])
      expect(error.hint).toMatch(/^Leave it out: what is printed is JSON|--json behind it: tidemark (dead|topics) \w+ .*--json\.$/)
    }
    expect((await tidemark('--json')).err).toContain('hint: It goes behind a command')
    expect((await tidemark('check', SHOP, '--format', 'json')).err).toContain('hint: For JSON say --json.\n')
  })

  test('of two that print one thing in two ways are refused, and --json is --format json', async () => {
    for (const command of ['plan', 'acl']) {
      const said = await tidemark(command, SHOP, '--json')
      expect(said).toEqual(await tidemark(command, SHOP, '--format', 'json'))
      expect([said.code, typeof JSON.parse(said.out)]).toEqual([0, 'object'])
      expect(await tidemark(command, SHOP, '--format', 'json', '--json')).toEqual(said)
      expect(await tidemark(command, SHOP, '--format', 'text', '--json')).toMatchObject({
        code: 64,
        out: expect.stringContaining('"message":"--json and --format text contradict each other"'),
      })
    }
    expect((await tidemark('plan', SHOP)).out).toMatch(/^shop: /)
  })

  test('of nothing at all get the help, and no success', async () => {
    const { code, err } = await tidemark()
    expect(code).toBe(64)
    expect(err).toContain('Begin with:')
  })

  test.each([
    [['dev', SHOP, '--port', '-1'], '--port cannot be "-1"\nA port is a number from 0 to 65535.\n'],
    [['dev', SHOP, '--port=-1'], '--port cannot be "-1"\nA port is a number from 0 to 65535.\n'],
    [['dead', 'show', '--limit', '-2'], '--limit cannot be "-2"\nIt is a whole number from 1.\n'],
    [['run', SHOP, '--replication', '-1'], '--replication cannot be "-1"\nIt is a whole number from 1.\n'],
    [['run', SHOP, '--session', '-5s'], '--session is not a duration\nIt is "-5s".\n'],
    [['plan', SHOP, '--stage', 'topcs'], '--stage cannot be "topcs"\nhint: Did you mean topics?\n'],
  ])('say what is wrong with a value, and never take one below 0 for a flag: %j', async (args, said) => {
    expect(await tidemark(...args)).toMatchObject({ code: 64, out: '', err: expect.stringContaining(`OPTION_INVALID: ${said}`) })
  })

  test('ask for the version', async () => {
    expect(await tidemark('--version')).toMatchObject({ code: 0, out: '1.2.3\n' })
  })
})

describe('acl', () => {
  test('takes a principal with its type only, as the tool does that gets its commands, and names the one that was meant', async () => {
    const refused = await tidemark('acl', SHOP, '--principal', 'retail', '--format', 'commands')
    expect(refused).toMatchObject({ code: 64, out: '', err: expect.stringContaining('principal "retail" has no type') })
    expect(refused.err).toContain('--principal User:retail\n')
    for (const principal of ['', ':x', 'User:'])
      expect(await tidemark('acl', SHOP, '--principal', principal)).toMatchObject({ code: 64, err: expect.stringContaining('has no type') })
    const granted = await tidemark('acl', SHOP, '--principal', 'User:the shop', '--format', 'commands')
    expect(granted).toMatchObject({ code: 0, out: expect.stringContaining(`--allow-principal 'User:the shop' `) })
    expect((await tidemark('acl', SHOP)).out).toMatch(/^User:shop needs:/)
  })
})

describe('the feed of the shop that is shipped', () => {
  test('is refused for its input before anything is made: no folder is left behind', async () => {
    const home = temporary()
    const dir = join(home, 'made', 'never')
    writeFileSync(join(home, 'other.csv'), 'a,b,c\n1,2,3\n')
    writeFileSync(join(home, 'half.csv.gz'), gzipSync('InvoiceNo,StockCode\n').subarray(0, 20))
    for (const [words, code] of [
      [['--csv', join(home, 'nothing.csv')], 78],
      [['--csv', join(home, 'other.csv')], 78],
      [['--csv', join(home, 'half.csv.gz')], 78],
      [['--csv', home], 78],
      [['--seed', 'abc'], 64],
    ] as const) {
      const refused = await tidemark('dev', 'topologies/retail', '--dir', dir, '--once', ...words)
      expect([refused.code, existsSync(join(home, 'made'))], refused.err).toEqual([code, false])
    }
  })

  test.each([
    [['--seed', '-3'], '--seed is not a whole number from 0', 'Write --seed 7, or leave it out.'],
    [['--seed=-3'], '--seed is not a whole number from 0', 'Write --seed 7, or leave it out.'],
    [['--seed', 'abc'], '--seed is not a whole number from 0', 'Write --seed 7, or leave it out.'],
    [['--seed', '1.5'], '--seed is not a whole number from 0', 'Write --seed 7, or leave it out.'],
    [['--pace', '0'], '--pace is not a number above 0', 'Write --pace 2000, or leave it out.'],
    [['--csv='], '--csv needs a value', 'Write --csv invoices.csv, or leave it out.'],
  ])('refuses %j with words that can be written instead', async (words, message, hint) => {
    const { code, out } = await tidemark('dev', 'topologies/retail', '--dir', temporary(), '--once', '--json', ...words)
    expect(code).toBe(64)
    expect(JSON.parse(out)).toMatchObject({ error: { code: 'OPTION_INVALID', message, hint } })
  })
})

describe('plan', () => {
  test('prints one pass or all, as text, data or a picture', async () => {
    expect((await tidemark('plan', SHOP)).out).toMatch(/^shop: 6 steps, 2 stages, /)
    const topics = await tidemark('plan', SHOP, '--stage', 'topics')
    expect(topics.out).toMatch(/^Topics: .*\n {2}source {5}orders\.v1 {2,}2 partitions/)
    const data = await tidemark('plan', SHOP, '--stage', 'stores', '--format', 'json')
    expect(JSON.parse(data.out)).toMatchObject({
      app: 'shop',
      stores: [{ id: 1, name: 'orders-once' }, { id: 2 }, { id: 3, name: 'demand-by-sku' }],
    })
    expect((await tidemark('plan', SHOP, '--format', 'mermaid')).out).toMatch(/^flowchart LR\n/)
    const drawn = await tidemark('plan', SHOP, '--stage', 'co-partitioning', '--format', 'mermaid')
    expect(drawn).toMatchObject({ code: 0, out: expect.stringContaining('step_orders -- rows by key --> step_orders_once') })
  })

  test('refuses what contradicts itself', async () => {
    for (const args of [
      ['--check', '--write'],
      ['--format', 'mermaid', '--check'],
      ['--check', '--stage', 'topics'],
    ])
      expect((await tidemark('plan', SHOP, ...args)).code).toBe(64)
  })

  test('checks the lock: 1 without one, 0 when it agrees, 2 with what a change would do to state, 1 when it is broken', async () => {
    const folder = copyOf('index.ts')
    const missing = await tidemark('plan', folder, '--check')
    expect(missing).toMatchObject({ code: 1, err: expect.stringContaining('PLAN_LOCK_INVALID') })

    const written = await tidemark('plan', folder, '--write', '--json')
    expect(JSON.parse(written.out)).toEqual({ wrote: join(folder, 'shop.plan.json'), changes: [], givenUp: [] })
    expect(await tidemark('plan', folder, '--check')).toMatchObject({ code: 0 })

    const renamed = copyOf('renamed.ts', readFileSync(join(folder, 'shop.plan.json'), 'utf8'))
    const changed = await tidemark('plan', renamed, '--check')
    expect(changed.code).toBe(2)
    // Worst first: what loses state before what is only new.
    expect(changed.out).toMatch(/needs a rebuild: store "demand-by-sku" is gone[\s\S]*safe: store "wanted-by-sku" is new/)
    expect(changed.out).toContain('"was": "demand-by-sku"')
    const data = await tidemark('plan', renamed, '--check', '--format', 'json')
    expect(JSON.parse(data.out)).toMatchObject({ changes: [{ effect: 'rebuild' }, {}, {}, {}] })

    const broken = copyOf('index.ts', '{ "lockVersion": 2 }')
    expect(await tidemark('plan', broken, '--check')).toMatchObject({
      code: 1,
      err: expect.stringContaining('"lockVersion" 2, which is not 1'),
    })
  })

  test('keeps the name that a store had before, when it is written again', async () => {
    const folder = copyOf('renamed.ts')
    await tidemark('plan', folder, '--write')
    const file = join(folder, 'shop.plan.json')
    const lock = JSON.parse(readFileSync(file, 'utf8')) as { stores: Record<string, { was?: string }> }
    ;(lock.stores['wanted-by-sku'] as { was?: string }).was = 'demand-by-sku'
    writeFileSync(file, JSON.stringify(lock))
    await tidemark('plan', folder, '--write')
    expect(JSON.parse(readFileSync(file, 'utf8'))).toMatchObject({ stores: { 'wanted-by-sku': { was: 'demand-by-sku' } } })
  })

  test('tells the former names that a lock has, because it cannot know whether anything was called so, and refuses those that cannot be', async () => {
    const folder = copyOf('renamed.ts')
    await tidemark('plan', folder, '--write')
    const file = join(folder, 'shop.plan.json')
    const written = readFileSync(file, 'utf8')
    const under = (was: string): void => {
      const lock = JSON.parse(written) as { stores: Record<string, object> }
      Object.assign(lock.stores['wanted-by-sku'] as object, { was })
      writeFileSync(file, JSON.stringify(lock))
    }
    expect((await tidemark('plan', folder, '--check')).out).not.toContain('was called')
    under('demand-bi-sku')
    const told = 'store "wanted-by-sku" keeps the state of what was called "demand-bi-sku"'
    expect(await tidemark('plan', folder, '--check')).toMatchObject({ code: 0, out: expect.stringContaining(`${told}\n`) })
    expect(JSON.parse((await tidemark('plan', folder, '--check', '--format', 'json')).out)).toEqual({ changes: [], formerly: [told] })
    expect((await tidemark('check', folder, '--schemas', 'none')).out).toContain(`lock: ${told}\n`)
    under('orders-once')
    expect((await tidemark('plan', folder, '--check')).out).toContain(
      '"orders-once" is another store now, which begins empty where that has run',
    )
    under('wanted-by-sku')
    expect(await tidemark('plan', folder, '--check')).toMatchObject({ code: 1, err: expect.stringContaining('which is its own name') })
  })
})

describe('state that a plan has no use for any more', () => {
  /** The shop, and the same with its projection renamed, over one lock. */
  async function renamedShop(): Promise<string> {
    const agreed = copyOf('index.ts')
    await tidemark('plan', agreed, '--write')
    return copyOf('renamed.ts', readFileSync(join(agreed, 'shop.plan.json'), 'utf8'))
  }

  test('is not forgotten by the lock without a word, and the word is in the hint', async () => {
    const folder = await renamedShop()
    const before = readFileSync(join(folder, 'shop.plan.json'), 'utf8')
    const refused = await tidemark('plan', folder, '--write')
    expect(refused).toMatchObject({ code: 78, err: expect.stringContaining('the lock would forget state: demand/demand-by-sku') })
    expect(readFileSync(join(folder, 'shop.plan.json'), 'utf8')).toBe(before)
    const command = `plan ${folder} --write --give-up demand/demand-by-sku`
    expect(refused.err).toContain(`tidemark ${command}`)
    expect((await tidemark('plan', folder, '--check')).err).toContain(`tidemark ${command}`)
    const written = await tidemark(...command.split(' '))
    expect(written).toMatchObject({ code: 0, out: expect.stringContaining('given up: demand/demand-by-sku.') })
    expect(JSON.parse(readFileSync(join(folder, 'shop.plan.json'), 'utf8'))).toMatchObject({
      spent: [3],
      givenUp: ['demand/demand-by-sku'],
    })
    expect(await tidemark('plan', folder, '--check')).toMatchObject({ code: 0 })
    // Written again it still says so: somebody may not have started since.
    await tidemark('plan', folder, '--write')
    expect(JSON.parse(readFileSync(join(folder, 'shop.plan.json'), 'utf8'))).toMatchObject({ givenUp: ['demand/demand-by-sku'] })
  })

  test('is not given up where it is in use, and not without being written down', async () => {
    const folder = await renamedShop()
    for (const [args, said] of [
      [['--write', '--give-up', 'demand/wanted-by-sku'], '"demand/wanted-by-sku" is in the plan'],
      [['--write', '--give-up', 'demand'], '"demand" is in the plan'],
      [['--give-up', 'demand/demand-by-sku'], 'Add --write'],
      [['--write', '--give-up', ','], 'It is one name or several'],
    ] as const)
      expect(await tidemark('plan', folder, ...args)).toMatchObject({ code: 64, err: expect.stringContaining(said) })
  })

  test('is given up by a name that the lock knows, and another is refused with the one that was meant', async () => {
    const folder = await renamedShop()
    const before = readFileSync(join(folder, 'shop.plan.json'), 'utf8')
    for (const entry of ['demand/demand-bi-sku', 'demand-by-sku', 'stage/store'])
      expect(await tidemark('plan', folder, '--write', '--give-up', `demand/demand-by-sku,${entry}`)).toMatchObject({
        code: 64,
        err: expect.stringContaining(`the lock has no "${entry}" that could be given up\nWhat may be given up is demand/demand-by-sku.\n`),
      })
    const near = await tidemark('plan', folder, '--write', '--give-up', 'demand/demand-bi-sku')
    expect(near.err).toContain('Did you mean "demand/demand-by-sku"?')
    expect(readFileSync(join(folder, 'shop.plan.json'), 'utf8')).toBe(before)
    expect((await tidemark('plan', folder, '--write', '--give-up', 'demand/demand-by-sku')).code).toBe(0)
    // What it gives up already may be said again.
    expect((await tidemark('plan', folder, '--write', '--give-up', 'demand/demand-by-sku')).code).toBe(0)
    expect((await tidemark('plan', folder, '--write', '--give-up', 'demand/other')).err).toContain(
      'The plan has a use for all state that the lock knows.',
    )
    // Without a lock there is nothing to look in, and that is said.
    const fresh = await tidemark('plan', copyOf('renamed.ts'), '--write', '--give-up', 'demand/demand-by-sku')
    expect(fresh).toMatchObject({ code: 0, err: expect.stringContaining('no lock was there to look up what is given up') })
  })

  test('stops a start until the lock gives it up, and then what is left begins anew', async () => {
    const dir = temporary()
    const folder = await renamedShop()
    await tidemark('dev', SHOP, '--dir', dir, '--once', '--orders', '20')
    const refused = await tidemark('dev', folder, '--dir', dir, '--once')
    expect(refused).toMatchObject({ code: 78, err: expect.stringContaining('PLAN_CHANGED') })
    expect(refused.err).toContain('tidemark plan <topology> --write --give-up demand/demand-by-sku')
    await tidemark('plan', folder, '--write', '--give-up', 'demand/demand-by-sku')
    expect(await tidemark('dev', folder, '--dir', dir, '--once')).toMatchObject({ code: 0 })
    expect(await tidemark('export', 'wanted-by-sku', '--dir', dir)).toMatchObject({ code: 0, out: '' })
    // The rows that were left behind are no damage.
    expect(await tidemark('verify', '--dir', dir)).toMatchObject({ code: 0 })
    // What is made again has what was given up, and the difference says so. Once it is live, nothing is missing any more.
    const replayed = await tidemark('replay', 'wanted-by-sku', '--dir', dir)
    expect(replayed.code).toBe(2)
    expect(replayed.out).toMatch(
      /wanted-by-sku: different\.[\s\S]*state was given up here: demand\/demand-by-sku\. [\s\S]*without any damage\nNext: make the rebuilt one live/,
    )
    const switched = await tidemark('replay', 'wanted-by-sku', '--dir', dir, '--switch', 'always', '--json')
    expect([switched.code, JSON.parse(switched.out)]).toMatchObject([0, { switched: true, givenUp: ['demand/demand-by-sku'] }])
    const again = await tidemark('replay', 'wanted-by-sku', '--dir', dir, '--json')
    expect([again.code, JSON.parse(again.out)]).toMatchObject([0, { equal: true, givenUp: [] }])
  })
})

describe('check', () => {
  test('finds nothing in a topology that is right, and says what it looked at', async () => {
    const { code, out } = await tidemark('check', SHOP, '--schemas', 'none')
    expect([code, lastLine(out)]).toEqual([0, `lock: none yet; make it with "tidemark plan ${SHOP} --write"`])
  })

  test('fails for a topology that contradicts itself, and goes on to the schemas', async () => {
    const folder = temporary()
    writeFileSync(
      join(folder, 'index.ts'),
      `import { topology } from ${JSON.stringify(join(ROOT, 'src', 'index.ts'))}\nexport const none = topology('none', () => [])\n`,
    )
    mkdirSync(join(folder, 'schemas', 'orders'), { recursive: true })
    writeFileSync(join(folder, 'schemas', 'orders', 'Bad.avsc'), '{')
    const { code, out, err } = await tidemark('check', folder, '--schemas', join(folder, 'schemas'))
    expect(code).toBe(1)
    expect(err).toContain('TOPOLOGY_INVALID: topology "none" is empty')
    expect(out).toContain('Bad.avsc:1: it is not JSON')
  })

  test('tells drift of the lock from errors', async () => {
    const agreed = copyOf('index.ts')
    await tidemark('plan', agreed, '--write')
    const folder = copyOf('renamed.ts', readFileSync(join(agreed, 'shop.plan.json'), 'utf8'))
    const { code, out } = await tidemark('check', folder, '--schemas', 'none', '--json')
    expect(code).toBe(2)
    expect(JSON.parse(out)).toMatchObject({ errors: [], lock: { changes: [{ effect: 'rebuild' }, {}, {}, {}] }, types: null })
  })
})

describe('types', () => {
  test('makes modules that a check then finds in order, whatever they import from', async () => {
    const schemas = temporary()
    mkdirSync(join(schemas, 'orders'))
    const schema = { type: 'record', name: 'Placed', namespace: 'orders', fields: [{ name: 'units', type: 'int' }] }
    writeFileSync(join(schemas, 'orders', 'Placed.avsc'), JSON.stringify(schema))
    const before = await tidemark('types', '--schemas', schemas, '--check')
    expect(before).toMatchObject({ code: 2, err: expect.stringContaining('tidemark types') })
    expect((await tidemark('types', '--schemas', schemas, '--import', '#tidemark')).code).toBe(0)
    expect(readFileSync(join(schemas, 'orders', 'index.ts'), 'utf8')).toContain(`from '#tidemark'`)
    expect((await tidemark('types', '--schemas', schemas, '--check')).code).toBe(0)

    writeFileSync(join(schemas, 'orders', 'Placed.avsc'), JSON.stringify({ ...schema, fields: [{ name: 'units', type: 'long' }] }))
    const after = await tidemark('types', '--schemas', schemas, '--check', '--json')
    expect(after.code).toBe(2)
    expect(JSON.parse(after.out)).toMatchObject({ drift: [{ kind: 'unregistered' }, { path: 'orders/index.ts', kind: 'different' }] })
  })

  test('fails for a folder that is not there', async () => {
    expect(await tidemark('types', '--schemas', join(temporary(), 'none'))).toMatchObject({
      code: 78,
      err: expect.stringContaining('INPUT_INVALID'),
    })
  })
})

describe('a folder at rest', () => {
  test('is exported, replayed into its next generation and verified, and holds the same rows all the time', async () => {
    const dir = temporary()
    await tidemark('dev', SHOP, '--dir', dir, '--once')
    const before = await tidemark('export', 'demand-by-sku', '--dir', dir)
    expect(before.out.trimEnd().split('\n')).toHaveLength(15)

    const compared = await tidemark('replay', 'demand-by-sku', '--dir', dir, '--switch', 'never', '--json')
    expect(compared.code).toBe(0)
    expect(JSON.parse(compared.out)).toMatchObject({ equal: true, switched: false, records: 200, generation: { live: 1 } })
    const switched = await tidemark('replay', 'demand-by-sku', '--dir', dir)
    expect([switched.code, switched.out]).toEqual([
      0,
      expect.stringMatching(/^demand-by-sku: equal\. 15 rows, state hash [0-9a-f]{32}\n.*it is live now/),
    ])

    expect(await tidemark('export', 'demand-by-sku', '--dir', dir)).toEqual(before)
    const verified = await tidemark('verify', '--dir', dir)
    expect([verified.code, lastLine(verified.out)]).toEqual([0, 'everything is as it was written'])
    // Started again, it goes on in the new generation, with nothing to apply.
    expect(JSON.parse((await tidemark('dev', SHOP, '--dir', dir, '--once', '--json')).out)).toMatchObject({ equal: true, applied: 0 })
  })

  test('that is damaged fails its verification, with the place', async () => {
    const dir = temporary()
    await tidemark('dev', SHOP, '--dir', dir, '--once')
    const [segment] = globSync(join(dir, 'log', 'topics', '*orders.v1*', '**', '*.log'))
    const bytes = readFileSync(segment as string)
    bytes.writeUInt8(bytes.readUInt8(100) ^ 1, 100)
    writeFileSync(segment as string, bytes)
    const { code, out } = await tidemark('verify', '--dir', dir, '--json')
    expect(code).toBe(1)
    expect(JSON.parse(out)).toMatchObject({ problems: [{ where: expect.stringMatching(/^orders\.v1\/\d$/), code: 'LOG_CORRUPT' }] })
  })

  test('that a rebuild differs from says what to do next, in words that can be run', async () => {
    const dir = temporary()
    await tidemark('dev', SHOP, '--dir', dir, '--once')
    const other = ['--dir', dir, '--topology', `${SHOP}/doubling.ts`]
    const { code, out } = await tidemark('replay', 'demand-by-sku', ...other)
    expect(code).toBe(2)
    expect(out).toMatch(/demand-by-sku: different\. [\s\S]*generation 1 stays live/)
    const [, next = ''] = /changed on purpose.*: tidemark (replay .*)/.exec(out) ?? []
    expect(next).toBe(`replay demand-by-sku ${other.join(' ')} --switch always`)
    expect(out).toContain(`"tidemark verify ${other.join(' ')}"`)
    const switched = await tidemark(...next.split(' '))
    expect([switched.code, switched.out]).toEqual([0, expect.stringContaining('it is live now')])
    expect(switched.out).not.toContain('Next:')
  })

  test('is left as it is when the view, the topology or the folder is another', async () => {
    const dir = temporary()
    await tidemark('dev', SHOP, '--dir', dir, '--once')
    expect(await tidemark('export', 'demand', '--dir', dir)).toMatchObject({
      code: 64,
      err: expect.stringContaining('Views of "shop" are: demand-by-sku.'),
    })
    const renamed = await tidemark('export', 'wanted-by-sku', '--dir', dir, '--topology', `${SHOP}/renamed.ts`)
    expect(renamed).toMatchObject({ code: 78, err: expect.stringContaining('PLAN_CHANGED') })
    const empty = temporary()
    expect(await tidemark('export', 'demand-by-sku', '--dir', empty)).toMatchObject({
      code: 78,
      err: expect.stringContaining('nothing has run in folder'),
    })
    expect(globSync(join(empty, '*'))).toEqual([])
    // A folder whose note is lost is told apart from one where nothing ran.
    writeFileSync(join(dir, 'tidemark.json'), '{}')
    expect((await tidemark('verify', '--dir', dir)).err).toContain('names no topology')
    expect((await tidemark('verify', '--dir', dir, '--topology', SHOP)).code).toBe(78)
  })
})
