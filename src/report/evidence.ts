import { derivedTable } from '../appview/derived.ts'
import type { Snapshot } from '../backup/snapshot.ts'
import type { Catalog } from '../database/catalog.ts'
import type { ExactRow } from '../database/exact.ts'
import type { RecordState } from '../database/record-state.ts'
import type { AppView } from '../events.ts'
import type { LostRecord, RefusedRecord } from '../pds/lost-record.ts'
import type { ReconciledRow, ReconciledTable, TriggerKeptColumn } from './reconciled.ts'
import type { RefusedRecords } from './refused.ts'

/** All that may explain a difference. */
export interface Evidence {
  snapshot: Snapshot
  appview: AppView
  catalog: Catalog
  /** What the index knows of the records that rows are made from. */
  states: ReadonlyMap<string, RecordState>
  /** The account's lost records, by URI. */
  records: ReadonlyMap<string, LostRecord | RefusedRecord>
  /** Records that were not written back, and why. */
  refusals: RefusedRecords
  /** Those of them that are not in the repo: their rows rest on the backup alone. */
  withoutRecord: RefusedRecords
  /** URIs of the lost records that are not in the repo, and of which nobody refused any. */
  missingRecords?: ReadonlySet<string>
  /** What the reconcile of this run said; undefined when none ran. */
  outcomes: Outcomes | undefined
  /** As `table.column`. */
  triggerKept: ReadonlySet<string>
}

export interface Outcomes {
  of(table: string, id: string): ReconciledRow | undefined
}

export function outcomesOf(tables: readonly ReconciledTable[]): Outcomes {
  const byRow = new Map(
    tables.flatMap(({ table, rows }) => rows.map((row) => [`${table} ${row.id}`, row] as const)),
  )
  return { of: (table, id) => byRow.get(`${table} ${id}`) }
}

export function triggerKeptSet(columns: readonly TriggerKeptColumn[]): Set<string> {
  return new Set(columns.map(({ table, column }) => `${table}.${column}`))
}

/** AT-URI of the record that a row is made from, if it is made from one. */
export function recordUriOf(
  appview: Pick<AppView, 'handlers'>,
  table: string,
  row: ExactRow,
): string | undefined {
  const derived = derivedTable(appview, table)
  return derived === undefined ? undefined : (row[derived.of] ?? undefined)
}
