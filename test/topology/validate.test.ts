/** What a topology is refused for, where it is written, with words that name the thing. */
import { describe, expect, test } from 'vitest'
import { type Flow, type OnError, type Topology, type TopologyOptions, text, topology } from '#tidemark'
import { describe as inWords } from '../../src/topology/describe.ts'
import { preferences } from '../fixtures/crm.ts'
import { click, clicks, Item, Sum, summed, web } from '../fixtures/plain.ts'

const build = (define: (flow: Flow) => unknown, options: TopologyOptions = {}): (() => Topology) => {
  return () =>
    topology(
      'built',
      (flow) => {
        define(flow)
        return []
      },
      options,
    )
}
/** A projection of clicks, with terms that no compiler has seen. */
const clickSums = (flow: Flow, terms: object): unknown =>
  flow
    .source(clicks)
    .dedupe('once')
    .project('here', {
      row: Item,
      identity: 'once',
      windows: { clicks: { target: '1s', max: '2s' } },
      fold: (row: Item | undefined) => row ?? { n: 0, note: '' },
      ...terms,
    } as never)
const items = (flow: Flow, topic = 'in') => flow.stream(topic, { key: text, value: Item })

test('a topology is a frozen value, and the same definition gives the same one', () => {
  const make = build((flow) =>
    items(flow)
      .filter('odd', () => true)
      .to('out-step', 'out'),
  )
  const { graph } = make()
  expect(Object.isFrozen(graph) && Object.isFrozen(graph.nodes) && graph.nodes.every((node) => Object.isFrozen(node))).toBe(true)
  expect(inWords(graph)).toBe(inWords(make().graph))
  expect(inWords(graph)).toBe('stream in (in)\nfilter odd <- in\nto out-step (out) <- odd')
})

test('an empty one is refused', () => {
  expect(build(() => {})).toThrow(expect.objectContaining({ code: 'TOPOLOGY_INVALID', message: 'topology "built" is empty' }))
})

test.each<[operator: string, define: (flow: Flow, options: object) => unknown]>([
  ['source', (flow, options) => flow.source(preferences, options)],
  ['stream', (flow, options) => flow.stream('in', { key: text, value: Item }, { step: 'here', ...options })],
  ['filter', (flow, options) => items(flow).filter('here', () => true, options)],
  ['map', (flow, options) => items(flow).map('here', (value) => value, options)],
  ['dedupe', (flow, options) => items(flow).dedupe('here', { id: () => '', ...options })],
  ['order', (flow, options) => items(flow).order('here', { sequence: ({ n }) => n, ...options })],
  ['inbox', (flow, options) => flow.inbox('here', [items(flow)], options)],
  ['to', (flow, options) => items(flow).to('here', 'out', { cleanup: 'compact', ...options })],
])('a word that says nothing is refused where it is written, also where no compiler looks: %s', (_operator, define) => {
  expect(build((flow) => define(flow, {}))).not.toThrow()
  expect(build((flow) => define(flow, { colour: 'red' }))).toThrow(
    expect.objectContaining({ code: 'OPTION_INVALID', message: expect.stringMatching(/^step ".*" has no option "colour"$/) }),
  )
})

