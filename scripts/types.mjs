// Types of everything, and of src once more under the stricter rules that let each file's declarations be made from it alone.
import { spawnSync } from 'node:child_process'

const TSC = 'node_modules/typescript/bin/tsc'
const runs = [
  ['-p', 'tsconfig.json'],
  ['-p', 'tsconfig.build.json', '--noEmit'],
]
const failed = runs.filter((args) => spawnSync(process.execPath, [TSC, ...args], { stdio: 'inherit' }).status !== 0)
process.exit(failed.length === 0 ? 0 : 1)
