import type { Command } from 'commander'
import type { Snapshot } from '../../backup/snapshot.ts'
import { readSnapshot } from '../../backup/snapshot-file.ts'
import { ConfigError, EXIT, type ExitCode } from '../../errors.ts'
import { latestCommit } from '../../pds/repo.ts'
import { overwrittenBy, type ReconcileResult } from '../../reconcile/apply.ts'
import type { IncludeDerived } from '../../reconcile/included.ts'
import type { ReconcilePlan } from '../../reconcile/plan.ts'
import { assertCaughtUp, type PrepareReconcileOptions } from '../../reconcile/reconcile.ts'
import { createMask } from '../../report/mask.ts'
import {
  type AskedReconcile,
  assertAccepted,
  type ConsentCounts,
  type ConsentPolicy,
  prepareWithConsent,
  reconcileAsked,
  withdrawnText,
} from '../../restore/consent.ts'
import { assertAuthorActive } from '../../restore/consent-author.ts'
import { maskedReconcile } from '../../restore/masked-reconcile.ts'
import { refusedByPlan, refusedOf, writtenOtherwise } from '../../restore/write.ts'
import { assertKnown } from '../../restore/write-scope.ts'
import type { DefineCommand } from '../command.ts'
import { addConsentOptions, type ConsentFlags, consentPolicyOf, sayConsent } from '../consent.ts'
import { type CliContext, openCatalog, openContext } from '../context.ts'
import { interruptible } from '../interrupt.ts'
import {
  catchUpOption,
  dryRunOption,
  examples,
  exceptOption,
  includeDerivedOption,
  jsonOption,
  reviewOption,
  rowConflictOption,
  snapshotOption,
  uriOption,
  withParentsOption,
} from '../options.ts'
import { printJson, say, startProgress } from '../output.ts'
import { planAgain, type WrittenRecords } from '../plan-again.ts'
import { writeReviewOf } from '../review.ts'
import { writeFolderOf } from '../write-folder.ts'

interface ReconcileCommandOptions extends ConsentFlags {
  onConflict: 'keep' | 'overwrite'
  withParents?: true
  snapshot: string
  withoutCatchUp?: true
  includeDerived?: true
  uri?: string[]
  except?: string[]
  review?: string
  dryRun?: true
  json?: true
}

export const reconcileCommand: DefineCommand = (program: Command, done) => {
  const command = program
    .command('reconcile')
    .description('Bring back from the snapshot the rows that no replay of the account gives back.')
    .addOption(snapshotOption())
    .addOption(catchUpOption())
  addConsentOptions(command)
    .addOption(rowConflictOption())
    .addOption(withParentsOption())
    .addOption(includeDerivedOption())
    .addOption(uriOption())
    .addOption(exceptOption())
    .addOption(reviewOption())
    .addOption(dryRunOption())
    .addOption(jsonOption())
    .addHelpText('after', HELP)
    .addHelpText(
      'after',
      examples(
        'reconcile --dry-run',
        'reconcile',
        'reconcile --review review --dry-run',
        'reconcile --include-derived --dry-run',
      ),
    )
    .action(async (options: ReconcileCommandOptions) => {
      const includeDerived = includeDerivedOf(options)
      const snapshot = await readSnapshot(options.snapshot)
      const context = await openContext(options)
      const catalog = await openCatalog(context)
      await assertAuthorActive(snapshot.did, context.network)
      // The repo is asked which records are missing; what it has is left to a replay all the same.
      if (!options.withoutCatchUp && includeDerived === undefined)
        await assertCaughtUp(context.production, snapshot.did, {
          isOwnConsumer: context.openSink !== undefined,
          repoRev: (await latestCommit(snapshot.did, context.network)).rev,
        })
      const { onConflict, withParents } = options
      const written = await planAgain(context, { snapshot, catalog })
      assertKnown(written.records, [...(options.uri ?? []), ...(options.except ?? [])])
      const isOwnConsumer = context.openSink !== undefined
      const policy = { onConflict, withParents, includeDerived, isOwnConsumer }
      const step = { snapshot, catalog, ...recordsOf(written), ...policy }
      const isQuiet = options.json === true
      const code = await interruptible(async (signal) => {
        const consent = consentPolicyOf(options, signal)
        const asked = await askWithProgress(context, step, consent, isQuiet)
        if (options.review !== undefined) await writeReviewOf(options.review, context, asked)
        if (options.dryRun) return sayDryRun(context, asked, isQuiet)
        await assertAccepted(asked, consent)
        if (!isQuiet) sayWithoutRecords(asked.prepared.plan)
        await keepOverwrittenRows(context, asked)
        const reconciled = await applyWithProgress(context, asked, { isQuiet, signal })
        if (isQuiet) printJson({ ...shown(context, reconciled.result, snapshot), consent: reconciled.counts })
        else sayReconciled(reconciled)
        return reconcileExitCode(reconciled.result)
      })
      done(code)
    })
}

const HELP = `
While the PDS cannot be written, --include-derived brings the rows of the account's own records too, so that the appview
works at once; no replay need have finished. --uri and --except say of which records. Write, replay, reconcile and
compare as usual when it can be written: rows that are as their records say do not change.`

