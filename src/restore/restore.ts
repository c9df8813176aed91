import { assertDifferent } from '../backup/backup-check.ts'
import { extractTo } from '../backup/extract.ts'
import type { Snapshot } from '../backup/snapshot.ts'
import { type Catalog, readCatalog } from '../database/catalog.ts'
import type { Database } from '../database/client.ts'
import type { ConflictPolicy, WritePlan } from '../pds/plan.ts'
import { fetchRepo, type LiveRepo, latestCommit } from '../pds/repo.ts'
import { openSession, type SessionProvider } from '../pds/session.ts'
import type { ReconcileResult } from '../reconcile/apply.ts'
import type { RefusedRecords } from '../reconcile/own-records.ts'
import type { ReconcilePlan } from '../reconcile/plan.ts'
import { assertCaughtUp } from '../reconcile/reconcile.ts'
import { compareAccount } from '../report/compare.ts'
import { createMask, type Mask } from '../report/mask.ts'
import type { Report } from '../report/report.ts'
import { fingerprintUntouched } from '../report/untouched.ts'
import {
  type AskedReconcile,
  assertAccepted,
  type ConsentCounts,
  type ConsentPolicy,
  prepareWithConsent,
  reconcileAsked,
} from './consent.ts'
import { assertAuthorActive } from './consent-author.ts'
import type { NotWritten, RestoreContext, Writer, WriterSummary } from './context.ts'
import { maskedReconcile } from './masked-reconcile.ts'
import { type Replayed, replayAccount } from './replay.ts'
import { reviewedRows } from './review/reviewed-rows.ts'
import { openReviewFolder, writeReview } from './review/write-review.ts'
import type { RunFolder } from './run-folder.ts'
import {
  executeWrite,
  type PreparedWrite,
  type PrepareWriteOptions,
  prepareWrite,
  refusedOf,
  writtenOtherwise,
} from './write.ts'

export const PHASES = ['extract', 'plan', 'write', 'replay', 'consent', 'reconcile', 'compare'] as const
export type Phase = (typeof PHASES)[number]

export interface RestoreOptions {
  did: string
  backup: Database
  /** Where given, the session is looked at before anything else. Inngest's functions have their own. */
  sessionProvider?: SessionProvider
  writer: Writer
  folder: RunFolder
  onConflict: ConflictPolicy
  /** See `PrepareWriteOptions`. */
  except?: PrepareWriteOptions['except']
  budget?: PrepareWriteOptions['budget']
  blobs?: PrepareWriteOptions['blobs']
  /** How other accounts are asked whether their rows may come back. @defaultValue all of them are asked */
  consent?: ConsentPolicy
  /** See `ReconcilePolicy`. */
  withParents?: boolean
  /** Folder for the rows that the reconcile would insert or set, as CSV and SQL, before it does. @defaultValue none */
  review?: string
  /** Shown what would be written before anything is; false stops the restore there. */
  confirm: (plan: WritePlan, snapshot: Snapshot) => Promise<boolean>
  onPhase?: (phase: Phase) => void
  onProgress?: (phase: Phase, done: number, total: number) => void
}

export interface RestoreResult {
  report: Report
  write: WriterSummary
  replay: Replayed
  reconcile: ReconcileResult
  /** What the other accounts said whose rows were to come back. */
  consent: ConsentCounts
  /** True when everything was there already: no record was written and no row changed. */
  nothingToDo: boolean
  durationMs: Record<Phase, number>
}

/**
 * Brings one account back: records first, then the replay, then what no replay gives back, then the comparison. Each
 * phase decides by what it finds, so a restore that was cut short is simply run again, and one with nothing left to
 * do changes nothing.
 *
 * @returns undefined when `confirm` declined
 * @throws ConfigError, SessionError before anything is written; RestoreError when the backup holds nothing of the
 *   account, or the account is not active; UnavailableError when a host or database stays away; ConfigError before
 *   rows of others come back, where suspiciously many are withdrawn
 */
