// Format and lint in one go: biome for the format and its recommended rules, oxlint for the rules that need types.
import { spawnSync } from 'node:child_process'

const fix = process.argv.includes('--fix')
const runs = [
  ['node_modules/@biomejs/biome/bin/biome', 'check', ...(fix ? ['--write'] : []), '.'],
  ['node_modules/oxlint/bin/oxlint', '--type-aware', ...(fix ? ['--fix'] : []), '.'],
]
const failed = runs.filter((args) => spawnSync(process.execPath, args, { stdio: 'inherit' }).status !== 0)
process.exit(failed.length === 0 ? 0 : 1)
