/** Drivers that keep everything in this process. For tests and for state that may be lost. */
export { memoryState } from './store.ts'
