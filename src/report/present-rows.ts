import { allRows, openBackupReader } from '../backup/backup-reader.ts'
import { extract } from '../backup/extract.ts'
import { keyFilters } from '../backup/key-conditions.ts'
import { rowId, type Snapshot, type SnapshotTable } from '../backup/snapshot.ts'
import type { Catalog } from '../database/catalog.ts'
import type { Database } from '../database/client.ts'
import { countRows, type ExactRow, ownedBy, readExact } from '../database/exact.ts'
import type { RecordState } from '../database/record-state.ts'
import type { AppView } from '../events.ts'
import { readAtRest } from './at-rest.ts'

export interface Production {
  database: Database
  catalog: Catalog
  appview: AppView
}

/** By row id. */
export type RowsById = Map<string, ExactRow>

/**
 * Rows that hang on the account in production now, found by the same way down the foreign keys as the snapshot's.
 * Empty where production holds no record of the account.
 */
export async function readAccountRows(
  { database, catalog, appview }: Production,
  did: string,
): Promise<Map<string, RowsById>> {
  const counts = appview.roots.map(({ table, uriColumn }) =>
    countRows(database, { table, filters: [[uriColumn, ownedBy(did)]] }),
  )
  const roots = (await Promise.all(counts)).reduce((sum, count) => sum + count, 0)
  if (roots === 0) return new Map()
  const now: Snapshot = await readAtRest(() => extract({ database, catalog, appview, did }))
  return new Map(now.tables.map(({ table, key, rows }) => [table, byId(rows, key)]))
}

/**
 * Production's rows with the keys of the snapshot's rows, whatever they hang on now: a row whose foreign key was
 * emptied or points elsewhere is there, and differs.
 */
export async function readSameRows(
  { database, catalog }: Production,
  { table, key, rows }: Pick<SnapshotTable, 'table' | 'key' | 'rows'>,
): Promise<RowsById> {
  if (rows.length === 0) return new Map()
  const reader = openBackupReader(database, catalog)
  return byId(await readAtRest(() => allRows(reader.readByKeys(table, key, keysOf(rows, key)))), key)
}

/** What the index knows of these records. */
export async function readStatesOf(
  database: Database,
  uris: Iterable<string>,
): Promise<Map<string, RecordState>> {
  const states = new Map<string, RecordState>()
  const values = [...new Set(uris)].map((uri) => [uri])
  for (const filter of keyFilters(['uri'], values)) {
    const rows = await readAtRest(() =>
      readExact(database, {
        table: 'record_state',
        columns: ['uri', 'rev', 'cid', 'deleted'],
        key: ['uri'],
        filters: [filter],
      }),
    )
    for (const { uri, rev, cid, deleted } of rows) {
      if (uri == null) continue
      states.set(uri, { uri, rev: rev ?? '', cid: cid ?? null, deleted: deleted === 'true' })
    }
  }
  return states
}

function byId(rows: Iterable<ExactRow>, key: readonly string[]): RowsById {
  const found: RowsById = new Map()
  for (const row of rows) found.set(rowId(row, key), row)
  return found
}

function* keysOf(rows: Iterable<ExactRow>, key: readonly string[]): Generator<string[], undefined> {
  for (const row of rows) yield key.map((column) => row[column] ?? '')
}