test.each<[where: string, of: string, define: (flow: Flow, more: object) => unknown]>([
  [
    'a gap',
    'gap of step "here"',
    (flow, more) => items(flow).order('here', { sequence: ({ n }) => n, gap: { hold: '1m', then: 'park', ...more } }),
  ],
  [
    'a bound',
    'hold of step "here"',
    (flow, more) => items(flow).order('here', { sequence: ({ n }) => n, gap: { hold: { records: 1, ...more }, then: 'park' } }),
  ],
  [
    'onError',
    'onError of step "here"',
    (flow, more) => items(flow).filter('here', () => true, { onError: { retry: 1, then: 'halt', ...more } }),
  ],
  [
    'a window',
    'window of "here" for "clicks"',
    (flow, more) => clickSums(flow, { windows: { clicks: { target: '1s', max: '2s', ...more } } }),
  ],
  [
    'a decision',
    'decision "sell" of "here"',
    (flow, more) => clickSums(flow, { decisions: { sell: { maxStaleness: '1s', otherwise: 'refuse', ...more } } }),
  ],
  ['a gate', 'gate of projection "here"', (flow, more) => clickSums(flow, { identity: undefined, gate: { version: () => 1, ...more } })],
  [
    'what expires',
    'expires of step "here"',
    (flow, more) => items(flow).process('here', { rows: Sum, run: () => {}, expires: { keepMs: 1, ...more } }),
  ],
  ['what a stream is written with', 'stream "in"', (flow, more) => flow.stream('in', { key: text, value: Item, ...more })],
  ['a reason to conform', 'step "here"', (flow, more) => flow.source(preferences).conform('here', web, { why: 'it is ours', ...more })],
])('so is one that lies deeper: in %s', (_where, of, define) => {
  expect(build((flow) => define(flow, {}))).not.toThrow()
  expect(build((flow) => define(flow, { colour: 'red' }))).toThrow(
    expect.objectContaining({
      code: 'OPTION_INVALID',
      message: `${of} has no option "colour"`,
      hint: expect.stringMatching(/^It has \w+/),
    }),
  )
})

test('so is one of a topology, and options that are none at all', () => {
  expect(build(() => {}, { colour: 'red' } as TopologyOptions)).toThrow(
    expect.objectContaining({ code: 'OPTION_INVALID', message: 'topology "built" has no option "colour"' }),
  )
  expect(build((flow) => clickSums(flow, { windows: { clicks: '5s' } }))).toThrow(
    expect.objectContaining({
      message: 'window of "here" for "clicks" is "5s", where options are meant',
      hint: 'It has target, quantile, max, why.',
    }),
  )
})

test.each<[what: string, define: (flow: Flow) => unknown]>([
  [
    'then, in the gap of step "here",',
    (flow) => items(flow).order('here', { sequence: ({ n }) => n, gap: { hold: '1m', then: 'parc' as 'park' } }),
  ],
  ['by of step "here"', (flow) => items(flow).dedupe('here', { by: 'sequnce' as 'sequence' })],
  ['cleanup of step "here"', (flow) => items(flow).to('here', 'out', { cleanup: 'compat' as 'compact' })],
  ['cleanup of step "in"', (flow) => flow.stream('in', { key: text, value: Item }, { cleanup: 'compat' as 'compact' })],
])('a word that is none of the few that it may be is refused: %s', (what, define) => {
  expect(build(define)).toThrow(
    expect.objectContaining({
      code: 'OPTION_INVALID',
      message: expect.stringContaining(`${what} is "`),
      hint: expect.stringMatching(/^(Did you mean "\w+"\? )?It is one of \w+, /),
    }),
  )
})

