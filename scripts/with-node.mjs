// node scripts/with-node.mjs <file> [args...]   runs the file under a Node that is new enough: this one, or the one that set-up fetched.
import { spawn } from 'node:child_process'
import { existsSync } from 'node:fs'
import { delimiter, dirname, join } from 'node:path'
import { fetchedNode, NODE_ENVIRONMENT, NODE_FLAGS, nodeIsNewEnough, ROOT } from './node-version.mjs'

const own = nodeIsNewEnough(process.versions.node)
const node = own ? process.execPath : fetchedNode()
if (!own && !existsSync(node)) {
  console.error(
    `tidemark needs Node 22.18 or newer and this is ${process.versions.node}. Run "node scripts/setup.mjs" first: it fetches one for this project.`,
  )
  process.exit(78)
}
// Two hundred modules are stripped of their types and compiled once, not at every start: a quarter off the time until all tasks run.
const NODE_COMPILE_CACHE = join(ROOT, '.cache', 'compile')
const child = spawn(node, [...NODE_FLAGS, ...process.argv.slice(2)], {
  stdio: 'inherit',
  // The command line ends by itself when this process, which people take for it, is killed.
  env: {
    ...NODE_ENVIRONMENT,
    NODE_COMPILE_CACHE,
    ...process.env,
    TIDEMARK_LAUNCHED: '1',
    PATH: `${dirname(node)}${delimiter}${process.env.PATH ?? ''}`,
  },
})
// A terminal sends Ctrl-C to the whole group, so the child already has it; passing it on would look like a second Ctrl-C.
process.on('SIGINT', () => process.stdin.isTTY || child.kill('SIGINT'))
for (const signal of ['SIGTERM', 'SIGHUP']) process.on(signal, () => child.kill(signal))
child.on('exit', (code, signal) =>
  process.exit(signal === null ? (code ?? 1) : 128 + (signal === 'SIGINT' ? 2 : signal === 'SIGKILL' ? 9 : 15)),
)
