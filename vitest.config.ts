import { defineConfig } from 'vitest/config'

export default defineConfig({
  test: {
    include: ['test/**/*.test.ts'],
    globalSetup: ['test/kafka/global-setup.ts'],
    typecheck: { enabled: false },
    // Two cores: more workers than that only lengthen the slowest file.
    maxWorkers: 2,
    testTimeout: 60_000,
    // A hook may start a broker, on a machine that others use too.
    hookTimeout: 60_000,
    passWithNoTests: false,
  },
})