const cases = { Clicked: 'ignore' } as const
const facts = (flow: Flow) => flow.source(clicks).dedupe('once')
const NO_CONTRACT = 'Give the value that contract() made, not its name: import it from where it is declared.'
test.each<[what: string, define: (flow: Flow) => unknown, said: string, hint?: string]>([
  [
    'source by name',
    (flow) => flow.source('clicks' as never),
    'what flow.source() reads is "clicks", where a contract is meant',
    NO_CONTRACT,
  ],
  ['source of nothing', (flow) => flow.source(undefined as never), 'what flow.source() reads is undefined, where a contract is meant'],
  ['source with null', (flow) => flow.source(clicks, null as never), 'source "clicks" is null, where options are meant'],
  [
    'noDedupe: true',
    (flow) => flow.source(clicks, { noDedupe: true } as never),
    'noDedupe of source "clicks" is true, where a text is meant',
  ],
  [
    'stream by the name of its key',
    (flow) => flow.stream('in', { key: 'text', value: Item } as never),
    'key of stream "in" is "text", where a key is meant',
    'A key is a value that tidemark exports: text (without quotes), compound("sku", "region") or avroKey(schema).',
  ],
  [
    'stream by the name of its value',
    (flow) => flow.stream('in', { key: text, value: 'Item' } as never),
    'value of stream "in" is "Item", where a schema is meant',
  ],
  [
    'stream with null',
    (flow) => flow.stream('in', { key: text, value: Item }, null as never),
    'stream "in" is null, where options are meant',
  ],
  [
    'partitions in quotes',
    (flow) => flow.stream('in', { key: text, value: Item }, { partitions: '3' } as never),
    'step "in" has "3" partitions',
  ],
  [
    'inbox of one that is no list',
    (flow) => flow.inbox('here', facts(flow) as never),
    'what inbox "here" is given is a Stream, where a list of streams is meant',
  ],
  ['inbox of a name', (flow) => flow.inbox('here', ['once'] as never), 'a stream of inbox "here" is "once", where a stream is meant'],
  ['inbox with null', (flow) => flow.inbox('here', [facts(flow)], null as never), 'inbox "here" is null, where options are meant'],
  ['inbox of half a partition', (flow) => flow.inbox('here', [facts(flow)], { partitions: 0.5 }), 'step "here" has 0.5 partitions'],
  ['dedupe with null', (flow) => items(flow).dedupe('here', null as never), 'step "here" is null, where options are meant'],
  [
    'dedupe by the name of a field',
    (flow) => items(flow).dedupe('here', { id: 'n' } as never),
    'id of step "here" is "n", where a function is meant',
  ],
  [
    'dedupe by a number by name',
    (flow) => items(flow).dedupe('here', { sequence: 'n' } as never),
    'sequence of step "here" is "n", where a function is meant',
  ],
  [
    'order by the name of a field',
    (flow) => items(flow).order('here', { sequence: 'n' } as never),
    'sequence of step "here" is "n", where a function is meant',
  ],
  [
    'order that holds an object',
    (flow) => items(flow).order('here', { gap: { hold: { records: { max: 3 } }, then: 'park' } } as never),
    'step "here" holds {"max":3} records',
  ],
  [
    'reads that is no list',
    (flow) => items(flow).filter('here', () => true, { reads: 'n' } as never),
    'reads of step "here" is "n", where a list of texts is meant',
  ],
  [
    'translate to a name',
    (flow) => facts(flow).translate('here', 'clicks' as never, cases),
    'what step "here" translates to is "clicks", where a contract is meant',
  ],
  [
    'translate without cases',
    (flow) => facts(flow).translate('here', clicks, undefined as never),
    'cases of step "here" is undefined, where an object is meant',
  ],
  [
    'a case that is a word',
    (flow) => facts(flow).translate('here', clicks, { Clicked: 'drop' } as never),
    'the case for "Clicked" of step "here" is "drop", where a function is meant',
  ],
  [
    'conform to a name',
    (flow) => facts(flow).conform('here', 'web' as never, { why: 'ours' }),
    'what step "here" conforms to is "web", where a context is meant',
  ],
  [
    'conform for no text',
    (flow) => facts(flow).conform('here', web, { why: true } as never),
    'why of step "here" is true, where a text is meant',
  ],
  [
    'filter without a question',
    (flow) => items(flow).filter('here', undefined as never),
    'what step "here" asks is undefined, where a function is meant',
  ],
  ['map to a value', (flow) => items(flow).map('here', { n: 1 } as never), 'what step "here" does is {"n":1}, where a function is meant'],
  [
    'map by the name of a schema',
    (flow) => items(flow).map('here', (v) => v, { value: 'Item' } as never),
    'value of step "here" is "Item", where a schema is meant',
  ],
  ['flatMap to a list', (flow) => items(flow).flatMap('here', [] as never), 'what step "here" does is [], where a function is meant'],
  [
    'keyBy the name of a key',
    (flow) => items(flow).keyBy('here', 'text' as never, () => ''),
    'key of step "here" is "text", where a key is meant',
  ],
  [
    'keyBy a field',
    (flow) => items(flow).keyBy('here', text, 'note' as never),
    'what finds the key in step "here" is "note", where a function is meant',
  ],
  [
    'branch without branches',
    (flow) => items(flow).branch('here', undefined as never),
    'branches of step "here" is undefined, where an object of functions is meant',
  ],
  [
    'a branch that is no question',
    (flow) => items(flow).branch('here', { odd: true } as never),
    '"odd" of branches of step "here" is true, where a function is meant',
  ],
  ['merge with a name', (flow) => items(flow).merge('here', 'once' as never), 'what step "here" merges is "once", where a stream is meant'],
  ['process without terms', (flow) => items(flow).process('here', undefined as never), 'step "here" is undefined, where options are meant'],
  [
    'process that runs nothing',
    (flow) => items(flow).process('here', { rows: Sum } as never),
    'run of step "here" is undefined, where a function is meant',
  ],
  [
    'process with the name of its rows',
    (flow) => items(flow).process('here', { rows: 'Sum', run: () => {} } as never),
    'rows of step "here" is "Sum", where a schema is meant',
  ],
  [
    'process with a revision in words',
    (flow) => items(flow).process('here', { rows: Sum, run: () => {}, revision: 'two' } as never),
    'step "here" has revision "two"',
  ],
  ['project without terms', (flow) => items(flow).project('here', undefined as never), 'step "here" is undefined, where options are meant'],
  ['project with the name of its row', (flow) => clickSums(flow, { row: 'X' }), 'row of projection "here" is "X", where a schema is meant'],
  [
    'project without a fold',
    (flow) => clickSums(flow, { fold: undefined }),
    'the fold of projection "here" is undefined, where a function is meant',
  ],
  [
    'a case of a fold that is none',
    (flow) => clickSums(flow, { fold: { Clicked: 5 } }),
    '"Clicked" of the fold of projection "here" is 5, where a function is meant',
  ],
  ['the name of an owner', (flow) => clickSums(flow, { owner: 'web' }), 'owner of projection "here" is "web", where a context is meant'],
  [
    'identity: true',
    (flow) => clickSums(flow, { identity: true }),
    'identity of projection "here" is true, where a list of texts is meant',
  ],
  ['one window for all', (flow) => clickSums(flow, { windows: '5s' }), 'windows of projection "here" is "5s", where an object is meant'],
  [
    'a decision by name',
    (flow) => clickSums(flow, { decisions: 'sell' }),
    'decisions of projection "here" is "sell", where an object is meant',
  ],
  [
    'a gate by the name of a field',
    (flow) => clickSums(flow, { identity: undefined, gate: { version: 'n' } }),
    'version, in the gate of projection "here", is "n", where a function is meant',
  ],
  ['to with null', (flow) => items(flow).to('here', 'out', null as never), 'step "here" is null, where options are meant'],
  [
    'to with partitions in words',
    (flow) => items(flow).to('here', 'out', { partitions: 'three' } as never),
    'step "here" has "three" partitions',
  ],
  [
    'retries that are an object',
    (flow) => items(flow).filter('here', () => true, { onError: { retry: { attemps: 3 }, then: 'halt' } } as never),
    'step "here" would retry {"attemps":3} times',
    `Retry 0 to 100 times: onError: { retry: 3, then: 'halt' }.`,
  ],
  [
    'a failure policy that is an object',
    (flow) => items(flow).filter('here', () => true, { onError: { retry: 1, then: { park: true } } } as never),
    'onError of step "here" is {"park":true}',
  ],
  [
    'a failure policy with a slip',
    (flow) => items(flow).filter('here', () => true, { onError: 'dead-leter' } as never),
    'onError of step "here" is "dead-leter"',
    'Did you mean "dead-letter"? It is one of dead-letter, park, halt.',
  ],
])('a program without the compiler is told what a step is given wrong, and what is meant: %s', (_what, define, message, hint) => {
  expect(build(define)).toThrow(
    expect.objectContaining({ name: 'TidemarkError', code: 'OPTION_INVALID', message, hint: hint ?? expect.stringMatching(/\.$/) }),
  )
})

