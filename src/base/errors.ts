/**
 * The one error type, and the table of every code it can carry.
 * A code never changes its meaning; a message may be reworded at any time.
 */

/** What each code means, in one line. Grouped by the part that raises it. */
export const ERROR_CODES = {
  // calls and configuration
  OPTION_INVALID: 'an option has a value that is not allowed',
  NAME_INVALID: 'a name does not match [a-z0-9-]+ or is used twice',
  // contracts, schemas, envelope
  CONTRACT_INVALID: 'a contract contradicts itself',
  SCHEMA_INVALID: 'a schema is not valid Avro, or is one that a hostile record could abuse',
  SCHEMA_UNKNOWN: 'a record names a schema id that the schema source does not have',
  SCHEMA_INCOMPATIBLE: 'a record was written with a schema that cannot be read as ours',
  SCHEMA_UNREGISTERED: 'a schema is new and its source only reads',
  SCHEMA_SOURCE_FAILED: 'the schema source could not answer',
  FRAMING_INVALID: 'a value is not in the wire format that its schema demands',
  VALUE_INVALID: 'a value does not fit its schema',
  KEY_INVALID: 'a key is missing or does not fit the key of its contract',
  ENVELOPE_INVALID: 'a field of the envelope that the contract needs is missing or wrong',
  EVENT_UNKNOWN: 'a record carries an event type that the contract does not have',
  SOURCE_FOREIGN: 'a fact comes from a source that the contract does not accept',
  REASON_UNKNOWN: 'an event gives a reason outside the closed list of its contract',
  PARTITION_MISMATCH: 'a record lies in another partition than its key demands',
  FACT_FOREIGN: 'a publisher was asked to publish a fact that its context does not own',
  // topology and plan
  TOPOLOGY_INVALID: 'a topology contradicts itself',
  PLAN_REFUSED: 'the planner refuses a topology',
  PLAN_CHANGED: 'the plan differs from its lock',
  PLAN_LOCK_INVALID: 'the plan lock cannot be read',
  // record batches
  BATCH_CORRUPT: 'the bytes of a record batch contradict themselves',
  BATCH_LIMIT: 'a record batch exceeds a limit that protects this process',
  BATCH_UNSUPPORTED: 'a record batch uses a format that is not supported',
  // log
  LOG_LOCKED: 'another process has this log directory open',
  LOG_CORRUPT: 'bytes of the log on disk are damaged',
  LOG_IO: 'the disk refused a read or a write of the log',
  LOG_CLOSED: 'the log was used after it was closed',
  PARTITION_COUNT_CHANGED: 'a topic that is read has another number of partitions than when the application was started',
  PARTITION_UNREADABLE: 'a partition cannot be read at the moment, and is asked for again',
  TOPIC_UNKNOWN: 'a topic does not exist',
  TOPIC_MISMATCH: 'a topic exists with other properties than the plan needs',
  TOPIC_RECREATED: 'a topic was deleted and made again since the last run',
  POSITION_GAP: 'records before a position were already removed from the log',
  WRITER_FENCED: 'another process took over this writer',
  COMMIT_REJECTED: 'the log refused a commit because its author no longer owns the positions',
  COMMIT_ABORTED: 'the log aborted a transaction',
  COMMIT_IN_DOUBT: 'the outcome of a commit is not known',
  TRANSACTION_HANGING: 'a transaction in the log is open, and nobody will ever end it',
  OFFSETS_LOST: 'the positions of a group are gone while its state is not',
  MEMBER_LOST: 'a group no longer counts this process among its members',
  GROUP_REFUSED: 'a group does not take this process as a member',
  MEMBER_REPLACED: 'another process took over the name of a group member',
  TIMESTAMP_REFUSED: 'a log does not take a record for the time that it has',
  SEQUENCE_BROKEN: 'a batch does not follow the one that its writer appended before it',
  // brokers
  KAFKAJS_UNSUPPORTED: 'the installed kafkajs is not the one that the Kafka driver was made for',
  BROKER_UNREACHABLE: 'no broker answers',
  BROKER_ERROR: 'a broker refused a request',
  BROKER_THROTTLES: 'a broker makes this client wait, because a quota is used up',
  AUTHENTICATION_FAILED: 'a broker refuses a login: the user, the password or the token',
  TLS_FAILED: 'a broker and this client do not agree on TLS',
  NOT_AUTHORIZED: 'the user lacks a right at the broker',
  API_UNSUPPORTED: 'a broker lacks an API or a version that is needed',
  // wire
  WIRE_INVALID: 'the bytes of a message contradict their format',
  // state
  STORE_LOCKED: 'another process has this state directory open',
  STORE_CORRUPT: 'bytes of a state store are damaged',
  STORE_IO: 'the disk refused a read or a write of the state',
  STORE_CLOSED: 'a state store was used after it was closed',
  STORE_FOREIGN: 'a state directory belongs to another application or plan',
  SCOPE_TOO_LARGE: 'a key has more rows in a store than may be loaded at once',
  // runtime
  STEP_FAILED: 'a function of the topology threw',
  STEP_REJECTED: 'a translation rejected a fact',
  TASK_FAILED: 'a task failed for a reason that has no name of its own: a defect',
  TASK_HALTED: 'a task stopped because a step says halt',
  DEAD_LETTER_FAILED: 'a dead letter could not be written',
  REDRIVE_REFUSED: 'a dead letter cannot be put back where it failed',
  VIEW_UNKNOWN: 'a view does not exist',
  DECISION_UNKNOWN: 'a decision is not declared by its projection',
  APP_CLOSED: 'the application was used after it was closed',
  APP_RUNNING: 'workers run an application that nobody may run meanwhile',
  REPLAY_DIFFERS: 'a rebuilt projection differs from the live one',
  // brokers of tests
  TEST_BROKER_UNAVAILABLE: 'what a broker of tests is made of is missing on this machine',
  TEST_BROKER_FAILED: 'a broker of tests ended, or does not answer',
  // command line and topologies that ship
  INPUT_INVALID: 'an input file cannot be read as what it should be',
  INPUT_CHANGED: 'a directory was filled from another input',
} as const

