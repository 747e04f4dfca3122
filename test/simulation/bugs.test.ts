/** The simulator finds what it is for: each deliberate bug, by a seed that is known to find it. */
import { test } from 'vitest'
import { BUGS } from './bugs.ts'
import { hunt } from './hunt.ts'

const PATIENCE_MS = 600_000

test.each(BUGS)('a bug is found: $about', { timeout: PATIENCE_MS }, (named) => hunt(named, 'embedded'))
