import type { Command } from 'commander'
import { EXIT } from '../../errors.ts'
import { replayAccount } from '../../restore/replay.ts'
import type { DefineCommand } from '../command.ts'
import { openCatalog, openContext } from '../context.ts'
import { didOption, jsonOption } from '../options.ts'
import { printJson, say, startProgress } from '../output.ts'

export const replayCommand: DefineCommand = (program: Command, done) => {
  program
    .command('replay')
    .description("Reindex one account's repo, verified, through the indexer; ends with a catch-up receipt.")
    .addOption(didOption())
    .addOption(jsonOption())
    .action(async (options: { did: string; json?: true }) => {
      const context = await openContext(options)
      await openCatalog(context) // says early, and clearly, when our migration is missing
      const progress = startProgress('replay', options.json)
      try {
        const replayed = await replayAccount(context, options.did, { onProgress: progress.update })
        progress.stop()
        if (options.json) printJson(replayed)
        else {
          const counts = Object.entries(replayed.counts).filter(([, count]) => count > 0)
          say(
            `${replayed.records} records: ${counts.map(([outcome, count]) => `${count} ${outcome}`).join(', ') || 'none of interest'}`,
          )
          for (const { uri, reason } of replayed.unreadable) say(`unreadable: ${uri}: ${reason}`)
          say(`The index has reached rev ${replayed.receipt.rev} of ${options.did}.`)
        }
        const isWhole = replayed.unreadable.length === 0 && replayed.counts['dead-lettered'] === 0
        done(isWhole ? EXIT.complete : EXIT.incomplete)
      } finally {
        progress.stop()
      }
    })
}
