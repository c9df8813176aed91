import type { Command } from 'commander'
import { EXIT, type ExitCode } from '../../errors.ts'
import { type Replayed, replayAccount } from '../../restore/replay.ts'
import type { DefineCommand } from '../command.ts'
import { type CliContext, openCatalog, openContext } from '../context.ts'
import { didOption, examples, jsonOption } from '../options.ts'
import { printJson, say, startProgress } from '../output.ts'

export const replayCommand: DefineCommand = (program: Command, done) => {
  program
    .command('replay')
    .description("Reindex one account's repo, verified, through the indexer; ends with a catch-up receipt.")
    .addOption(didOption())
    .addOption(jsonOption())
    .addHelpText('after', examples('replay --did did:plc:...'))
    .action(async (options: { did: string; json?: true }) => {
      const context = await openContext(options)
      await openCatalog(context) // says early, and clearly, when our migration is missing
      const replayed = await replayWithProgress(context, options.did, options.json === true)
      if (options.json) printJson(replayed)
      else sayReplayed(replayed)
      done(replayExitCode(replayed))
    })
}

export async function replayWithProgress(
  context: CliContext,
  did: string,
  isQuiet: boolean,
): Promise<Replayed> {
  const progress = startProgress('replay', isQuiet)
  try {
    return await replayAccount(context, did, { onProgress: progress.update })
  } finally {
    progress.stop()
  }
}

export function sayReplayed({ records, counts, unreadable, receipt }: Replayed): void {
  const found = Object.entries(counts).filter(([, count]) => count > 0)
  const words = found.map(([outcome, count]) => `${count} ${outcome}`).join(', ')
  say(`${records} records: ${words || 'none of interest'}`)
  for (const { uri, reason } of unreadable) say(`unreadable: ${uri}: ${reason}`)
  say(`The index has reached rev ${receipt.rev} of ${receipt.did}.`)
}

export function replayExitCode({ unreadable, counts }: Replayed): ExitCode {
  return unreadable.length === 0 && counts['dead-lettered'] === 0 ? EXIT.complete : EXIT.incomplete
}
