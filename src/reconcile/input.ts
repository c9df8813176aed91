import type { Snapshot } from '../backup/snapshot.ts'
import type { Catalog } from '../database/catalog.ts'
import type { ExactRow } from '../database/exact.ts'
import type { AppView } from '../events.ts'
import type { OwnRecordsInput } from './own-records.ts'
import type { ReplayedRows } from './replayed-rows.ts'

/** All that a reconcile plan is made from. */
export interface ReconcileInput extends OwnRecordsInput {
  snapshot: Snapshot
  appview: AppView
  /** Of production. */
  catalog: Catalog
  /** By table and row id, the rows of the snapshot's keys that production has now. */
  current: ReadonlyMap<string, ReadonlyMap<string, ExactRow>>
  /** The rows that the account's records stand for, as its handlers say. */
  replayed: ReplayedRows
  /** When the account's records were first marked by a restore, as the database prints it. */
  markedAt: string | undefined
  /** URIs of the records that were marked. */
  marked: ReadonlySet<string>
  /** See `PrepareReconcileOptions`. */
  writtenOtherwise?: ReadonlySet<string> | undefined
}
