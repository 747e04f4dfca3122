/** Drivers that keep everything in this process. For tests and for state that may be lost. */
export { type MemoryState, memoryState } from './store.ts'
