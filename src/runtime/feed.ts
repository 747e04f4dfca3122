/**
 * A feed: what plays the upstream contexts of a topology in development. A topology's module may export one as `feed`, beside its topology;
 * `tidemark dev` then offers its options, runs it beside the application, and prints what it says of itself and how its check ended.
 */
import type { Access } from './publisher.ts'
import type { View } from './view.ts'

/** An option of a feed, as the command line offers it. */
export interface FeedOption {
  /** Such as `<file>`; undefined for a switch. */
  readonly value: string | undefined
  /** One sentence. */
  readonly about: string
  /** What holds without it, as the help says it; the feed itself fills it in. */
  readonly default?: string
}

/** What the command line knows when it opens a feed. */
export interface FeedSettings {
  /** The folder that the application runs in. */
  readonly dir: string
  /** Run as fast as the log takes it, instead of at the feed's pace. */
  readonly unpaced: boolean
  /** Values of the feed's own options, by name; true for a switch that was given. */
  readonly options: Readonly<Record<string, string | true | undefined>>
}

/** What a feed reads of the application to check it. */
export interface FeedSubject {
  readonly view: (name: string) => View<unknown, unknown, string>
}

export interface FeedCheck {
  readonly equal: boolean
  /** One line for people: what was compared, and how it ended. */
  readonly sentence: string
  /** The same for programs: part of the JSON object that `--json` prints. */
  readonly figures: Readonly<Record<string, unknown>>
}

export interface RunningFeed {
  /** Feeds until the input is through or the signal aborts; then what was begun is finished or left to the next run. */
  run(signal: AbortSignal): Promise<void>
  /** How far it is. */
  readonly done: number
  readonly total: number
  /** What of its input could not be read, as sentences with line numbers. */
  readonly problems: readonly string[]
  /** Event ids of records that the feed broke on purpose, so that they end as dead letters: these are no failure. Default none. */
  readonly broken?: ReadonlySet<string>
  /** Lines about the data for a live display, such as the busiest keys; at most a handful, and the first begins with what they are. */
  highlights(): readonly string[]
  /** Compares the application's views with a recomputation of its own from the input, once everything is applied. */
  check(subject: FeedSubject): Promise<FeedCheck>
  close(): Promise<void>
}

export interface Feed {
  readonly options: Readonly<Record<string, FeedOption>>
  /**
   * Looks at its settings and its input before anything is made for the application, so that a start that is refused for them leaves nothing behind.
   * Without it they are looked at when the feed is opened.
   * @returns whatever `open` is then given, so that nothing is read twice
   * @throws TidemarkError INPUT_INVALID, OPTION_INVALID
   */
  prepare?(settings: Omit<FeedSettings, 'dir'>): Promise<unknown>
  /**
   * @param prepared what `prepare` gave, if it was asked
   * @throws TidemarkError INPUT_INVALID, INPUT_CHANGED, OPTION_INVALID
   */
  open(access: Access, settings: FeedSettings, prepared?: unknown): Promise<RunningFeed>
}
