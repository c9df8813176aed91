import type { Snapshot } from '../backup/snapshot.ts'
import type { Catalog } from '../database/catalog.ts'
import type { Database } from '../database/client.ts'
import { firstMarkedAt, readMarks } from '../database/marks.ts'
import { readReceipt } from '../database/receipts.ts'
import { type RecordState, readRecordStates } from '../database/record-state.ts'
import { ConfigError, RestoreError } from '../errors.ts'
import type { AppView } from '../events.ts'
import { type CurrentRows, readCurrentRows } from './current.ts'
import { withForeseen } from './foresee.ts'
import type { ReconcilePolicy } from './input.ts'
import { NOT_WRITTEN } from './marks.ts'
import type { RefusedRecords, RepoRecords } from './own-records.ts'
import { bringableParents } from './parents.ts'
import { planReconcile } from './plan.ts'
import { type PlannedTable, plannedSource, type ReconcilePlan } from './planned.ts'
import { replayedRows } from './replayed-rows.ts'

export interface PreparedReconcile {
  plan: ReconcilePlan
  /** The rows that the plan was made from. */
  current: CurrentRows
}

export interface PrepareReconcileOptions extends ReconcilePolicy {
  database: Database
  /** Of production. */
  catalog: Catalog
  appview: AppView
  snapshot: Snapshot
  /**
   * The account's repo as it is now, after the replay: what its records stand for is then asked of them and not of
   * the backup's rows, which are often not the records.
   */
  repo?: RepoRecords
  /**
   * The records that were not written back, by the write plan or by the writer: their rows, and what hangs there, come
   * from the backup. Refusal `conflict` does not count.
   */
  refused?: RefusedRecords
  /**
   * URIs of records that stand in the repo as a restore wrote them, and not as they were lost (without a picture that
   * could not be had): what such a record lacks in its row nobody has taken out since the backup.
   */
  writtenOtherwise?: ReadonlySet<string>
  /**
   * Whether the plan says which inserts would be refused. Applying it decides that in any case, so a plan that nobody
   * reads can do without. @defaultValue true
   */
  foresee?: boolean
  /** Whether the operator's own code consumes the firehose, and keeps no record state. @defaultValue false */
  isOwnConsumer?: boolean
}

/** Reads what is there now and plans what to bring back. Nothing is written. */
export async function prepareReconcile(options: PrepareReconcileOptions): Promise<PreparedReconcile> {
  const { database, catalog, appview, snapshot, repo, refused, writtenOtherwise } = options
  const { onConflict, withParents, consent, unreachable, includeDerived } = options
  if (includeDerived && repo === undefined) {
    throw new ConfigError('Without its repo nobody knows which records of the account are missing.', {
      did: snapshot.did,
      hint: 'Give `repo`, as `fetchRepo` reads it, where `includeDerived` is given.',
    })
  }
  const parents = withParents ? bringableParents(snapshot, appview) : []
  const current = await readCurrentRows(database, catalog, [...snapshot.tables, ...parents])
  const marks = await readMarks(database, snapshot.did)
  const planned = planReconcile({
    snapshot,
    appview,
    catalog,
    current,
    states: await readRecordStates(database, snapshot.did),
    replayed: replayedRows(snapshot, appview, repo),
    repo,
    refused,
    writtenOtherwise,
    markedAt: firstMarkedAt(marks),
    marked: new Set(marks.map(({ uri }) => uri)),
    onConflict,
    withParents,
    consent,
    unreachable,
    includeDerived,
  })
  const absentAtRev = includeDerived && !options.isOwnConsumer ? repo?.rev : undefined
  const plan = { ...planned, ...(absentAtRev !== undefined && { absentAtRev }) }
  const sourceOf = (planned: PlannedTable) => plannedSource(snapshot, planned)
  if (options.foresee === false) return { plan, current }
  return { plan: await withForeseen(plan, { database, catalog, appview, sourceOf }), current }
}

/**
 * Makes sure that the index has caught up with the repo: a replay of the account has finished, and every record that
 * a restore marked for writing is in the index as written.
 *
 * @param options repoRev: the revision that the replay must have reached; the repo's present one, where the caller
 *   has not just replayed it. isOwnConsumer: the replay went through an operator's own code
 * @throws RestoreError otherwise: rows that a replay would give back must not be taken from the backup
 */
export async function assertCaughtUp(
  database: Database,
  did: string,
  options: { isOwnConsumer?: boolean; repoRev?: string } = {},
): Promise<void> {
  const hint = `Run "firehose-replay replay --did ${did}" first, or give --without-catch-up if you mean it.`
  const receipt = await readReceipt(database, did)
  if (receipt === undefined) {
    throw new RestoreError(`No replay of ${did} has finished, so what comes from its repo is not known.`, {
      did,
      hint,
    })
  }
  if (options.repoRev !== undefined && receipt.rev < options.repoRev) {
    throw new RestoreError(
      `The repo of ${did} has moved on to ${options.repoRev} since the last replay, which reached ${receipt.rev}.`,
      { did, hint },
    )
  }
  // An operator's own consumer keeps no record state; the receipt of a replay through it is all there is.
  if (options.isOwnConsumer) return
  const states = await readRecordStates(database, did)
  const behind = (await readMarks(database, did)).filter(
    ({ uri, cid }) => cid !== NOT_WRITTEN && !isIndexed(states.get(uri)),
  )
  if (behind.length === 0) return
  throw new RestoreError(
    `${behind.length} records that were to be written back are not in the index, ${behind[0]?.uri} among them.`,
    {
      did,
      hint: `Write them ("firehose-replay write"), then replay. ${hint}`,
    },
  )
}

function isIndexed(state: RecordState | undefined): boolean {
  return state !== undefined && !state.deleted
}
