/** On a simulated Kafka, too, the simulator finds what it is for: what a client must never do to its brokers. */
import { test } from 'vitest'
import { KAFKA_BUGS } from './kafka-bugs.ts'
import { isFound } from './kit.ts'

const PATIENCE_MS = 600_000

test.each(KAFKA_BUGS)('a bug is found: $about', { timeout: PATIENCE_MS }, (named) => isFound(named, 'kafka'))
