import { rowId, type Snapshot, type SnapshotTable } from '../../backup/snapshot.ts'
import type { Catalog } from '../../database/catalog.ts'
import type { ExactRow } from '../../database/exact.ts'
import type { AppView } from '../../events.ts'
import { currentRow } from '../../reconcile/current.ts'
import { keptOfBackup } from '../../reconcile/merge-row.ts'
import { type PlannedRow, plannedSource } from '../../reconcile/planned.ts'
import type { PreparedReconcile } from '../../reconcile/reconcile.ts'
import { createMask, type Mask } from '../../report/mask.ts'
import type { ReviewedRow } from './reviewed-row.ts'

interface ReviewedParts {
  snapshot: Snapshot
  appview: AppView
  /** Of production. */
  catalog: Catalog
}

/**
 * Every row that a plan would insert or set, parents first, with the values it would get. Values that wait until
 * triggers have been watched are among them: whether they stand shows when the plan is applied.
 *
 * @param prepared what `prepareReconcile` gave
 */
export function* reviewedRows(
  { plan, current }: PreparedReconcile,
  { snapshot, appview, catalog }: ReviewedParts,
): Generator<ReviewedRow> {
  const mask = createMask(appview)
  for (const planned of plan.tables) {
    const meant = new Map(
      planned.rows.flatMap((row) => (row.action === 'none' ? [] : [[row.id, row] as const])),
    )
    if (meant.size === 0) continue
    const source = plannedSource(snapshot, planned)
    const writable = new Set(catalog.writableColumns(source.table))
    const insertable = source.columns.map(({ name }) => name).filter((name) => writable.has(name))
    for (const row of source.rows) {
      const action = meant.get(rowId(row, source.key))
      if (action === undefined) continue
      const now =
        action.action === 'set' ? (currentRow(current, source.table, action.id, row) ?? {}) : undefined
      const columns = now === undefined ? insertable : (action.columns ?? [])
      const values = now === undefined ? row : valuesToSet(appview, source, action, { row, now })
      yield masked(mask, source, action, {
        row,
        values: pick(values, columns),
        ...(now && { now: pick(now, columns) }),
      })
    }
  }
}

/** As applying it sets them: see `RowSetter`. */
function valuesToSet(
  appview: AppView,
  source: SnapshotTable,
  { merged }: PlannedRow,
  { row, now }: { row: ExactRow; now: ExactRow },
): ExactRow {
  return merged ? { ...row, ...Object.fromEntries(keptOfBackup(appview, source, row, now)) } : row
}

function masked(
  mask: Mask,
  { table, key }: SnapshotTable,
  { reason }: PlannedRow,
  { row, values, now }: { row: ExactRow; values: ExactRow; now?: ExactRow },
): ReviewedRow {
  const shown = (some: ExactRow): ExactRow =>
    Object.fromEntries(
      Object.entries(some).map(([column, text]) => [column, mask.value(table, column, text)]),
    )
  return {
    table,
    key: shown(pick(row, key)),
    values: shown(values),
    ...(now && { now: shown(now) }),
    ...(reason !== undefined && { reason: mask.reason(table, row, reason) }),
  }
}

function pick(row: ExactRow, columns: readonly string[]): ExactRow {
  return Object.fromEntries(columns.map((column) => [column, row[column] ?? null]))
}
