import type { Snapshot } from '../backup/snapshot.ts'
import type { Catalog } from '../database/catalog.ts'
import type { ExactRow } from '../database/exact.ts'
import type { AppView } from '../events.ts'
import type { ConsentDecisions } from './consent/decision.ts'
import type { IncludeDerived } from './included.ts'
import type { OwnRecordsInput } from './own-records.ts'
import type { ReplayedRows } from './replayed-rows.ts'

/** What an operator decides about a reconcile. */
export interface ReconcilePolicy {
  /**
   * Whether rows that were changed since the backup stay (`keep`), or get the backup's values in all columns that no
   * handler writes. @defaultValue 'keep'
   */
  onConflict?: 'keep' | 'overwrite' | undefined
  /**
   * Brings the rows that others need and that are missing, as posts, profiles and domains: where they are absent, and
   * never those of `untouchableTables`. @defaultValue false: what needs them is blocked
   */
  withParents?: boolean | undefined
  /** What other accounts say of the rows made from their records. A record that is not in it was not asked about. */
  consent?: ConsentDecisions | undefined
  /** What becomes of rows about which nobody could be asked. @defaultValue 'restore', unverified */
  unreachable?: 'restore' | 'skip' | undefined
  /**
   * While the PDS cannot be written: also brings the rows of records that a write would bring back and that the repo
   * does not have now, as the backup has them, although the index knows the records as deleted. A tombstone of the
   * incident cannot be told from a later one of the author's. Needs `repo`. @defaultValue these are left to the replay
   */
  includeDerived?: IncludeDerived | undefined
}

/** All that a reconcile plan is made from. */
export interface ReconcileInput extends Omit<OwnRecordsInput, 'included'>, ReconcilePolicy {
  snapshot: Snapshot
  appview: AppView
  /** Of production. */
  catalog: Catalog
  /** By table and row id, the rows of the snapshot's keys that production has now; `SAME` for those that are alike. */
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
