/** A feed's own look at what it is to read, before anything is made for its application. */
import type { FeedSettings } from '../runtime/feed.ts'
import type { Loaded } from './load.ts'

/**
 * The topology with a feed that has looked at its input. A start that is refused for that leaves no folder behind, and no worker has been heard of.
 * @throws TidemarkError what the feed refuses: INPUT_INVALID, OPTION_INVALID
 */
export async function prepared(loaded: Loaded, settings: Omit<FeedSettings, 'dir'>): Promise<Loaded> {
  const { feed } = loaded
  if (feed?.prepare === undefined) return loaded
  const ready = await feed.prepare(settings)
  return { ...loaded, feed: { options: feed.options, open: (access, given) => feed.open(access, given, ready) } }
}
