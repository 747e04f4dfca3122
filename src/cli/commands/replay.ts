/** `tidemark replay`: a projection made again from its log, compared with the live one by state hash, and switched to. */
import { quoted } from '../../base/shell-word.ts'
import { type Replayed, replay } from '../../runtime/replay.ts'
import { jsonText } from '../../server/json.ts'
import { offline, type WantedAnywhere } from '../offline.ts'
import { grouped } from '../render.ts'
import { EXIT, type Shell } from '../shell.ts'
import type { SWITCHES } from '../words.ts'

export interface ReplayOptions extends WantedAnywhere {
  /** When the rebuilt projection becomes the live one. */
  readonly switch: (typeof SWITCHES)[number]
  readonly json: boolean
}

/** @throws TidemarkError VIEW_UNKNOWN, LOG_LOCKED, APP_RUNNING, PLAN_CHANGED, POSITION_GAP */
export async function replayProjection(projection: string, options: ReplayOptions, shell: Shell): Promise<number> {
  const instead = (): string => 'A projection is rebuilt while nobody runs it. Stop that process first.'
  const replayed = await offline(options, shell, instead, ({ graph, world, signal, shared, lock }) =>
    replay(graph, projection, world, {
      switch: options.switch,
      shared,
      lock: lock(),
      signal,
      onProgress: ({ partition, done, total }) =>
        void shell.err.write(`partition ${partition}: ${grouped(done)} records of about ${grouped(total)}\n`),
    }),
  )
  if (options.json) await shell.out.write(`${jsonText(replayed)}\n`)
  else for (const line of [...replayLines(replayed), ...nextLines(replayed, projection, options)]) await shell.out.write(`${line}\n`)
  return replayed.equal || replayed.switched ? EXIT.ok : EXIT.differences
}

export function replayLines({ generation, records, projections, equal, switched, givenUp }: Replayed): string[] {
  return [
    ...projections.map(({ name, live, rebuilt, equal, rows }) =>
      equal
        ? `${name}: equal. ${grouped(rows)} rows, state hash ${live}`
        : `${name}: different. State hash live ${live}, rebuilt ${rebuilt} (${grouped(rows)} rows)`,
    ),
    `generation ${generation.rebuilt} was made from ${grouped(records)} records; ${
      switched
        ? `it is live now, and generation ${generation.live} is gone`
        : `generation ${generation.live} stays live, and what was made is dropped`
    }`,
    ...(equal || givenUp.length === 0
      ? []
      : [
          `state was given up here: ${givenUp.join(', ')}. What took its place began empty in generation ${generation.live} and lacks what facts from before did;`,
          `generation ${generation.rebuilt} has seen them all. So they differ without any damage`,
        ]),
  ]
}

/** What to do about a difference that nothing was decided about. */
function nextLines(
  { equal, switched, projections, givenUp }: Replayed,
  projection: string,
  { dir, topology, kafka }: WantedAnywhere,
): string[] {
  if (equal || switched) return []
  const place = `${kafka === undefined ? '' : ' --kafka'}${dir === undefined ? '' : ` --dir ${quoted(dir)}`}${topology === undefined ? '' : ` --topology ${quoted(topology)}`}`
  const live = projections.length === 1 ? 'the live one' : 'a live one'
  const always = `tidemark replay ${projection}${place} --switch always`
  if (givenUp.length > 0) {
    return [
      `Next: make the rebuilt one live, and what was given up is made up for: ${always}`,
      `      "tidemark verify${place}" reads the rows of ${live}, should you suspect damage besides`,
    ]
  }
  return [
    `Next: when the fold was changed on purpose, make the rebuilt one live: ${always}`,
    `      when it was not, ${live} may be damaged: "tidemark verify${place}" reads its rows, and the same --switch always replaces them`,
  ]
}
