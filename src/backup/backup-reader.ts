import type { Catalog, ForeignKey } from '../database/catalog.ts'
import type { Database } from '../database/client.ts'
import { type ExactRow, readExact } from '../database/exact.ts'
import { isMissingObject } from '../database/failure.ts'
import { ConfigError, DatabaseError } from '../errors.ts'
import { type Filter, keyFilters } from './key-conditions.ts'

/** SQLSTATE: undefined column. */
const NO_SUCH_COLUMN = '42703'
/** Reads at one time: enough to hide the way to the server, too few to be a load on it. */
const LANES = 4

/** Rows of the backup with all columns that the catalog names, as text. */
export interface BackupReader {
  /** @throws ConfigError when the backup lacks the table or a column */
  read(table: string, filter: Filter): Promise<ExactRow[]>
  /** Rows whose `columns` hold one of `values`, in no certain order. */
  readByKeys(
    table: string,
    columns: readonly string[],
    values: readonly (readonly string[])[],
  ): Promise<ExactRow[]>
}

/** @param catalog of production: it says which tables and columns to read */
export function openBackupReader(database: Database, catalog: Catalog): BackupReader {
  const checked = new Map<string, Promise<void>>()
  const read: BackupReader['read'] = async (table, filter) => {
    const columns = catalog.table(table).columns.map((column) => column.name)
    const check = checked.get(table) ?? refuseOlderTable(database, table, columns)
    checked.set(table, check)
    await check
    return readExact(database, { table, columns, key: catalog.keyOf(table), filters: [filter] })
  }
  return {
    read,
    async readByKeys(table, columns, values) {
      const rows: ExactRow[] = []
      await inLanes(keyFilters(columns, values), async (filter) => {
        for (const row of await read(table, filter)) rows.push(row)
      })
      return rows
    },
  }
}

/**
 * A GET for no rows, because readExact starts with counting by HEAD, whose answers have no body: it could not tell
 * what is missing.
 */
async function refuseOlderTable(
  database: Database,
  table: string,
  columns: readonly string[],
): Promise<void> {
  try {
    if (await hasColumns(database, table, columns)) return
  } catch (error) {
    if (!isMissingObject(error)) throw error
    throw new ConfigError(`The backup has no table "${table}", which production has.`, {
      hint: 'It may be of an older schema, or of another project: check which backup this is.',
      table,
      cause: error,
    })
  }
  const lacking: string[] = []
  for (const column of columns) if (!(await hasColumns(database, table, [column]))) lacking.push(column)
  const names = lacking.map((column) => `"${table}.${column}"`).join(', ')
  throw new ConfigError(`The backup lacks ${names || `a column of "${table}"`}, which production has.`, {
    hint: 'The backup is of an older schema. Apply the migrations it lacks to the backup, then run again.',
    table,
  })
}

async function hasColumns(database: Database, table: string, columns: readonly string[]): Promise<boolean> {
  const quoted = columns.map((column) => `"${column.replaceAll('"', '\\"')}"`)
  try {
    database.check(await database.client.from(table).select(quoted.join(',')).limit(0), { table })
    return true
  } catch (error) {
    if (error instanceof DatabaseError && error.code === NO_SUCH_COLUMN) return false
    throw error
  }
}

/** The values of `columns` in these rows, each combination once; those with a NULL refer to nothing. */
export function keyValues(rows: Iterable<ExactRow>, columns: readonly string[]): string[][] {
  const values = new Map<string, string[]>()
  for (const row of rows) {
    const tuple = columns.map((column) => row[column] ?? null)
    if (tuple.every((value) => value !== null)) values.set(JSON.stringify(tuple), tuple)
  }
  return [...values.values()]
}

/** Names what a foreign key refers to: equal for keys that refer to the same columns. */
export function targetOf(key: ForeignKey): string {
  return JSON.stringify([key.parent, key.parentColumns])
}

/** Runs `act` on every item, a few at a time. Once one has failed no further one is started. */
async function inLanes<T>(items: readonly T[], act: (item: T) => Promise<void>): Promise<void> {
  // A generator and no array iterator: leaving one lane by an error closes it, which ends the others.
  const queue = (function* () {
    yield* items
  })()
  const lane = async () => {
    for (const item of queue) await act(item)
  }
  const lanes = await Promise.allSettled(Array.from({ length: LANES }, lane))
  for (const result of lanes) if (result.status === 'rejected') throw result.reason
}
