import type { Snapshot, SnapshotTable } from '../backup/snapshot.ts'
import type { RowOutcome } from '../events.ts'

/** What is to become of one row of the snapshot. */
export interface PlannedRow {
  /** See `rowId`. */
  id: string
  action: 'insert' | 'set' | 'none'
  /** The outcome when the action goes through, or when there is none. */
  outcome: RowOutcome
  /** Columns to set back, for `set`. */
  columns?: readonly string[]
  /** Of these columns, those that the index fills by itself where it waits for what they name. */
  awaited?: readonly string[]
  /** Some of these columns are what the handler's `mergeRow` keeps of the backup's row. */
  merged?: true
  /** The row's record could not be written back, or not yet: the row comes although the index knows the record as deleted. */
  withoutRecord?: true
  /** Somebody has changed the row since, and the columns are set back all the same: their old values are lost. */
  overwrites?: true
  /** An earlier run could not bring or fill it, and has left a mark of that. */
  pending?: true
  reason?: string
}

export interface PlannedTable {
  table: string
  /** Rows come here, now or in an earlier run, that no replay gives: what the index has waiting for them is let in. */
  sweep?: true
  /** Of the snapshot's parents: rows that are brought because others need them. The others of them are not listed. */
  ofParents?: true
  /** Columns to leave empty until the other tables' rows are there: they refer to one another in a circle. */
  heldBack?: readonly string[]
  rows: PlannedRow[]
}

/** What a reconcile would do, parents before children: names and actions, no bodies. */
export interface ReconcilePlan {
  did: string
  tables: PlannedTable[]
  /** With `includeDerived`: URIs of the records that the repo does not have, and whose rows rest on the backup alone. */
  withoutRecords?: readonly string[]
  /**
   * Revision of the repo that does not have them, for the index to know them as deleted at: what arrives about them
   * from before it is stale. Left out where an operator's own consumer keeps no record state.
   */
  absentAtRev?: string
}

/** The table of the snapshot that a plan's table is about. */
export function plannedSource(
  snapshot: Snapshot,
  { table, ofParents }: Pick<PlannedTable, 'table' | 'ofParents'>,
): SnapshotTable {
  const found = (ofParents ? snapshot.parents : snapshot.tables).find(
    (candidate) => candidate.table === table,
  )
  if (found === undefined) throw new TypeError(`the plan names ${table}, which the snapshot does not hold`)
  return found
}
