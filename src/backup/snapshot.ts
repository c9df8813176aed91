import type { ExactRow } from '../database/exact.ts'
import type { Rows } from './rows.ts'

export type { Rows } from './rows.ts'

/** Raised with every change that an older reader would misread. */
export const SNAPSHOT_FORMAT = 2

/** The rows of one table, every value as the database prints it. */
export interface SnapshotTable {
  table: string
  /** The name under which the file holds its rows; `otherTables.NAME` or `parents.NAME` where it has none of its own. */
  section: string
  /** Those that the backup has; generated columns are among them, to be compared and never written. */
  columns: readonly { name: string; type: string; generated: boolean }[]
  /** What tells rows apart: the columns of a unique key. */
  key: readonly string[]
  /** Read again from the file at each walk, where the snapshot was read from one. */
  rows: Rows
}

/** A table that one side lacks, or only some of its columns. */
export interface LackingTable {
  table: string
  /** None given: the whole table. */
  columns?: readonly string[]
}

/** What a backup knows of one account: its roots, everything that hangs off them, and the rows these need. */
export interface Snapshot {
  did: string
  /** Roots and what their deletion takes or empties, parents before children. */
  tables: readonly SnapshotTable[]
  /** Rows of other tables that the above refer to, parents before children. They are looked at, not brought back. */
  parents: readonly SnapshotTable[]
  meta: {
    format: number
    /** When the extraction began, ISO 8601. */
    extractedAt: string
    /** Host of the backup's API. */
    from: string
    /** Name of the appview's description. */
    appview: string
    /** Sections that the appview names and no table of this database fills: empty lists in the file. */
    emptySections?: readonly string[]
    /** What production has and the backup did not: such tables and columns are not in the snapshot. */
    lacking?: readonly LackingTable[]
    /** What the backup had and production has no more, as far as the backup could be asked; its rows are left out. */
    dropped?: readonly LackingTable[]
  }
}

/** A row's key as text: equal for the same row on both sides, whatever the table's key is. */
export function rowId(row: ExactRow, key: readonly string[]): string {
  return JSON.stringify(key.map((column) => row[column] ?? null))
}

/** The table of this name among roots and closure, if the snapshot has it. */
export function tableOf(snapshot: Pick<Snapshot, 'tables'>, table: string): SnapshotTable | undefined {
  return snapshot.tables.find((candidate) => candidate.table === table)
}
