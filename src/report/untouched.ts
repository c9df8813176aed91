import { createHash } from 'node:crypto'
import { rowId, type Snapshot, type SnapshotTable } from '../backup/snapshot.ts'
import { meaningOf } from '../database/meaning.ts'
import type { Mask } from './mask.ts'
import { type Production, type RowsById, readSameRows } from './present-rows.ts'
import type { Report, ReportRow, UntouchedTable } from './report.ts'
import { differingColumns } from './row-diff.ts'
import { differencesOf, MAX_LISTED_ROWS } from './row-entries.ts'

/** What the untouchable tables hold in the rows that the snapshot's rows refer to: no values, only digests. */
export interface UntouchedFingerprint {
  tables: { table: string; rowCount: number; digest: string }[]
}

/**
 * Taken before a restore writes anything, and given to the comparison after it. Only rows that the snapshot refers
 * to are read: these tables hold everybody's, and may be large.
 */
export async function fingerprintUntouched(
  production: Production,
  snapshot: Snapshot,
): Promise<UntouchedFingerprint> {
  const tables: UntouchedFingerprint['tables'] = []
  for (const parent of snapshot.parents) {
    if (!production.appview.untouchableTables.includes(parent.table)) continue
    const rows = await readSameRows(production, parent)
    const digest = digestOf(rows, production.catalog.table(parent.table).columns)
    tables.push({ table: parent.table, rowCount: rows.size, digest })
  }
  return { tables }
}

function digestOf(rows: RowsById, columns: readonly { name: string; type: string }[]): string {
  const lines = [...rows].map(([id, row]) =>
    JSON.stringify([id, ...columns.map(({ name, type }) => meaningOf(row[name] ?? null, type))]),
  )
  return createHash('sha256').update(lines.sort().join('\n')).digest('hex')
}

/** Every row that the snapshot's rows refer to, against production. */
export async function compareUntouched(
  production: Production,
  snapshot: Snapshot,
  mask: Mask,
  before: UntouchedFingerprint | undefined,
): Promise<Report['untouched']> {
  const tables: UntouchedTable[] = []
  for (const parent of snapshot.parents)
    tables.push(compareTable(parent, await readSameRows(production, parent), mask))
  if (before === undefined) return { tables, sinceStart: 'not compared', changedTables: [] }
  const changedTables = changesOf(before, await fingerprintUntouched(production, snapshot))
  return { tables, sinceStart: changedTables.length === 0 ? 'same' : 'changed', changedTables }
}

function changesOf(before: UntouchedFingerprint, after: UntouchedFingerprint): string[] {
  const now = new Map(after.tables.map(({ table, digest }) => [table, digest]))
  const then = new Map(before.tables.map(({ table, digest }) => [table, digest]))
  return [...new Set([...then.keys(), ...now.keys()])].filter((table) => then.get(table) !== now.get(table))
}

/** @param now production's rows with the keys of the snapshot's */
function compareTable(parent: SnapshotTable, now: RowsById, mask: Mask): UntouchedTable {
  const { table, key } = parent
  const rows: ReportRow[] = []
  for (const backup of parent.rows) {
    const id = mask.rowId(table, backup, key)
    const production = now.get(rowId(backup, key))
    if (production === undefined) {
      rows.push({
        id,
        class: 'missing',
        reason: 'a restore never writes this table, so it cannot bring it back',
      })
      continue
    }
    const columns = differingColumns(parent.columns, backup, production)
    if (columns.length === 0) continue
    const differences = differencesOf(mask, table, columns, backup, production)
    rows.push({ id, class: 'explained', policy: 'changed-by-others', columns: differences })
  }
  const missing = rows.filter((row) => row.class === 'missing')
  const changed = rows.filter((row) => row.class === 'explained')
  return {
    table,
    expected: parent.rows.length,
    equal: parent.rows.length - rows.length,
    changed: changed.length,
    missing: missing.length,
    rows: [...missing, ...changed].slice(0, MAX_LISTED_ROWS),
    rowsOmitted: Math.max(0, rows.length - MAX_LISTED_ROWS),
  }
}