/** @throws ConfigError where records are named that nothing is to be done with */
function includeDerivedOf(options: ReconcileCommandOptions): IncludeDerived | undefined {
  const { includeDerived, uri: uris, except } = options
  if (includeDerived) return { uris, except }
  if (uris === undefined && except === undefined) return undefined
  throw new ConfigError('--uri and --except name records, whose rows are left to the replay.', {
    hint: 'Add --include-derived, or leave them out.',
  })
}

/** What is about to be overwritten is kept first, beside what the writes of this snapshot overwrote. */
async function keepOverwrittenRows(context: CliContext, { parts, prepared }: AskedReconcile): Promise<void> {
  const overwritten = overwrittenBy(prepared)
  if (overwritten.length === 0) return
  const folder = writeFolderOf(context, parts.snapshot)
  const name = `overwritten-rows_${new Date().toISOString().replace(/[:.]/g, '-')}.json`
  await folder.save(name, overwritten)
  say(`${overwritten.length} rows are overwritten; as they are now they are kept in ${folder.path}/${name}`)
}

function sayDryRun(context: CliContext, asked: AskedReconcile, isJson: boolean): ExitCode {
  const { prepared, parts, counts } = asked
  if (isJson) printJson({ ...shown(context, prepared.plan, parts.snapshot), consent: counts })
  else {
    sayReconcilePlan(asked.prepared.plan)
    sayWithoutRecords(asked.prepared.plan)
    sayConsent(asked.counts)
  }
  if (asked.share !== undefined) say(withdrawnText(asked.share))
  return EXIT.complete
}

/** What is printed is kept in logs and pasted into tickets. */
function shown<Value extends ReconcilePlan | ReconcileResult>(
  { appview }: CliContext,
  value: Value,
  snapshot: Snapshot,
): Value {
  return maskedReconcile(value, snapshot, createMask(appview))
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

type Step = Pick<
  PrepareReconcileOptions,
  'catalog' | 'snapshot' | 'onConflict' | 'withParents' | 'includeDerived' | 'isOwnConsumer'
> &
  Records

/** What a reconcile did, and what the other accounts said that it asked. */
export interface Reconciled {
  result: ReconcileResult
  counts: ConsentCounts
}

/** Asks, plans and applies. @throws ConfigError where suspiciously many records are withdrawn */
export async function reconcileWithProgress(
  context: CliContext,
  step: Step,
  policy: ConsentPolicy,
  isQuiet: boolean,
): Promise<Reconciled> {
  const asked = await askWithProgress(context, step, policy, isQuiet)
  await assertAccepted(asked, policy)
  return applyWithProgress(context, asked, { isQuiet, signal: policy.signal })
}

async function askWithProgress(
  context: CliContext,
  step: Step,
  policy: ConsentPolicy,
  isQuiet: boolean,
): Promise<AskedReconcile> {
  const progress = startProgress('consent', isQuiet)
  try {
    return await prepareWithConsent(context, { ...databaseOf(context), ...step }, policy, progress.update)
  } finally {
    progress.stop()
  }
}

async function applyWithProgress(
  context: CliContext,
  asked: AskedReconcile,
  { isQuiet, signal }: { isQuiet: boolean; signal: AbortSignal | undefined },
): Promise<Reconciled> {
  const progress = startProgress('reconcile', isQuiet)
  try {
    return await reconcileAsked(context, asked, (done, total) => {
      progress.update(done, total)
      signal?.throwIfAborted()
    })
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

/** Names of records that a terminal shows; `--json` has all. */
const MAX_LISTED = 20

function sayWithoutRecords({ withoutRecords }: ReconcilePlan): void {
  if (withoutRecords === undefined) return
  const count = withoutRecords.length
  say(
    count === 0
      ? 'The repo has every record of the snapshot: no row rests on the backup alone.'
      : `${count} records are not in the repo; their rows rest on the backup alone until they are written:`,
  )
  for (const uri of withoutRecords.slice(0, MAX_LISTED)) say(`  ${uri}`)
  if (count > MAX_LISTED) say(`  and ${count - MAX_LISTED} more, which --json lists`)
  if (count > 0)
    say(
      'Whether the incident deleted a record or its author did since cannot be told: leave out by --except URI what is to stay deleted.',
    )
  say('No replay was demanded: rows of records that the repo has and the index has not are left to one.')
}

export function sayReconciled({ result, counts }: Reconciled): void {
  sayConsent(counts)
  for (const { table, rows } of result.tables) {
    const outcomes = new Map<string, number>()
    for (const { outcome } of rows) outcomes.set(outcome, (outcomes.get(outcome) ?? 0) + 1)
    const words = [...outcomes].map(([outcome, count]) => `${count} ${outcome}`).join(', ')
    const unverified = rows.filter((row) => row.unverified === true).length
    const note = unverified > 0 ? ` (${unverified} of them unverified)` : ''
    say(`${table.padEnd(34)} ${words || 'no rows'}${note}`)
  }
  for (const sequence of result.stuckSequences ?? [])
    say(
      `The sequence ${sequence} is behind ids that came back, and our key may not move it: move it with setval, or the next insert collides.`,
    )
}

function reconcileExitCode(result: ReconcileResult): ExitCode {
  const isWhole = result.tables.every(({ rows }) =>
    rows.every(({ outcome }) => !['blocked', 'conflict', 'failed'].includes(outcome)),
  )
  return isWhole ? EXIT.complete : EXIT.incomplete
}
