#!/usr/bin/env node
// The command. Plain JavaScript for any Node since 18, because it has to say what is missing before anything newer can run.
// Installed from npm it runs the compiled command line; in the repository the sources, under the Node that set-up chose.
import { existsSync } from 'node:fs'
import * as modules from 'node:module'
import { dirname, join } from 'node:path'
import { fileURLToPath, pathToFileURL } from 'node:url'

const root = join(dirname(fileURLToPath(import.meta.url)), '..')
const compiled = join(root, 'dist', 'cli', 'main.js')
const source = join(root, 'src', 'cli', 'main.ts')
const runner = join(root, 'scripts', 'with-node.mjs')

function refuse(sentence) {
  console.error(sentence)
  process.exit(78)
}

if (existsSync(compiled)) {
  const [major, minor] = process.versions.node.split('.').map(Number)
  if (existsSync(runner)) await under(runner, compiled)
  else if (major > 22 || (major === 22 && minor >= 15)) {
    modules.enableCompileCache?.()
    await import(pathToFileURL(compiled).href)
  } else {
    refuse(
      `tidemark needs Node 22.15 or newer, and this is ${process.versions.node} (${process.execPath}).\n` +
        'Install a newer one, such as with a version manager ("nvm install 24"), and give the same command again: what npm has installed stays as it is.',
    )
  }
} else if (!existsSync(join(root, 'node_modules', 'commander'))) {
  refuse(`tidemark is not set up yet: run "npm install" in ${root}, or "npm start", which does it by itself.`)
} else await under(runner, source)

/** Runs a file under the Node that the repository uses; the runner passes on signals and the exit code. */
async function under(runner, file) {
  process.argv.splice(1, 1, runner, file)
  await import(pathToFileURL(runner).href)
}