test.each<[step: string, define: (flow: Flow, options: object | null) => unknown]>([
  ['dedupe', (flow, options) => items(flow).dedupe('here', options as never)],
  ['order', (flow, options) => items(flow).order('here', options as never)],
  ['filter', (flow, options) => items(flow).filter('here', () => true, options as never)],
  ['map', (flow, options) => items(flow).map('here', () => 1, options as never)],
  ['flatMap', (flow, options) => items(flow).flatMap('here', () => [], options as never)],
  ['keyBy', (flow, options) => items(flow).keyBy('here', text, () => '', options as never)],
  ['branch', (flow, options) => items(flow).branch('here', { all: () => true }, options as never)],
  ['translate', (flow, options) => facts(flow).translate('here', clicks, cases, options as never)],
  ['process', (flow, options) => items(flow).process('here', (options && { rows: Sum, run: () => {}, ...options }) as never)],
  ['project', (flow, options) => (options === null ? items(flow).project('here', null as never) : clickSums(flow, options))],
])('every step that may say which fields it reads refuses options that are null and reads that are no list: %s', (_step, define) => {
  expect(build((flow) => define(flow, null))).toThrow(
    expect.objectContaining({ code: 'OPTION_INVALID', message: 'step "here" is null, where options are meant' }),
  )
  expect(build((flow) => define(flow, { reads: 'n' }))).toThrow(
    expect.objectContaining({ code: 'OPTION_INVALID', message: 'reads of step "here" is "n", where a list of texts is meant' }),
  )
})