export async function restoreAccount(
  context: RestoreContext,
  options: RestoreOptions,
): Promise<RestoreResult | undefined> {
  const run = new RestoreRun(context, options)
  await run.assertWritable()
  const catalog = await readCatalog(context.production)
  await assertDifferent(context.production, options.backup, catalog)

  const snapshot = await run.phase('extract', () => run.extract(catalog))
  const untouched = await fingerprintUntouched(run.databases(catalog), snapshot)
  const prepared = await run.phase('plan', () => run.prepare(snapshot, catalog))
  if (!(await options.confirm(prepared.plan, snapshot))) return undefined

  const write = await run.phase('write', () => run.write(prepared))
  const replay = await run.phase('replay', () => run.replay())
  const repo = await fetchRepo(options.did, context.network)
  const found = {
    snapshot,
    catalog,
    repo,
    refused: refusedOf(write.notWritten),
    writtenOtherwise: writtenOtherwise(prepared, repo),
  }
  const asked = await run.phase('consent', () => run.ask(found))
  const { plan, result, counts } = await run.phase('reconcile', () => run.reconcile(asked))
  const report = await run.phase('compare', () =>
    run.compare({ ...found, prepared, write, result, untouched }),
  )
  return {
    report,
    write,
    replay,
    reconcile: result,
    consent: counts,
    nothingToDo: write.recordsWritten === 0 && replay.counts.applied === 0 && !changesRows(plan, result),
    durationMs: run.durationMs,
  }
}

interface Found {
  snapshot: Snapshot
  catalog: Catalog
  /** The account's repo after the replay. */
  repo: LiveRepo
  /** Records that could not be written. */
  refused: RefusedRecords
  /** See `writtenOtherwise`. */
  writtenOtherwise: ReadonlySet<string>
}

interface CompareInput extends Found {
  write: WriterSummary
  prepared: PreparedWrite
  result: ReconcileResult
  untouched: Awaited<ReturnType<typeof fingerprintUntouched>>
}

class RestoreRun {
  readonly durationMs = Object.fromEntries(PHASES.map((phase) => [phase, 0])) as Record<Phase, number>
  readonly #context: RestoreContext
  readonly #options: RestoreOptions
  /** One for the run: what its files say can be joined. */
  readonly #mask: Mask

  constructor(context: RestoreContext, options: RestoreOptions) {
    this.#context = context
    this.#options = options
    this.#mask = createMask(context.appview)
  }

  async phase<T>(phase: Phase, act: () => Promise<T>): Promise<T> {
    this.#options.onPhase?.(phase)
    const startedMs = performance.now()
    try {
      return await act()
    } finally {
      this.durationMs[phase] = Math.round(performance.now() - startedMs)
    }
  }

  databases(catalog: Catalog) {
    const { appview, production: database } = this.#context
    return { appview, database, catalog }
  }

  /** An account or PDS that is not there, or a dead session, is found before anything else is done. */
  async assertWritable(): Promise<void> {
    const { did, sessionProvider, review } = this.#options
    const { network } = this.#context
    await assertAuthorActive(did, network)
    if (review !== undefined) await openReviewFolder(review)
    if (sessionProvider !== undefined) await (await openSession(did, sessionProvider)).verify()
  }

  async extract(catalog: Catalog): Promise<Snapshot> {
    const { did, backup, folder } = this.#options
    const { appview } = this.#context
    return extractTo(folder.snapshotPath, { database: backup, catalog, appview, did })
  }

