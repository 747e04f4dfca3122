/** The topologies of the simulator with steps that trip now and then, and are run again after a wait: under all its faults, to the same end. */
import { expect, test } from 'vitest'
import type { Graph, Node } from '../../src/topology/node.ts'
import { simulateCase } from './run.ts'
import { CASES } from './topologies/index.ts'

const SEEDS = 6
/** A wait is long beside what else happens in a simulated run, so few trip. */
const EACH = 13

/** The same graph, of which every so-many-th invocation of any step fails once. Made anew for each seed, because it counts. */
function tripping(graph: Graph, tripped: () => void): Graph {
  let calls = 0
  const trip = (): void => {
    calls += 1
    if (calls % EACH !== 0) return
    tripped()
    throw new Error('trips')
  }
  const nodes = graph.nodes.map((node): Node => {
    const onError = { retry: 6, then: node.onError.then }
    if (node.kind === 'keyed') {
      const { run, wake } = node
      return {
        ...node,
        onError,
        run: (...args) => {
          trip()
          run(...args)
        },
        wake:
          wake === undefined
            ? undefined
            : (...args) => {
                trip()
                wake(...args)
              },
      }
    }
    if (node.kind !== 'step' || !('run' in node.does)) return node
    const { run } = node.does
    return {
      ...node,
      onError,
      does: {
        run: (...args) => {
          trip()
          run(...args)
        },
      },
    }
  })
  return { ...graph, nodes }
}

test.each(CASES)('$name: nothing is lost, twice or out of order when steps are run again', { timeout: 300_000 }, async (simulated) => {
  let trips = 0
  for (let seed = 1; seed <= SEEDS; seed++) {
    const graph = tripping(simulated.topology.graph, () => {
      trips += 1
    })
    const { violations } = await simulateCase({ ...simulated, topology: { ...simulated.topology, graph } }, seed)
    expect([seed, violations]).toEqual([seed, []])
  }
  expect(trips).toBeGreaterThan(SEEDS)
})
