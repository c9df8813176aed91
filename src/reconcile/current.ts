import { rowId, type Snapshot, type SnapshotTable } from '../backup/snapshot.ts'
import type { Catalog } from '../database/catalog.ts'
import type { Database } from '../database/client.ts'
import { type ExactRow, inLists, readExact } from '../database/exact.ts'

/** By table and row id, the rows with the snapshot's keys that a database has now. */
export type CurrentRows = Map<string, Map<string, ExactRow>>

export async function readCurrentRows(
  database: Database,
  catalog: Catalog,
  tables: Snapshot['tables'],
): Promise<CurrentRows> {
  const current: CurrentRows = new Map()
  for (const table of tables) current.set(table.table, await readTable(database, catalog, table))
  return current
}

async function readTable(
  database: Database,
  catalog: Catalog,
  table: SnapshotTable,
): Promise<Map<string, ExactRow>> {
  const [leading] = table.key
  const found = new Map<string, ExactRow>()
  if (leading === undefined) return found
  const wanted = new Set(table.rows.map((row) => rowId(row, table.key)))
  const values = [...new Set(table.rows.map((row) => row[leading] ?? ''))]
  const columns = catalog.table(table.table).columns.map((column) => column.name)
  for (const list of inLists(values)) {
    const rows = await readExact(database, {
      table: table.table,
      columns,
      key: table.key,
      filters: [[leading, list]],
    })
    for (const row of rows) {
      const id = rowId(row, table.key)
      if (wanted.has(id)) found.set(id, row)
    }
  }
  return found
}