test('a topology is defined by a function that returns its projections', () => {
  const of = (define: unknown): (() => unknown) => {
    return () => topology('built', define as never)
  }
  expect(of(undefined)).toThrow(
    expect.objectContaining({ code: 'OPTION_INVALID', message: 'what defines topology "built" is undefined, where a function is meant' }),
  )
  for (const [define, shown] of [
    [(flow: Flow) => items(flow).to('here', 'out'), 'undefined'],
    [async (flow: Flow) => [clickSums(flow, {})], 'a Promise'],
    [(flow: Flow) => clickSums(flow, {}), '{"name":"here"}'],
  ] as const)
    expect(of(define)).toThrow(
      expect.objectContaining({
        code: 'OPTION_INVALID',
        message: `what the function of topology "built" returns is ${shown}, where a list of projections is meant`,
      }),
    )
  for (const [define, shown] of [
    [(flow: Flow) => [items(flow)], 'a Stream'],
    [(flow: Flow) => [items(flow).to('here', 'out')], 'undefined'],
  ] as const)
    expect(of(define)).toThrow(
      expect.objectContaining({
        message: `an entry of what the function of topology "built" returns is ${shown}, where a projection is meant`,
      }),
    )
})

test('a case for an event that the contract does not have is refused, in a fold and in a translation', () => {
  const clicked = (row: Item | undefined): Item => row ?? { n: 0, note: '' }
  expect(build((flow) => clickSums(flow, { fold: { Clicked: clicked, Clickd: clicked } }))).toThrow(
    expect.objectContaining({
      message: 'the fold of "here" has a case for "Clickd", which is no event of contract "clicks"',
      hint: 'Its events are Clicked.',
    }),
  )
  const more = { Clicked: 'ignore', Clickd: 'ignore' } as const
  expect(build((flow) => flow.source(clicks).dedupe('once').translate('here', clicks, more))).toThrow(
    expect.objectContaining({ message: 'step "here" has a case for "Clickd", which is no event of contract "clicks"' }),
  )
})

