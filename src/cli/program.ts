import { Command, CommanderError } from 'commander'
import { isDebugging } from '../config.ts'
import { EXIT, type ExitCode, messageOf, ReplayError } from '../errors.ts'
import { version } from '../version.ts'
import type { DefineCommand } from './command.ts'
import { closureCommand } from './commands/closure.ts'
import { compareCommand } from './commands/compare.ts'
import { consumeCommand } from './commands/consume.ts'
import { deadLettersCommand } from './commands/dead-letters.ts'
import { doctorCommand } from './commands/doctor.ts'
import { extractCommand } from './commands/extract.ts'
import { loginCommand } from './commands/login.ts'
import { reconcileCommand } from './commands/reconcile.ts'
import { replayCommand } from './commands/replay.ts'
import { restoreCommand } from './commands/restore.ts'
import { serveCommand } from './commands/serve.ts'
import { writeCommand } from './commands/write.ts'
import { say } from './output.ts'
import { settingOptions } from './settings.ts'

const COMMANDS: readonly DefineCommand[] = [
  restoreCommand,
  extractCommand,
  loginCommand,
  writeCommand,
  replayCommand,
  reconcileCommand,
  compareCommand,
  consumeCommand,
  deadLettersCommand,
  serveCommand,
  closureCommand,
  doctorCommand,
]

const EXIT_CODES = `
Exit codes: 0 complete, 1 incomplete, 2 wrong usage or configuration, 3 failed, 75 try again later
(or interrupted: the same command goes on).`

/** Runs one command line as this process: its last words go to stderr, then it ends with the exit code. */
export async function main(argv: readonly string[], commands = COMMANDS): Promise<never> {
  process.stdout.on('error', (error: NodeJS.ErrnoException) => {
    // The reader has seen enough, as `head` has; the exit code still tells the verdict.
    if (error.code !== 'EPIPE') process.exit(explain(error))
  })
  process.on('uncaughtException', (error) => process.exit(explain(error)))
  const code = await run(argv, commands)
  // Exiting cuts off what a slow pipe has not taken yet.
  await new Promise<void>((resolve) => process.stdout.write('', () => resolve()))
  process.exit(code)
}

/** Runs one command line. @returns the exit code */
export async function run(argv: readonly string[], commands = COMMANDS): Promise<number> {
  let code: number = EXIT.complete
  const program = createProgram((ended) => {
    code = ended
  }, commands)
  try {
    await program.parseAsync([...argv], { from: 'user' })
    return code
  } catch (error) {
    return explain(error)
  }
}

export function createProgram(done: (code: ExitCode) => void, commands = COMMANDS): Command {
  const program = new Command('firehose-replay')
    .description(
      "Brings an AT Protocol account's deleted records, and what hung off them in the appview's Postgres, back exactly, and proves it.",
    )
    .version(version)
    .addHelpText('after', EXIT_CODES)
    .showHelpAfterError('hint: firehose-replay --help lists the commands.')
    .exitOverride()
  for (const define of commands) define(program, done)
  for (const command of program.commands) {
    for (const option of settingOptions()) command.addOption(option)
    command
      .exitOverride()
      .addHelpText('after', EXIT_CODES)
      .showHelpAfterError(`hint: firehose-replay ${command.name()} --help shows the options and an example.`)
  }
  return program
}

/** Says what went wrong and what to do next. @returns the exit code */
function explain(error: unknown): number {
  // Commander has printed its own message; help and version are no errors.
  if (error instanceof CommanderError) return error.exitCode === 0 ? EXIT.complete : EXIT.usage
  say(`error: ${messageOf(error)}`)
  if (isDebugging() && error instanceof Error) say(`${error.stack}`)
  if (error instanceof ReplayError) {
    if (error.hint !== undefined) say(`hint: ${error.hint}`)
    return error.exitCode
  }
  if (!isDebugging()) {
    say(
      'hint: This is a fault of firehose-replay. Run it again with LOG_LEVEL=debug to see where, and report that.',
    )
  }
  return EXIT.failed
}
