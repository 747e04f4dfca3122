/**
 * The only file that spells names of what tidemark makes on a log: topics, groups, writers. They are hard to change later, since data lies
 * under them. Dash form, so that one prefixed access rule covers an application.
 */

/** Rows of a stage's stores, compacted. */
export function changelogTopic(app: string, stage: string, generation: number): string {
  return `${app}-${stage}-g${generation}-changelog`
}

/** Translated facts keyed the target's way, kept for ever. */
export function inboxTopic(app: string, step: string, generation: number): string {
  return `${app}-${step}-g${generation}-inbox`
}

/** Records that failed in a step. */
export function deadTopic(app: string, step: string, generation: number): string {
  return `${app}-${step}-g${generation}-dead`
}

/** The step and generation of a topic of dead letters, among the steps of an application; undefined for any other topic. */
export function deadStepOf(app: string, topic: string, steps: ReadonlySet<string>): { step: string; generation: number } | undefined {
  if (!topic.startsWith(`${app}-`)) return undefined
  const [, step, generation] = /^(.+)-g(\d+)-dead$/.exec(topic.slice(app.length + 1)) ?? []
  return step === undefined || !steps.has(step) ? undefined : { step, generation: Number(generation) }
}

/** What operators decided, and which generation of each stage is live; compacted. */
export function decisionsTopic(app: string): string {
  return `${app}-decisions`
}

/** The group whose committed positions say how far the application is. */
export function groupOf(app: string): string {
  return app
}

/** The group of a generation that is being rebuilt beside the live one. */
export function rebuildGroup(app: string, stage: string, generation: number): string {
  return `${app}-${stage}-g${generation}`
}

/**
 * What the transactional ids of an application's workers begin with, and nobody else's: names of applications have no slash. With a dash
 * alone, "retail" would end the transactions of "retail-eu".
 */
export function writersOf(app: string): string {
  return `${app}-worker/`
}

/** The transactional id of one worker that has a name. */
export function writerId(app: string, instance: string): string {
  return `${writersOf(app)}${instance}`
}

/** The same for a worker without a name, which no other process may share: `id` is one that nobody else has. No name begins with a tilde. */
export function passingWriterId(app: string, id: string): string {
  return `${writersOf(app)}~${id}`
}

/** The same for those that rebuild a stage. */
export function rebuildersOf(app: string): string {
  return `${app}-rebuild/`
}

/** The transactional id of what rebuilds a stage. */
export function rebuilderId(app: string, stage: string): string {
  return `${rebuildersOf(app)}${stage}`
}

/** The transactional id of what redrives dead letters: one at a time. */
export function redriverId(app: string): string {
  return `${app}-redrive/0`
}

/** One stage on one partition. */
export function taskName(stage: string, partition: number): string {
  return `${stage}/${partition}`
}
