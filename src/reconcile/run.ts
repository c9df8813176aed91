import type { Snapshot, SnapshotTable } from '../backup/snapshot.ts'
import type { Catalog } from '../database/catalog.ts'
import type { Database } from '../database/client.ts'
import type { ExactRow } from '../database/exact.ts'
import type { AppView, RowOutcome } from '../events.ts'
import type { ConsentDecisions } from './consent/decision.ts'
import type { CurrentRows } from './current.ts'
import type { ReconcilePolicy } from './input.ts'
import type { PlannedRow, PlannedTable, ReconcilePlan } from './planned.ts'
import type { TriggerWatch } from './trigger-watch.ts'

/** What became of one row of the snapshot. */
export interface ReconciledRow {
  id: string
  outcome: RowOutcome
  reason?: string
  /** True for a restored row made from another account's record that nobody has seen to be there. */
  unverified?: boolean
}

/** What a row held before it was set back although somebody had changed it. */
export interface OverwrittenRow {
  table: string
  id: string
  columns: readonly string[]
  old: ExactRow
}

export interface ReconcileResult {
  tables: {
    table: string
    rows: ReconciledRow[]
    /** Of the snapshot's parents: the rows that were brought because others need them. */
    ofParents?: true
  }[]
  /** Columns that changed by themselves when rows came: triggers keep them, so they were not set back. */
  triggerKept: { table: string; column: string }[]
  /** Empty unless the plan was made with `onConflict: 'overwrite'`. */
  overwritten?: OverwrittenRow[]
  /** Sequences that are behind restored ids and that our key may not move: later inserts would collide. */
  stuckSequences?: string[]
}

export interface ApplyOptions extends Pick<ReconcilePolicy, 'consent' | 'unreachable'> {
  database: Database
  catalog: Catalog
  appview: AppView
  snapshot: Snapshot
  plan: ReconcilePlan
  /** The rows that the plan was made from. */
  current: CurrentRows
  /**
   * Asked before each batch of inserts about the records of other accounts in it; rows whose records are no longer
   * `same` are left.
   *
   * @defaultValue what `consent` says holds
   */
  consentAgain?: ((uris: readonly string[]) => Promise<ConsentDecisions>) | undefined
  onProgress?: (done: number, total: number) => void
}

/** What a run has found out so far, for the parts that insert and set. */
export interface RunState {
  options: ApplyOptions
  watch: TriggerWatch
  outcomes: Outcomes
  source: (planned: Pick<PlannedTable, 'table' | 'ofParents'>) => SnapshotTable
  report: (count: number) => void
}

/** By table and row id, what became of rows that something was done about. */
export class Outcomes {
  readonly #tables = new Map<string, Map<string, ReconciledRow>>()

  get(table: string, id: string): ReconciledRow | undefined {
    return this.#tables.get(table)?.get(id)
  }

  set(table: string, row: ReconciledRow): void {
    const rows = this.#tables.get(table) ?? new Map<string, ReconciledRow>()
    if (rows.size === 0) this.#tables.set(table, rows)
    rows.set(row.id, row)
  }
}

/** A row whose columns are to be set, and what it must still hold for that. */
export interface SetEntry {
  planned: PlannedRow
  seen: ExactRow
}

export function withoutAction({ id, outcome, reason }: PlannedRow): ReconciledRow {
  return reason === undefined ? { id, outcome } : { id, outcome, reason }
}

export function pick(row: ExactRow, columns: readonly string[]): ExactRow {
  return Object.fromEntries(columns.map((column) => [column, row[column] ?? null]))
}
