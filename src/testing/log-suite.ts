/**
 * What every driver of the log port promises, as tests. It uses the port only, and names of its own for every topic, group and writer, so it
 * runs against a log that others use too. What a driver says in its manifest that it does not do is skipped, with the reason that it gives.
 *
 * @example
 * logSuite({ name: 'my log', manifest: MY_MANIFEST, codecs: nativeCodecs, make: async () => {
 *   const log = await openMyLog()
 *   return { connect: async () => log.client(), stop: () => log.close() }
 * } })
 */
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { groupTests } from './log-suite/groups.ts'
import { keepingTests } from './log-suite/keeping.ts'
import { Kit, type LogSuiteOptions } from './log-suite/kit.ts'
import { recordTests } from './log-suite/records.ts'
import { transactionTests } from './log-suite/transactions.ts'

export type { LogFixture, LogSuiteOptions } from './log-suite/kit.ts'

/** Declares the tests; to be called at the top level of a vitest file. */
export function logSuite(options: LogSuiteOptions): void {
  describe(options.name, () => {
    const kit = new Kit(options)

    beforeAll(async () => {
      kit.fixture = await options.make()
      kit.log = await kit.fixture.connect()
    })

    afterAll(async () => {
      await kit.log.close()
      await kit.fixture.stop()
    })

    it('says what it does', () => {
      expect(kit.log.manifest).toEqual(options.manifest)
    })

    recordTests(kit)
    transactionTests(kit)
    groupTests(kit)
    keepingTests(kit)
  })
}
