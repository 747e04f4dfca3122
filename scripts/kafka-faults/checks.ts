/** Every check there is. */
import type { Check } from './check.ts'
import { CONTENTS } from './contents.ts'
import { KILLS } from './kills.ts'
import { RECOVERY } from './recovery.ts'
import { SOAK } from './soak.ts'

export type { Check } from './check.ts'
export const CHECKS: readonly Check[] = [...KILLS, ...CONTENTS, ...RECOVERY, ...SOAK]