export type ErrorCode = keyof typeof ERROR_CODES

export interface ErrorDetails {
  /** The facts: which topic, offset, option, value. */
  readonly detail?: string | undefined
  /** What the reader can do about it. */
  readonly hint?: string | undefined
  /** The event type in question, for who counts by it. */
  readonly type?: string | undefined
  readonly cause?: unknown
}

/** Where Node looks for how a value wants to be shown; to everybody else it is a name like any other. */
const INSPECT = Symbol.for('nodejs.util.inspect.custom')

/** What V8 adds to `Error`, for who compiles this without the types of Node. */
interface V8Error {
  stackTraceLimit: number
  captureStackTrace(into: object, below: unknown): void
}
const V8 = Error as unknown as V8Error

/**
 * Every failure that is not a programming mistake, and every wrong argument where programs meet the library. Wrong calls further in throw `TypeError`.
 *
 * Its stack begins with all that a person needs, sentence, code, detail and hint, because the stack is what Node prints of an error that
 * nobody caught, and what most loggers keep.
 * @example throw new TidemarkError('TOPIC_UNKNOWN', 'topic "orders" does not exist', { hint: 'Create it, or run "tidemark dev".' })
 */
export class TidemarkError extends Error {
  readonly code: ErrorCode
  declare readonly detail: string | undefined
  declare readonly hint: string | undefined
  declare readonly type: string | undefined

  constructor(code: ErrorCode, message: string, more: ErrorDetails = {}) {
    // Gathering frames is most of what an error costs. They are gathered once, below, and not here as well.
    const limit = V8.stackTraceLimit
    V8.stackTraceLimit = 0
    super(message, more.cause === undefined ? undefined : { cause: more.cause })
    V8.stackTraceLimit = limit
    this.name = 'TidemarkError'
    this.code = code
    // What is not there is not shown as undefined.
    if (more.detail !== undefined) this.detail = more.detail
    if (more.hint !== undefined) this.hint = more.hint
    if (more.type !== undefined) this.type = more.type
    // They become text when somebody reads it, and not before: some errors are thrown for record after record.
    const trace = framesHere()
    let text: string | undefined
    Object.defineProperty(this, 'stack', {
      configurable: true,
      get: () => (text ??= [...this.#lines(), ...framesOf(trace.stack)].join('\n')),
      set: (given: string) => {
        text = given
      },
    })
  }

  #lines(): string[] {
    return [
      `${this.name}: ${this.message}`,
      `code: ${this.code}`,
      ...(this.detail === undefined ? [] : [`detail: ${this.detail}`]),
      ...(this.hint === undefined ? [] : [`hint: ${this.hint}`]),
    ]
  }

  /** Code, sentence, detail and hint, one a line, as the command line prints it. */
  explain(): string {
    return [`${this.code}: ${this.message}`, this.detail, this.hint === undefined ? undefined : `hint: ${this.hint}`]
      .filter((line) => line !== undefined)
      .join('\n')
  }
}

type Inspect = (value: unknown, options: object) => string

// As `console.log` shows it: the stack with what it begins with, and the cause. A member of a computed name could not be declared.
Object.defineProperty(TidemarkError.prototype, INSPECT, {
  value(this: TidemarkError, _depth: number, options: object, inspect: Inspect): string {
    const { stack = '', cause } = this
    return cause === undefined ? stack : `${stack}\ncause: ${inspect(cause, options)}`
  },
})

/** The frames below the constructor, not written yet. */
function framesHere(): { readonly stack?: string } {
  const trace: { stack?: string } = {}
  V8.captureStackTrace(trace, TidemarkError)
  return trace
}

function framesOf(stack = ''): string[] {
  const at = stack.indexOf('\n    at ')
  return at < 0 ? [] : [stack.slice(at + 1)]
}

/** The code of an error, or undefined when it is none of ours. */
export function codeOf(error: unknown): ErrorCode | undefined {
  return error instanceof TidemarkError ? error.code : undefined
}

/** One line for a log, whatever was thrown: anything may be, even what cannot be a text. */
export function messageOf(error: unknown): string {
  if (error instanceof Error) return error.message
  try {
    return String(error)
  } catch {
    return 'something that cannot be written'
  }
}
