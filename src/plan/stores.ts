/** Pass 5: stores and their numbers. A number that was given once stays with its name, whatever is added around it. */
import { TidemarkError } from '../base/errors.ts'
import { sha256Hex128 } from '../base/sha256.ts'
import { type Node, type StoreSpec, storeOf } from '../topology/node.ts'
import type { PlanFacts, StorePlan } from './plan.ts'

type Wanted = Omit<StorePlan, 'id'>

/** The stores of some nodes, without numbers. */
function wantedBy(node: Node): Wanted[] {
  const wanted: Wanted[] = []
  const store = storeOf(node)
  if (store !== undefined) {
    wanted.push({ step: node.id, name: store.name, kind: 'rows', fingerprint: fingerprintOf(node, store), revision: store.revision })
  }
  if (parksKeys(node)) {
    wanted.push({ step: node.id, name: `${node.id}/parked`, kind: 'parked', fingerprint: 'records-1', revision: 1 })
  }
  return wanted
}

/**
 * Whether a step holds back a key whose record failed. A source does not: what fails there has no key that can be trusted, and is
 * dead-lettered. Nor does what only leads records on.
 */
export function parksKeys(node: Node): boolean {
  return node.onError.then === 'park' && (node.kind === 'step' || node.kind === 'keyed')
}

function fingerprintOf(node: Node, store: StoreSpec): string {
  return 'avro' in store.rows ? sha256Hex128(JSON.stringify(store.rows.avro)) : `${node.operator}-1`
}

/** The numbers of the stores of all stages, in the order of the topology; new names get the next free ones. */
export function numberStores(nodes: readonly Node[], facts: PlanFacts): ReadonlyMap<string, readonly StorePlan[]> {
  const taken = new Set<number>(facts.spent)
  const wanted = nodes.flatMap((node) => wantedBy(node))
  const known = new Map<string, number>()
  for (const { name } of wanted) {
    const id = facts.storeIdOf(name)
    if (id === undefined) continue
    if (!Number.isInteger(id) || id < 1 || taken.has(id)) {
      throw new TidemarkError('PLAN_LOCK_INVALID', `store "${name}" has number ${id}, which is none or is taken`, {
        hint: 'Numbers of stores are whole, from 1, and each is used once.',
      })
    }
    taken.add(id)
    known.set(name, id)
  }
  let next = Math.max(0, ...taken) + 1
  const numbered = wanted.map((store): StorePlan => Object.freeze({ id: known.get(store.name) ?? next++, ...store }))
  return Map.groupBy(numbered, (store) => store.step)
}
