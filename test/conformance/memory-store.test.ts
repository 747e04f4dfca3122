import { memoryState } from '../../src/drivers/memory/index.ts'
import { storeSuite } from '../../src/testing/store-suite.ts'

storeSuite({ name: 'memory', make: async () => ({ driver: memoryState(), cleanup: async () => {} }), seeds: 100 })
