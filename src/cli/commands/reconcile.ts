import type { Command } from 'commander'
import type { Snapshot } from '../../backup/snapshot.ts'
import { readSnapshot } from '../../backup/snapshot-file.ts'
import type { Catalog } from '../../database/catalog.ts'
import { EXIT, type ExitCode } from '../../errors.ts'
import { applyReconcile, type ReconcileResult } from '../../reconcile/apply.ts'
import type { ReconcilePlan } from '../../reconcile/plan.ts'
import { assertCaughtUp, type PreparedReconcile, prepareReconcile } from '../../reconcile/reconcile.ts'
import type { DefineCommand } from '../command.ts'
import { type CliContext, openCatalog, openContext } from '../context.ts'
import { catchUpOption, dryRunOption, examples, jsonOption, snapshotOption } from '../options.ts'
import { printJson, say, startProgress } from '../output.ts'

interface ReconcileCommandOptions {
  snapshot: string
  withoutCatchUp?: true
  dryRun?: true
  json?: true
}

export const reconcileCommand: DefineCommand = (program: Command, done) => {
  program
    .command('reconcile')
    .description('Bring back from the snapshot the rows that no replay of the account gives back.')
    .addOption(snapshotOption())
    .addOption(catchUpOption())
    .addOption(dryRunOption())
    .addOption(jsonOption())
    .addHelpText('after', examples('reconcile --dry-run', 'reconcile'))
    .action(async (options: ReconcileCommandOptions) => {
      const snapshot = await readSnapshot(options.snapshot)
      const context = await openContext(options)
      const catalog = await openCatalog(context)
      if (!options.withoutCatchUp)
        await assertCaughtUp(context.production, snapshot.did, {
          isOwnConsumer: context.openSink !== undefined,
          repoRev: await repoRevOf(context, snapshot.did),
        })
      const step = { catalog, snapshot }
      const prepared = await prepareReconcile({ ...databaseOf(context), ...step })
      if (options.dryRun) {
        if (options.json) printJson(prepared.plan)
        else sayReconcilePlan(prepared.plan)
        return done(EXIT.complete)
      }
      const result = await reconcileWithProgress(context, step, prepared, options.json === true)
      if (options.json) printJson(result)
      else sayReconcileResult(result)
      done(reconcileExitCode(result))
    })
}

function databaseOf({ appview, production }: CliContext) {
  return { appview, database: production }
}

/** @param prepared the plan to apply. @defaultValue one made now */
export async function reconcileWithProgress(
  context: CliContext,
  { catalog, snapshot }: { catalog: Catalog; snapshot: Snapshot },
  prepared: PreparedReconcile | undefined,
  isQuiet: boolean,
): Promise<ReconcileResult> {
  const parts = { ...databaseOf(context), catalog, snapshot }
  const { plan, current } = prepared ?? (await prepareReconcile(parts))
  const progress = startProgress('reconcile', isQuiet)
  try {
    return await applyReconcile({ ...parts, plan, current, onProgress: progress.update })
  } finally {
    progress.stop()
  }
}

function sayReconcilePlan(plan: ReconcilePlan): void {
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
    const words = [...counts].map(([outcome, count]) => `${count} ${outcome}`).join(', ')
    say(`${table.padEnd(34)} ${words || 'no rows'}`)
  }
}

export function reconcileExitCode(result: ReconcileResult): ExitCode {
  const isWhole = result.tables.every(({ rows }) =>
    rows.every(({ outcome }) => !['blocked', 'conflict', 'failed'].includes(outcome)),
  )
  return isWhole ? EXIT.complete : EXIT.incomplete
}

/** Where the account's repo stands now. */
async function repoRevOf({ network }: CliContext, did: string): Promise<string> {
  const { pdsUrl } = await network.identity.resolve(did)
  return (await network.xrpc.getLatestCommit(pdsUrl, did)).rev
}
