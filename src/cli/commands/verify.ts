/** `tidemark verify`: reads all state and the whole log of an application, and compares them with their checksums. */
import { type Verified, verify } from '../../runtime/verify.ts'
import { jsonText } from '../../server/json.ts'
import { errorData } from '../failure.ts'
import { offline, type WantedAnywhere } from '../offline.ts'
import { grouped } from '../render.ts'
import { EXIT, type Shell } from '../shell.ts'

export interface VerifyOptions extends WantedAnywhere {
  /** Move damaged state aside, so that the next start restores it. */
  readonly repair: boolean
  readonly json: boolean
}

/** Problems printed; a disk that lost a block has thousands. */
const PROBLEMS_SHOWN = 50

/** @throws TidemarkError LOG_LOCKED, INPUT_INVALID, LOG_CORRUPT when the log cannot even be opened */
export async function verifyFolder(options: VerifyOptions, shell: Shell): Promise<number> {
  const instead = (): string => 'A folder is verified while nobody has it open. Stop that process first.'
  const verified = await offline(options, shell, instead, ({ graph, world, signal, shared, keeps }) =>
    verify(graph, world, { repair: options.repair, signal, shared, keeps }),
  )
  const { problems, repaired } = verified
  if (options.json)
    await shell.out.write(`${jsonText({ ...verified, problems: problems.map(({ where, error }) => ({ where, ...errorData(error) })) })}\n`)
  else for (const line of verifyLines(verified)) await shell.out.write(`${line}\n`)
  return problems.every(({ where }) => repaired.includes(where)) ? EXIT.ok : EXIT.failed
}

export function verifyLines({ rows, batches, bytes, problems, repaired }: Verified): string[] {
  return [
    `read ${grouped(rows)} rows of state, and ${grouped(batches)} batches (${grouped(bytes)} bytes) of the log`,
    ...problems.slice(0, PROBLEMS_SHOWN).map(({ where, error }) => `${where}: ${error.explain().replaceAll('\n', '\n  ')}`),
    ...(problems.length > PROBLEMS_SHOWN ? [`and ${grouped(problems.length - PROBLEMS_SHOWN)} more`] : []),
    ...repaired.map((task) => `${task}: its state was moved aside; the next start restores it from its changelog`),
    problems.length === 0 ? 'everything is as it was written' : `${problems.length} ${problems.length === 1 ? 'problem' : 'problems'}`,
  ]
}
