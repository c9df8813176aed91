import type { RowOutcome } from '../events.ts'

/** What a reconcile of this run said of one row of the snapshot. */
export interface ReconciledRow {
  /** See `rowId`. */
  id: string
  outcome: RowOutcome
  reason?: string
  /** A restored row of another account's record that nobody has looked for. */
  unverified?: boolean
}

export interface ReconciledTable {
  table: string
  rows: readonly ReconciledRow[]
}

/** A column that a trigger of the appview keeps. */
export interface TriggerKeptColumn {
  table: string
  column: string
}
