import type { Catalog } from '../database/catalog.ts'
import type { Database } from '../database/client.ts'
import { type ExactRow, readPages } from '../database/exact.ts'
import { isMissingObject } from '../database/failure.ts'
import { ConfigError, DatabaseError } from '../errors.ts'
import { type Filter, keyFilters } from './key-conditions.ts'
import type { LackingTable } from './snapshot.ts'

/** SQLSTATE: undefined column. */
const NO_SUCH_COLUMN = '42703'
/** Reads at one time: enough to hide the way to the server, too few to be a load on it. */
const LANES = 4
/** Values that are held at a time, to be cut into filters. */
const VALUES_AT_ONCE = 1000

/** Rows, a page at a time. */
export type Pages = AsyncGenerator<readonly ExactRow[], undefined>

/** Rows of a backup with all columns that production's catalog names and the backup has, as text. */
export interface BackupReader {
  /**
   * The columns that the backup has of a table, in the catalog's order; undefined where it lacks the table.
   *
   * @throws ConfigError when it lacks a column of the key: its rows could not be told apart
   */
  columnsOf(table: string): Promise<readonly string[] | undefined>
  /** No rows of a table that the backup lacks. @throws ConfigError when its dates could be misread */
  read(table: string, filter: Filter): Pages
  /** Rows whose `columns` hold one of `values`, in the order of these. */
  readByKeys(table: string, columns: readonly string[], values: Iterable<readonly string[]>): Pages
  /** What the backup was found to lack so far. */
  lacking(): LackingTable[]
}

/** @param catalog of production: it says which tables and columns to read */
export function openBackupReader(database: Database, catalog: Catalog): BackupReader {
  const present = new Map<string, Promise<readonly string[] | undefined>>()
  const lacking: LackingTable[] = []

  const columnsOf: BackupReader['columnsOf'] = (table) => {
    const probe = present.get(table) ?? probeTable(table)
    present.set(table, probe)
    return probe
  }
  const probeTable = async (table: string) => {
    const wanted = catalog.table(table).columns.map(({ name }) => name)
    const found = await presentColumns(database, table, wanted)
    if (found === undefined) {
      lacking.push({ table })
      return undefined
    }
    const columns = wanted.filter((column) => !found.includes(column))
    if (columns.length > 0) lacking.push({ table, columns })
    refuseWithoutKey(table, catalog.keyOf(table), columns)
    return found
  }
  async function* read(table: string, filter: Filter): Pages {
    const columns = await columnsOf(table)
    if (columns === undefined) return
    const dates = catalog.table(table).columns.flatMap(({ name, type }) => (isDate(type) ? [name] : []))
    for await (const page of readPages(database, {
      table,
      columns,
      key: catalog.keyOf(table),
      filters: [filter],
    })) {
      refuseOtherDates(table, dates, page)
      yield page
    }
  }
  return {
    columnsOf,
    read,
    readByKeys: (table, columns, values) =>
      ahead(filtersOf(columns, values), (filter) => read(table, filter)),
    lacking: () => lacking,
  }
}

/** All rows of these pages in memory. */
export async function allRows(pages: Pages): Promise<ExactRow[]> {
  const rows: ExactRow[] = []
  for await (const page of pages) for (const row of page) rows.push(row)
  return rows
}

function* filtersOf(
  columns: readonly string[],
  values: Iterable<readonly string[]>,
): Generator<Filter, undefined> {
  let batch: (readonly string[])[] = []
  for (const value of values) {
    batch.push(value)
    if (batch.length < VALUES_AT_ONCE) continue
    yield* keyFilters(columns, batch)
    batch = []
  }
  yield* keyFilters(columns, batch)
}

/** The pages of one item after another's, while the first pages of the next items are already on their way. */
async function* ahead<T>(items: Iterable<T>, open: (item: T) => Pages): Pages {
  const queue: { pages: Pages; first: ReturnType<Pages['next']> }[] = []
  const iterator = items[Symbol.iterator]()
  const start = () => {
    const item = iterator.next()
    if (item.done === true) return
    const pages = open(item.value)
    const first = pages.next()
    // Awaited in its turn; until then a failure must not count as one that nobody looks at.
    first.catch(() => undefined)
    queue.push({ pages, first })
  }
  try {
    while (queue.length < LANES) {
      const { length } = queue
      start()
      if (queue.length === length) break
    }
    for (let next = queue.shift(); next !== undefined; next = queue.shift()) {
      start()
      const first = await next.first
      if (first.done === true) continue
      yield first.value
      yield* next.pages
    }
  } finally {
    // What is under way is waited for, so that nothing reads on behind the back of who was told that it failed.
    await Promise.allSettled(queue.map(({ first }) => first))
  }
}

/** A GET for no rows, because counting is a HEAD, whose answers have no body: it could not tell what is missing. */
async function presentColumns(
  database: Database,
  table: string,
  columns: readonly string[],
): Promise<readonly string[] | undefined> {
  try {
    if (await hasColumns(database, table, columns)) return columns
  } catch (error) {
    if (isMissingObject(error)) return undefined
    throw error
  }
  const found: string[] = []
  for (const column of columns) if (await hasColumns(database, table, [column])) found.push(column)
  return found
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

function refuseWithoutKey(table: string, key: readonly string[], lacking: readonly string[]): void {
  const missing = key.filter((column) => lacking.includes(column))
  if (missing.length === 0) return
  const names = missing.map((column) => `"${table}.${column}"`).join(', ')
  throw new ConfigError(
    `The backup lacks ${names}, by which production tells the rows of "${table}" apart.`,
    {
      hint: 'The backup is of an older schema. Apply the migration that brings this key to the backup, then run again.',
      table,
    },
  )
}

function isDate(type: string): boolean {
  return type === 'date' || type.startsWith('timestamp')
}

/** With another datestyle the 1st of February may be printed as 01/02, and would be read as another day. */
function refuseOtherDates(table: string, columns: readonly string[], page: readonly ExactRow[]): void {
  const [row] = page
  const odd = columns.find((column) => row?.[column] != null && !ISO_DATE.test(row[column]))
  if (odd === undefined) return
  throw new ConfigError(`The backup prints the dates of "${table}.${odd}" in another style than ISO.`, {
    hint: "Set it there: alter database … set datestyle = 'ISO', then restart its API and run again.",
    table,
  })
}

const ISO_DATE = /^(\d{4,}-\d\d-\d\d|-?infinity)/
