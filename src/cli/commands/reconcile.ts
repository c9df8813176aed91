import type { Command } from 'commander'
import { readSnapshot } from '../../backup/snapshot-file.ts'
import { EXIT, type ExitCode } from '../../errors.ts'
import { latestCommit } from '../../pds/repo.ts'
import type { ReconcileResult } from '../../reconcile/apply.ts'
import type { ReconcilePlan } from '../../reconcile/plan.ts'
import {
  assertCaughtUp,
  type PreparedReconcile,
  type PrepareReconcileOptions,
  prepareReconcile,
} from '../../reconcile/reconcile.ts'
import { reconcileRows } from '../../restore/reconcile-rows.ts'
import { refusedByPlan, refusedOf, writtenOtherwise } from '../../restore/write.ts'
import type { DefineCommand } from '../command.ts'
import { type CliContext, openCatalog, openContext } from '../context.ts'
import { catchUpOption, dryRunOption, examples, jsonOption, snapshotOption } from '../options.ts'
import { printJson, say, startProgress } from '../output.ts'
import { planAgain, type WrittenRecords } from '../plan-again.ts'

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
          repoRev: (await latestCommit(snapshot.did, context.network)).rev,
        })
      const step = { snapshot, catalog, ...recordsOf(await planAgain(context, { snapshot, catalog })) }
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

/** What a reconcile is told of the account's records. */
export function recordsOf(written: WrittenRecords): Records {
  const { plan, repo, notWritten } = written
  return {
    repo,
    refused: refusedOf([...notWritten, ...refusedByPlan(plan)]),
    writtenOtherwise: writtenOtherwise(written, repo),
  }
}

type Records = Pick<PrepareReconcileOptions, 'repo' | 'refused' | 'writtenOtherwise'>

/** @param prepared the plan to apply. @defaultValue one made now */
export async function reconcileWithProgress(
  context: CliContext,
  step: Pick<PrepareReconcileOptions, 'catalog' | 'snapshot'> & Records,
  prepared: PreparedReconcile | undefined,
  isQuiet: boolean,
): Promise<ReconcileResult> {
  const parts = { ...databaseOf(context), ...step }
  const progress = startProgress('reconcile', isQuiet)
  try {
    const { result } = await reconcileRows(parts, { prepared, onProgress: progress.update })
    return result
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

function reconcileExitCode(result: ReconcileResult): ExitCode {
  const isWhole = result.tables.every(({ rows }) =>
    rows.every(({ outcome }) => !['blocked', 'conflict', 'failed'].includes(outcome)),
  )
  return isWhole ? EXIT.complete : EXIT.incomplete
}
