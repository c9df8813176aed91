import type { Command } from 'commander'
import { readSnapshot } from '../../backup/snapshot-file.ts'
import { compareAccount } from '../../report/compare.ts'
import { exitCodeOf } from '../../report/report.ts'
import { renderReport } from '../../report/terminal.ts'
import { keptRecords } from '../../restore/restore.ts'
import { prepareWrite } from '../../restore/write.ts'
import type { DefineCommand } from '../command.ts'
import { openCatalog, openContext } from '../context.ts'
import { jsonOption, snapshotOption } from '../options.ts'
import { printJson, terminalWidth, wantsColor } from '../output.ts'

export const compareCommand: DefineCommand = (program: Command, done) => {
  program
    .command('compare')
    .description("Hold the tables and the repo against the snapshot; the exit code is the verdict's.")
    .addOption(snapshotOption())
    .addOption(jsonOption())
    .action(async (options: { snapshot: string; json?: true }) => {
      const snapshot = await readSnapshot(options.snapshot)
      const context = await openContext({ ...options })
      const catalog = await openCatalog(context)
      const { appview, production } = context
      const { records, repo, plan } = await prepareWrite(context, {
        snapshot,
        catalog,
        onConflict: 'overwrite',
      })
      const report = await compareAccount({
        snapshot,
        catalog,
        appview,
        production,
        repo,
        records,
        kept: keptRecords(plan),
      })
      if (options.json) printJson(report)
      else
        process.stdout.write(
          `${renderReport(report, { color: wantsColor(process.stdout), width: terminalWidth() })}\n`,
        )
      done(exitCodeOf(report.verdict))
    })
}
