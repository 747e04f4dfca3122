/** What all records of one edge share: how keys and values are read and written, and in whose language. Made by `flavours.ts`. */
import type { AnyContract } from '../contract/contract.ts'
import type { KeyCodec } from '../contract/key.ts'
import type { ValueCodec } from '../ports/serde.ts'

export interface Flavour {
  readonly key: KeyCodec<unknown>
  readonly value: ValueCodec | undefined
  readonly language: AnyContract | undefined
  /** `/<context>` of facts that are made here: the owner of the language, or the application. */
  readonly source: string
  /** `<application>.<Record>` of values made here that are of no contract; undefined for those of one, and where there is no schema. */
  readonly type: string | undefined
  /** The stage reads an inbox: headers of its records are tidemark's own, and short of what the record itself tells. */
  readonly inbox: boolean
  /** Refuses a decoded value that breaks its contract. */
  readonly admit: ((value: unknown) => void) | undefined
}
