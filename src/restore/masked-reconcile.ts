import { rowId, type Snapshot } from '../backup/snapshot.ts'
import { type PlannedTable, plannedSource } from '../reconcile/planned.ts'
import type { OverwrittenRow } from '../reconcile/run.ts'
import type { Mask } from '../report/mask.ts'

type Told = Pick<PlannedTable, 'table' | 'ofParents'> & { rows: readonly { id: string; reason?: string }[] }

/**
 * A reconcile's plan or result as it may be kept and printed: rows are told by their keys, and some keys are
 * capabilities (a draft's is its editor address). Those are hashes here, as in the report.
 */
export function maskedReconcile<Value extends { tables: readonly Told[]; overwritten?: OverwrittenRow[] }>(
  value: Value,
  snapshot: Snapshot,
  mask: Mask,
): Value {
  const ids = new Map<string, Map<string, string>>()
  const tables = value.tables.map((told) => {
    const { table } = told
    const { key, rows } = plannedSource(snapshot, told)
    const reasons = new Map(told.rows.map(({ id, reason }) => [id, reason]))
    const idsOfTable = new Map<string, string>()
    // Once over the rows, which may be in a file.
    for (const row of rows) {
      const id = rowId(row, key)
      if (!reasons.has(id)) continue
      idsOfTable.set(id, mask.rowId(table, row, key))
      const reason = reasons.get(id)
      if (reason !== undefined) reasons.set(id, mask.reason(table, row, reason))
    }
    ids.set(table, idsOfTable)
    const shown = told.rows.map((row) => {
      const reason = reasons.get(row.id)
      return { ...row, id: idsOfTable.get(row.id) ?? '', ...(reason !== undefined && { reason }) }
    })
    return { ...told, rows: shown }
  })
  const overwritten = value.overwritten?.map(({ table, id, columns, old }) => ({
    table,
    id: ids.get(table)?.get(id) ?? '',
    columns,
    old: Object.fromEntries(
      Object.entries(old).map(([column, text]) => [column, mask.value(table, column, text)]),
    ),
  }))
  return { ...value, tables, ...(overwritten && { overwritten }) }
}
