// Makes a bare clone runnable. Uses only what every Node since 18 has built in, because nothing is installed yet.
// 1. installs the packages when they are missing or package.json changed since;
// 2. when this Node is older than tidemark needs, fetches a newer one from the npm registry into .node/
//    (scripts/with-node.mjs then runs everything under it). Nothing outside this folder is touched.
import { spawnSync } from 'node:child_process'
import { createHash } from 'node:crypto'
import { existsSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { fetchedNode, NODE_FETCHED, nodeIsNewEnough, ROOT } from './node-version.mjs'

const STAMP = join(ROOT, 'node_modules', '.tidemark-installed')

function npm(args, what) {
  const command = process.env.npm_execpath === undefined ? ['npm', args] : [process.execPath, [process.env.npm_execpath, ...args]]
  const ended = spawnSync(command[0], command[1], {
    cwd: ROOT,
    stdio: ['ignore', 2, 2],
    shell: command[0] === 'npm' && process.platform === 'win32',
  })
  if (ended.status === 0) return
  console.error(`\nset-up failed: ${what}. Check the network and the npm registry, then run the same command again.`)
  process.exit(1)
}

const wanted = createHash('sha256')
  .update(readFileSync(join(ROOT, 'package.json')))
  .digest('hex')
const installed = existsSync(STAMP) ? readFileSync(STAMP, 'utf8') : ''
if (installed !== wanted) {
  console.error('installing packages (once)...')
  npm(['install', '--no-package-lock', '--ignore-scripts', '--loglevel=error'], 'npm install did not finish')
  writeFileSync(STAMP, wanted)
}
if (!nodeIsNewEnough(process.versions.node) && !existsSync(fetchedNode())) {
  console.error(`this Node is ${process.versions.node}; fetching Node ${NODE_FETCHED} for this project (once)...`)
  npm(
    [
      'install',
      '--prefix',
      '.node',
      '--no-save',
      '--no-package-lock',
      '--ignore-scripts',
      '--loglevel=error',
      `node-${process.platform === 'win32' ? 'win' : process.platform}-${process.arch}@${NODE_FETCHED}`,
    ],
    `Node ${NODE_FETCHED} could not be fetched for ${process.platform} ${process.arch}`,
  )
}