  async prepare(snapshot: Snapshot, catalog: Catalog): Promise<PreparedWrite> {
    const { onConflict, folder, except, budget, blobs } = this.#options
    const prepared = await prepareWrite(this.#context, {
      snapshot,
      catalog,
      onConflict,
      ...(except && { except }),
      ...(budget && { budget }),
      ...(blobs && { blobs: { onProgress: this.#progress('plan'), ...blobs } }),
    })
    await folder.save('write-plan.json', prepared.plan)
    await folder.save('overwritten-records.json', prepared.overwritten)
    return prepared
  }

  async write(prepared: PreparedWrite): Promise<WriterSummary> {
    const { writer, folder, onConflict } = this.#options
    const onProgress = this.#progress('write')
    const summary = await executeWrite(this.#context, writer, prepared, {
      run: folder.run,
      onConflict,
      onProgress,
    })
    await folder.save('write.json', summary)
    return summary
  }

  async replay(): Promise<Replayed> {
    const { did } = this.#options
    const { rev } = await latestCommit(did, this.#context.network)
    return replayAccount(this.#context, did, { atLeastRev: rev, onProgress: this.#progress('replay') })
  }

  async ask(found: Found): Promise<AskedReconcile> {
    const { snapshot, catalog, ...records } = found
    const { consent: policy = {}, withParents } = this.#options
    await assertCaughtUp(this.#context.production, snapshot.did, {
      isOwnConsumer: this.#context.openSink !== undefined,
    })
    const parts = { ...this.databases(catalog), snapshot, ...records, withParents }
    const asked = await prepareWithConsent(this.#context, parts, policy, this.#progress('consent'))
    const shown = maskedReconcile(asked.prepared.plan, snapshot, this.#mask)
    await this.#options.folder.save('reconcile-plan.json', shown)
    if (this.#options.review !== undefined)
      await writeReview(
        this.#options.review,
        reviewedRows(asked.prepared, { snapshot, catalog, appview: this.#context.appview }),
      )
    await assertAccepted(asked, policy)
    return asked
  }

  async reconcile(asked: AskedReconcile): ReturnType<typeof reconcileAsked> {
    const reconciled = await reconcileAsked(this.#context, asked, this.#progress('reconcile'))
    const shown = maskedReconcile(reconciled.result, asked.parts.snapshot, this.#mask)
    await this.#options.folder.save('reconcile.json', shown)
    return reconciled
  }

  async compare({ prepared, write, result, untouched, ...found }: CompareInput): Promise<Report> {
    const { snapshot } = found
    const report = await compareAccount({
      ...found,
      repo: await fetchRepo(snapshot.did, this.#context.network),
      appview: this.#context.appview,
      production: this.#context.production,
      records: prepared.records,
      kept: keptUris(prepared.plan, write.notWritten),
      reconciled: result.tables,
      triggerKept: result.triggerKept,
      ...(result.stuckSequences && { stuckSequences: result.stuckSequences }),
      untouchedBefore: untouched,
    })
    await this.#options.folder.save('report.json', report)
    return report
  }

  #progress(phase: Phase): (done: number, total: number) => void {
    return (done, total) => this.#options.onProgress?.(phase, done, total)
  }
}

/** URIs of the records that a plan, or the write after it, leaves as their author has them now. */
export function keptUris(plan: WritePlan, notWritten: readonly NotWritten[]): Set<string> {
  const byPlan = plan.records.filter(({ action }) => action === 'keep')
  const later = notWritten.filter(({ outcome }) => outcome === 'kept')
  return new Set([...byPlan, ...later].map(({ uri }) => uri))
}

function changesRows(plan: ReconcilePlan, result: ReconcileResult): boolean {
  const acted = new Set(
    plan.tables.flatMap(({ table, rows }) =>
      rows.filter(({ action }) => action !== 'none').map(({ id }) => `${table} ${id}`),
    ),
  )
  const still = new Set(['unchanged', 'kept', 'withdrawn', 'blocked', 'conflict', 'failed', 'trigger-kept'])
  return result.tables.some(({ table, rows }) =>
    rows.some(({ id, outcome }) => acted.has(`${table} ${id}`) && !still.has(outcome)),
  )
}
