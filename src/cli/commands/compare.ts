import type { Command } from 'commander'
import type { Snapshot } from '../../backup/snapshot.ts'
import { readSnapshot } from '../../backup/snapshot-file.ts'
import type { Catalog } from '../../database/catalog.ts'
import { compareAccount } from '../../report/compare.ts'
import { exitCodeOf, type Report } from '../../report/report.ts'
import { keptUris } from '../../restore/restore.ts'
import { refusedOf } from '../../restore/write.ts'
import type { DefineCommand } from '../command.ts'
import { type CliContext, openCatalog, openContext } from '../context.ts'
import { examples, jsonOption, snapshotOption } from '../options.ts'
import { printReport } from '../output.ts'
import { planAgain } from '../plan-again.ts'
import { htmlOption, writeReportPage } from '../report-page.ts'

export const compareCommand: DefineCommand = (program: Command, done) => {
  program
    .command('compare')
    .description("Hold the tables and the repo against the snapshot; the exit code is the verdict's.")
    .addOption(snapshotOption())
    .addOption(jsonOption())
    .addOption(htmlOption())
    .addHelpText(
      'after',
      examples('compare', 'compare --snapshot FILE --json > report.json', 'compare --html report.html'),
    )
    .action(async (options: { snapshot: string; json?: true; html?: string }) => {
      const snapshot = await readSnapshot(options.snapshot)
      const context = await openContext(options)
      const report = await compareSnapshot(context, await openCatalog(context), snapshot)
      printReport(report, options.json === true)
      if (options.html !== undefined) await writeReportPage(options.html, report)
      done(exitCodeOf(report.verdict))
    })
}

export async function compareSnapshot(
  context: CliContext,
  catalog: Catalog,
  snapshot: Snapshot,
): Promise<Report> {
  const { appview, production } = context
  const { records, repo, plan, notWritten } = await planAgain(context, { snapshot, catalog })
  return compareAccount({
    snapshot,
    catalog,
    appview,
    production,
    repo,
    records,
    kept: keptUris(plan, notWritten),
    refused: refusedOf(notWritten),
  })
}
