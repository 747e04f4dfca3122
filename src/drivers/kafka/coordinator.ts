/** What is asked of a coordinator: the broker that keeps one group, or the transactions of one writer. */
import type { Api } from './wire/api.ts'

export interface CoordinatorKind {
  readonly keyType: number
  readonly error: (key: string, error: number) => Error
}

export interface CoordinatorCall<Request, Response> {
  readonly api: Api<Request, Response>
  readonly request: Request
  readonly errorOf: (answer: Response) => number
  /** Whether the same request may be sent again when its answer was lost. */
  readonly again: boolean
  /** An answer was lost: the request may have been taken. */
  readonly onLost?: () => void
  /** The coordinator answered that it is none, or not ready. */
  readonly onMoved?: (error: number) => void
  readonly purpose?: string
  readonly patienceMs?: number
  readonly timeoutMs?: number
  readonly version?: number
}
