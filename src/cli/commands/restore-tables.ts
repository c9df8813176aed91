import type { Command } from 'commander'
import { readSnapshot } from '../../backup/snapshot-file.ts'
import { RestoreError } from '../../errors.ts'
import { assertCaughtUp } from '../../reconcile/reconcile.ts'
import { exitCodeOf } from '../../report/report.ts'
import type { PreparedWrite } from '../../restore/write.ts'
import type { DefineCommand } from '../command.ts'
import { addConsentOptions, type ConsentFlags, consentPolicyOf } from '../consent.ts'
import { openCatalog, openContext } from '../context.ts'
import { catchUpOption, jsonOption, snapshotOption } from '../options.ts'
import { printReport } from '../output.ts'
import { planAgain } from '../plan-again.ts'
import { compareSnapshot } from './compare.ts'
import { reconcileWithProgress, recordsOf, sayReconciled } from './reconcile.ts'
import { replayWithProgress, sayReplayed } from './replay.ts'

interface RestoreTablesOptions extends ConsentFlags {
  snapshot: string
  withoutCatchUp?: true
  json?: true
}

/**
 * The restoration plan's step for the database, of which `restore` is the whole: replay, reconcile, compare. The
 * records come first: a row whose record does not exist is a row that the next replay takes away again.
 */
export const restoreTablesCommand: DefineCommand = (program: Command, done) => {
  const command = program
    .command('restore-tables')
    .description('Bring the tables back once the records are: replay, reconcile, compare.')
    .addOption(snapshotOption())
    .addOption(catchUpOption())
  addConsentOptions(command)
    .addOption(jsonOption())
    .action(async (options: RestoreTablesOptions) => {
      const snapshot = await readSnapshot(options.snapshot)
      const context = await openContext(options)
      const catalog = await openCatalog(context)
      const planned = await planAgain(context, { snapshot, catalog })
      if (!options.withoutCatchUp) refuseUnwritten(planned)
      const isQuiet = options.json === true
      const replayed = await replayWithProgress(context, snapshot.did, isQuiet)
      if (!isQuiet) sayReplayed(replayed)
      if (!options.withoutCatchUp)
        await assertCaughtUp(context.production, snapshot.did, {
          isOwnConsumer: context.openSink !== undefined,
        })
      const step = { snapshot, catalog, ...recordsOf(planned) }
      const reconciled = await reconcileWithProgress(context, step, consentPolicyOf(options), isQuiet)
      if (!isQuiet) sayReconciled(reconciled)
      const report = await compareSnapshot(context, catalog, snapshot)
      printReport(report, isQuiet)
      done(exitCodeOf(report.verdict))
    })
}

function refuseUnwritten({ plan }: PreparedWrite): void {
  const lost = plan.records.filter(({ action }) => action === 'create')
  if (lost.length === 0) return
  throw new RestoreError(
    `${lost.length} records of the snapshot are not in the repo of ${plan.did}, ${lost[0]?.uri} among them.`,
    {
      did: plan.did,
      hint: 'Write them first ("firehose-replay write", or scripts/trigger-pds-restore.ts), or give --without-catch-up if you mean it.',
    },
  )
}
