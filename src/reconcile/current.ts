import { rowId, type Snapshot, type SnapshotTable } from '../backup/snapshot.ts'
import type { Catalog } from '../database/catalog.ts'
import type { Database } from '../database/client.ts'
import type { ExactRow } from '../database/exact.ts'
import { inBatches, overlapped, sizeOf } from './batches.ts'
import { readRows } from './calls.ts'

/** By table and row id, the rows with the snapshot's keys that a database has now. */
export type CurrentRows = Map<string, Map<string, ExactRow>>

/** Stands for a row that is as the snapshot has it: of most rows there is no need to hold a second copy. */
export const SAME: ExactRow = Object.freeze({})

/** Each holds a connection of the database's pool. */
const READS_AT_ONCE = 3

/** @param row the snapshot's */
export function currentRow(
  current: ReadonlyMap<string, ReadonlyMap<string, ExactRow>>,
  table: string,
  id: string,
  row: ExactRow,
): ExactRow | undefined {
  const found = current.get(table)?.get(id)
  return found === SAME ? row : found
}

/** @param options sameAsRows: false to be given rows that are as the snapshot has them, and not `SAME` for each */
export async function readCurrentRows(
  database: Database,
  catalog: Catalog,
  tables: Snapshot['tables'],
  options: { sameAsRows?: boolean } = {},
): Promise<CurrentRows> {
  const current: CurrentRows = new Map()
  for (const table of tables)
    current.set(table.table, await readTable(database, catalog, table, options.sameAsRows ?? true))
  return current
}

async function readTable(
  database: Database,
  catalog: Catalog,
  table: SnapshotTable,
  sameAsRows: boolean,
): Promise<Map<string, ExactRow>> {
  const found = new Map<string, ExactRow>()
  if (table.key.length === 0) return found
  const columns = catalog.table(table.table).columns.map((column) => column.name)
  const shape = { table: table.table, key: table.key, columns }
  // What comes back is about as large as what the snapshot has: batches are cut by that.
  await overlapped(
    inBatches(table.rows, sizeOf),
    READS_AT_ONCE,
    (batch) => {
      const asked = batch.map((row) => ({ row }))
      return readRows(database, shape, asked)
    },
    (answer) => {
      for (const { asked, row } of answer)
        found.set(rowId(asked.row, table.key), sameAsRows && isSame(asked.row, row, table) ? SAME : row)
    },
  )
  return found
}

function isSame(row: ExactRow, now: ExactRow, table: SnapshotTable): boolean {
  return table.columns.every(({ name }) => (row[name] ?? null) === (now[name] ?? null))
}
