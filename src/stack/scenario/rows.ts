/** Rows that the app writes itself, past every API: as superuser. */

import type { JsonObject } from '../../events.ts'
import type { StackDatabase } from '../index.ts'
import { quoted } from '../postgres.ts'

/** @param rows all with the same columns; values are what Postgres reads from JSON */
export async function insertRows(
  database: StackDatabase,
  table: string,
  rows: readonly JsonObject[],
): Promise<void> {
  const columns = Object.keys(rows[0] ?? {})
  if (columns.length === 0) return
  const list = columns.map(quoted).join(', ')
  await database.query(
    `insert into ${quoted(table)} (${list}) select ${list} from jsonb_populate_recordset(null::${quoted(table)}, $1)`,
    [JSON.stringify(rows)],
  )
}

/** Sets the other columns of the rows whose `key` columns match. @param rows all with the same columns */
export async function updateRows(
  database: StackDatabase,
  table: string,
  key: readonly string[],
  rows: readonly JsonObject[],
): Promise<void> {
  const columns = Object.keys(rows[0] ?? {}).filter((column) => !key.includes(column))
  if (columns.length === 0) return
  const assignments = columns.map((column) => `${quoted(column)} = r.${quoted(column)}`).join(', ')
  const match = key.map((column) => `t.${quoted(column)} = r.${quoted(column)}`).join(' and ')
  await database.query(
    `update ${quoted(table)} t set ${assignments} from jsonb_populate_recordset(null::${quoted(table)}, $1) r where ${match}`,
    [JSON.stringify(rows)],
  )
}

/** Whether the database has this column, or with no column named, this table. */
export async function hasColumn(database: StackDatabase, table: string, column?: string): Promise<boolean> {
  const found = await database.query(
    `select 1 from information_schema.columns
     where table_schema = 'public' and table_name = $1 and column_name = coalesce($2, column_name) limit 1`,
    [table, column ?? null],
  )
  return found.length > 0
}
