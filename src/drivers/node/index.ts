/** Node's own clock, randomness and disk behind the ports. Nothing else in tidemark asks the system for any of them. */
export { nodeClock, nodeRandom } from './clock.ts'
export { nodeFs } from './fs.ts'
