import { Command, CommanderError } from 'commander'
import { isDebugging } from '../config.ts'
import { EXIT, type ExitCode, messageOf, ReplayError } from '../errors.ts'
import { version } from '../version.ts'
import type { DefineCommand } from './command.ts'
import { compareCommand } from './commands/compare.ts'
import { consumeCommand } from './commands/consume.ts'
import { extractCommand } from './commands/extract.ts'
import { reconcileCommand } from './commands/reconcile.ts'
import { replayCommand } from './commands/replay.ts'
import { restoreCommand } from './commands/restore.ts'
import { serveCommand } from './commands/serve.ts'
import { writeCommand } from './commands/write.ts'
import { settingOptions } from './settings.ts'

const COMMANDS: readonly DefineCommand[] = [
  restoreCommand,
  extractCommand,
  writeCommand,
  replayCommand,
  reconcileCommand,
  compareCommand,
  consumeCommand,
  serveCommand,
]

const EXIT_CODES = `
Exit codes: 0 complete, 1 incomplete, 2 wrong usage or configuration, 3 failed, 75 try again later.`

/** Runs one command line. @returns the exit code */
export async function run(argv: readonly string[]): Promise<number> {
  let code: number = EXIT.complete
  const program = createProgram((ended) => {
    code = ended
  })
  try {
    await program.parseAsync([...argv], { from: 'user' })
    return code
  } catch (error) {
    return explain(error)
  }
}

export function createProgram(done: (code: ExitCode) => void): Command {
  const program = new Command('firehose-replay')
    .description(
      "Brings an AT Protocol account's deleted records, and what hung off them in the appview's Postgres, back exactly, and proves it.",
    )
    .version(version)
    .addHelpText('after', EXIT_CODES)
    .exitOverride()
  for (const define of COMMANDS) define(program, done)
  for (const command of program.commands) {
    for (const option of settingOptions()) command.addOption(option)
    command.exitOverride()
  }
  return program
}

function explain(error: unknown): number {
  if (error instanceof CommanderError) {
    // Commander has printed its own message; help and version are no errors.
    return error.exitCode === 0 ? EXIT.complete : EXIT.usage
  }
  if (error instanceof ReplayError) {
    process.stderr.write(
      `error: ${error.message}\n${error.hint === undefined ? '' : `hint: ${error.hint}\n`}`,
    )
    return error.exitCode
  }
  process.stderr.write(
    `error: ${messageOf(error)}\nThis is not an error that firehose-replay knows; LOG_LEVEL=debug shows where it came from.\n`,
  )
  if (isDebugging() && error instanceof Error) process.stderr.write(`${error.stack}\n`)
  return EXIT.failed
}