test('a name that is no text is refused in words, also the contract in the place of its topic', () => {
  for (const [define, message] of [
    [
      (flow: Flow) =>
        flow
          .source(clicks)
          .dedupe('once')
          .to('out', clicks as never),
      'a topic is named by a text, and this is an object (of the name "clicks")',
    ],
    [
      (flow: Flow) => flow.stream(clicks as never, { key: text, value: Item }),
      'a topic is named by a text, and this is an object (of the name "clicks")',
    ],
    [(flow: Flow) => items(flow).dedupe({ id: () => '' } as never), 'a step is named by a text, and this is an object'],
    [(flow: Flow) => items(flow).to('out', undefined as never), 'a topic is named by a text, and this is undefined'],
  ] as const)
    expect(build(define)).toThrow(expect.objectContaining({ code: 'NAME_INVALID', message, hint: expect.any(String) }))
})

describe('names', () => {
  test.each(['', 'Upper', 'under_score', 'a/b', '-a', 'a-', 'ä', 'a b', '..', 'x'.repeat(101)])('a step named %j is refused', (name) => {
    expect(build((flow) => items(flow).to(name, 'out'))).toThrow(expect.objectContaining({ code: 'NAME_INVALID' }))
    expect(() => topology(name, () => [])).toThrow(expect.objectContaining({ code: 'NAME_INVALID' }))
  })
  test('two steps of one name are refused, with both kinds named', () => {
    expect(
      build((flow) =>
        items(flow)
          .filter('same', () => true)
          .map('same', (v) => v),
      ),
    ).toThrow(
      expect.objectContaining({
        code: 'NAME_INVALID',
        message: 'step "same" is named twice',
        detail: 'It is a filter and would be a map as well.',
      }),
    )
  })
  test.each(['', 'a/b', 'a b', '.', '..', 'ä', 'x'.repeat(201)])('a topic named %j is refused', (topic) => {
    expect(build((flow) => items(flow).to('out-step', topic))).toThrow(expect.objectContaining({ code: 'NAME_INVALID' }))
    expect(build((flow) => flow.stream(topic, { key: text, value: Item }, { step: 'in' }))).toThrow(
      expect.objectContaining({ code: 'NAME_INVALID' }),
    )
  })
})

describe('a source delivers again whatever its log promises', () => {
  const silent = build((flow) => flow.source(preferences).to('out-step', 'out'))
  test('so its facts may not go out without a dedupe (G03)', () => {
    expect(silent).toThrow(
      expect.objectContaining({
        code: 'TOPOLOGY_INVALID',
        message: 'facts of "contact-preferences" reach "out-step" without a dedupe',
        hint: `Put .dedupe(step) behind the source, or say why it does no harm: flow.source(contract, { noDedupe: 'reason' }).`,
      }),
    )
    expect(build((flow) => flow.inbox('all', [flow.source(preferences)]))).toThrow(expect.objectContaining({ code: 'TOPOLOGY_INVALID' }))
  })
  test('by no way: not around it, not through a merge', () => {
    expect(
      build((flow) => {
        const facts = flow.source(preferences)
        facts.merge('both', facts.dedupe('once')).to('out-step', 'out')
      }),
    ).toThrow(expect.objectContaining({ message: 'facts of "contact-preferences" reach "out-step" without a dedupe' }))
  })
  test('unless somebody says why that does no harm (G03)', () => {
    expect(build((flow) => flow.source(preferences, { noDedupe: 'its readers take the last one' }).to('out-step', 'out'))).not.toThrow()
    expect(build((flow) => flow.source(preferences, { noDedupe: '  ' }).to('out-step', 'out'))).toThrow(
      expect.objectContaining({ message: 'source "contact-preferences" goes without dedupe and gives no reason' }),
    )
  })
  test('an order guards as well, and a gate needs no guard', () => {
    expect(build((flow) => flow.source(preferences).order('in-sequence').to('out-step', 'out'))).not.toThrow()
    expect(
      build((flow) =>
        flow.source(clicks).project('last', {
          row: Item,
          gate: { version: (event) => event.n },
          windows: { clicks: { target: '1s', max: '2s' } },
          fold: (_row, event) => ({ n: event.n, note: event.note }),
        }),
      ),
    ).not.toThrow()
  })
})

