/** Makes dist/ from src/ (without src/stack): what `npm pack` ships and the bin runs. */

import { spawnSync } from 'node:child_process'
import { chmodSync, existsSync, rmSync } from 'node:fs'
import { join } from 'node:path'
import { ROOT } from './generate/paths.ts'

const BIN = join(ROOT, 'dist/cli/main.js')

/** Ends this process with the tool's own exit code where it fails: it has said why. */
function run(command: string, args: readonly string[]): void {
  const { status, error } = spawnSync(command, args, { cwd: ROOT, stdio: 'inherit' })
  if (error !== undefined) throw error
  if (status !== 0) process.exit(status ?? 1)
}

if (!existsSync(join(ROOT, 'src/lexicons/index.ts'))) run('npm', ['run', 'lex'])
// Emptied first: a module that is gone from src would otherwise stay in the package.
rmSync(join(ROOT, 'dist'), { recursive: true, force: true })
run('npx', ['--no-install', 'tsc', '--project', 'tsconfig.build.json'])
chmodSync(BIN, 0o755)
