/**
 * A plan: everything about a running topology that can be known before it runs. A frozen value; `planner.ts` makes it pass by pass,
 * `explain.ts` prints it, `lock.ts` compares it with the one that was agreed on, `runtime/` carries it out.
 */
import type { Graph, NodeId } from '../topology/node.ts'

export interface Plan {
  readonly app: string
  readonly graph: Graph
  readonly stages: readonly StagePlan[]
  /** Of each stage, in their order: which of its inputs divide keys alike, and why they must. */
  readonly coPartitioning: readonly CoPartitioning[]
  readonly topics: readonly TopicPlan[]
  readonly warnings: readonly string[]
  /** Numbers of stores that were given up: nothing gets them again. */
  readonly spent: readonly number[]
}

/**
 * What lies between two recorded logs.
 * `fold`: reads exactly one log and holds a projection, so reading that log again gives the same state, byte for byte.
 * `ingest`: everything else; what it decides is recorded in the inboxes and topics that it writes.
 */
export type StageClass = 'fold' | 'ingest'

export interface StagePlan {
  readonly name: string
  readonly class: StageClass
  readonly generation: number
  readonly partitions: number
  /** Steps that read a log, in the order of the topology. */
  readonly logs: readonly NodeId[]
  /** All steps, inputs before outputs; the inboxes that it writes are not among them. */
  readonly steps: readonly NodeId[]
  /** Inboxes that it writes. */
  readonly inboxes: readonly NodeId[]
  readonly stores: readonly StorePlan[]
  /** Those of the plan: rows that lie under one of them here mean nothing any more. */
  readonly spent: readonly number[]
  /** undefined for a stage without stores. */
  readonly changelog: string | undefined
}

/** Why one task of a stage sees all records of a key. */
export interface CoPartitioning {
  readonly stage: string
  /** Inputs that must have equal partition counts, and have. One that nothing binds to another is a group of its own. */
  readonly groups: readonly {
    /** Steps that read a log. */
    readonly logs: readonly NodeId[]
    /** Of each of its logs. */
    readonly partitions: number
    /** What asks for it; empty where counts could differ. */
    readonly because: readonly KeyedBy[]
  }[]
}

/** A step that keeps something by key, and the logs whose keys reach it as they are. */
export interface KeyedBy {
  readonly step: NodeId
  /** Rows of a store, or records that failed and are parked with those behind them. */
  readonly keeps: 'rows' | 'parked'
  readonly reads: readonly NodeId[]
}

export interface StorePlan {
  /** Leads every key of the store, in the changelog and on disk. 0 is the stage's own. */
  readonly id: number
  readonly step: NodeId
  /** The step's name, or `<step>/parked` for the records that a step holds back. */
  readonly name: string
  readonly kind: 'rows' | 'parked'
  /** What its rows look like: another fingerprint means that old rows cannot be read as new ones. */
  readonly fingerprint: string
  readonly revision: number
}

export type TopicRole = 'source' | 'inbox' | 'changelog' | 'dead' | 'state' | 'sink' | 'decisions'

export interface TopicPlan {
  readonly name: string
  readonly role: TopicRole
  readonly partitions: number
  readonly cleanup: 'compact' | 'delete'
  /** ms; -1 for ever. */
  readonly retentionMs: number
  /** The step it belongs to; undefined for the application's own. */
  readonly step: NodeId | undefined
}

/** What must be known beside the topology: what already exists. */
export interface PlanFacts {
  /** Partitions of an existing topic; undefined when it does not exist yet. */
  readonly partitionsOf: (topic: string) => number | undefined
  /** The live generation of a stage or an inbox; 1 unless something was rebuilt. */
  readonly generationOf: (kind: 'stage' | 'inbox', name: string) => number
  /** The number of a store that has been planned before. */
  readonly storeIdOf: (name: string) => number | undefined
  /** Numbers of stores that were given up. */
  readonly spent: readonly number[]
}