test('a step that parks needs its input as bytes', () => {
  expect(
    build((flow) =>
      items(flow)
        .map('bare', (v) => ({ v }))
        .filter('sieve', () => true, { onError: 'park' }),
    ),
  ).toThrow(expect.objectContaining({ message: 'step "sieve" parks records that fail, but values of "bare" have no schema' }))
})

test.each<[onError: unknown]>([
  ['explode'],
  [{ retry: -1, then: 'halt' }],
  [{ retry: 1.5, then: 'halt' }],
  [{ retry: 101, then: 'park' }],
  [{ retry: 1 }],
])('onError %j is refused, on a step and for the topology', (onError) => {
  expect(build((flow) => items(flow).filter('odd', () => true, { onError: onError as OnError }))).toThrow(Error)
  expect(build((flow) => items(flow).filter('odd', () => true), { onError: onError as OnError })).toThrow(Error)
})

describe('windows', () => {
  const project = (windows: object) =>
    build((flow) =>
      flow
        .source(preferences)
        .dedupe('once')
        .project('p', { row: Item, identity: 'once', windows, fold: () => undefined } as never),
    )
  test('a projection says how far it may lag each fact that it follows, and no other', () => {
    expect(project({})).toThrow(
      expect.objectContaining({ code: 'TOPOLOGY_INVALID', message: 'projection "p" has no window for "contact-preferences"' }),
    )
    expect(project({ 'contact-preferences': { target: '1s', max: '2s' }, other: { target: '1s', max: '2s' } })).toThrow(
      expect.objectContaining({ message: 'projection "p" has a window for "other", which it does not follow' }),
    )
  })
})

test('a fold has a case for every event', () => {
  expect(
    build((flow) =>
      flow
        .source(preferences)
        .dedupe('once')
        .project('p', {
          row: Item,
          identity: 'once',
          windows: { 'contact-preferences': { target: '1s', max: '2s' } },
          fold: { EmailOptIn: () => undefined },
        } as never),
    ),
  ).toThrow(expect.objectContaining({ code: 'TOPOLOGY_INVALID', message: 'the fold of "p" has no case for "EmailOptOut"' }))
})

test('a branch that branches nowhere is refused', () => {
  expect(build((flow) => items(flow).branch('either', {}))).toThrow(expect.objectContaining({ message: 'step "either" branches nowhere' }))
})

test('streams of different values do not merge', () => {
  expect(build((flow) => items(flow).merge('both', flow.stream('other', { key: text, value: Sum }) as never))).toThrow(
    expect.objectContaining({ message: 'step "both" merges streams of different keys or values' }),
  )
})

test('forty forks that join again are checked as fast as one', () => {
  const make = build((flow) => {
    let stream = items(flow).dedupe('once', { id: (v) => v.note })
    for (let i = 0; i < 40; i++) {
      const { yes, no } = stream.branch(`fork-${i}`, { yes: (v) => v.n > 0, no: () => true })
      stream = yes.merge(`join-${i}`, no)
    }
    flow.inbox('all', [stream]).project('sums', { row: Sum, identity: 'once', fold: summed })
    stream.to('out-step', 'out')
  })
  expect(make().graph.nodes).toHaveLength(85)
  expect(click('u', 'x').key).toBe('u')
})
