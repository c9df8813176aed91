import type { Command } from 'commander'
import { readSnapshot } from '../../backup/snapshot-file.ts'
import { EXIT } from '../../errors.ts'
import { applyReconcile, type ReconcileResult } from '../../reconcile/apply.ts'
import type { ReconcilePlan } from '../../reconcile/plan.ts'
import { assertCaughtUp, prepareReconcile } from '../../reconcile/reconcile.ts'
import type { DefineCommand } from '../command.ts'
import { openCatalog, openContext } from '../context.ts'
import { dryRunOption, jsonOption, snapshotOption } from '../options.ts'
import { printJson, say, startProgress } from '../output.ts'

interface ReconcileCommandOptions {
  snapshot: string
  catchUp: boolean
  dryRun?: true
  json?: true
}

export const reconcileCommand: DefineCommand = (program: Command, done) => {
  program
    .command('reconcile')
    .description('Bring back from the snapshot the rows that no replay of the account gives back.')
    .addOption(snapshotOption())
    .option('--without-catch-up', 'do not insist that a replay has finished first')
    .addOption(dryRunOption())
    .addOption(jsonOption())
    .action(async (options: ReconcileCommandOptions & { withoutCatchUp?: true }) => {
      const snapshot = await readSnapshot(options.snapshot)
      const context = await openContext({ ...options })
      const catalog = await openCatalog(context)
      if (!options.withoutCatchUp) await assertCaughtUp(context.production, snapshot.did)
      const { appview, production: database } = context
      const { plan, current } = await prepareReconcile({ database, catalog, appview, snapshot })
      if (options.dryRun) {
        if (options.json) printJson(plan)
        else sayReconcilePlan(plan)
        return done(EXIT.complete)
      }
      const progress = startProgress('reconcile', options.json)
      try {
        const onProgress = progress.update
        const result = await applyReconcile({
          database,
          catalog,
          appview,
          snapshot,
          plan,
          current,
          onProgress,
        })
        progress.stop()
        if (options.json) printJson(result)
        else sayReconcileResult(result)
        done(isWhole(result) ? EXIT.complete : EXIT.incomplete)
      } finally {
        progress.stop()
      }
    })
}

export function sayReconcilePlan(plan: ReconcilePlan): void {
  for (const { table, rows } of plan.tables) {
    const inserts = rows.filter((row) => row.action === 'insert').length
    const sets = rows.filter((row) => row.action === 'set').length
    say(
      `${table.padEnd(34)} ${inserts} to bring back, ${sets} to set back, ${rows.length - inserts - sets} left as they are`,
    )
  }
}

export function sayReconcileResult(result: ReconcileResult): void {
  for (const { table, rows } of result.tables) {
    const counts = new Map<string, number>()
    for (const { outcome } of rows) counts.set(outcome, (counts.get(outcome) ?? 0) + 1)
    say(
      `${table.padEnd(34)} ${[...counts].map(([outcome, count]) => `${count} ${outcome}`).join(', ') || 'no rows'}`,
    )
  }
}

function isWhole(result: ReconcileResult): boolean {
  return result.tables.every(({ rows }) =>
    rows.every(({ outcome }) => !['blocked', 'conflict', 'failed'].includes(outcome)),
  )
}
