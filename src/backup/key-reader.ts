import type { Catalog } from '../database/catalog.ts'
import type { Database } from '../database/client.ts'
import { type ExactRow, readExact } from '../database/exact.ts'
import { isMissingObject } from '../database/failure.ts'
import { DatabaseError } from '../errors.ts'
import { type Edge, filterColumns } from './edges.ts'
import { type Filter, keyFilters } from './key-conditions.ts'

/** SQLSTATE: undefined column. */
const NO_SUCH_COLUMN = '42703'

/** Reads the few columns of a backup's rows that say which row it is and what refers to it. */
export interface KeyReader {
  read(table: string, filter: Filter): Promise<ExactRow[]>
  /** The rows that refer by this edge to one of these parents, each once. */
  referring(edge: Edge, parents: readonly ExactRow[]): Promise<ExactRow[]>
  canRead(table: string): Promise<boolean>
  /** What an older backup lacks, and tables whose rows cannot be told apart, in words. Nothing is read of these. */
  lacking: ReadonlySet<string>
}

/** @param columnsOf what to read of a table besides its key */
export function openKeyReader(
  database: Database,
  catalog: Catalog,
  columnsOf: (table: string) => readonly string[],
): KeyReader {
  const lacking = new Set<string>()
  const probes = new Map<string, Promise<boolean>>()
  const hasColumns = (table: string, columns: readonly string[]): Promise<boolean> => {
    const name = JSON.stringify([table, columns])
    const probe =
      probes.get(name) ??
      lacks(database, table, columns).then((what) => {
        if (what !== undefined) lacking.add(what)
        return what === undefined
      })
    probes.set(name, probe)
    return probe
  }
  const neededOf = (table: string) => [...new Set([...catalog.keyOf(table), ...columnsOf(table)])]
  const canRead = async (table: string): Promise<boolean> => {
    const { primaryKey, uniqueKeys } = catalog.table(table)
    if (primaryKey !== null || uniqueKeys.length > 0) return hasColumns(table, neededOf(table))
    lacking.add(`table "${table}" has no key: its rows cannot be told apart`)
    return false
  }
  const read: KeyReader['read'] = async (table, filter) => {
    if (!(await canRead(table))) return []
    const [columns, key] = [neededOf(table), catalog.keyOf(table)]
    return readExact(database, { table, columns, key, filters: [filter] })
  }
  return {
    read,
    canRead,
    lacking,
    async referring(edge, parents) {
      const values = tuplesOf(parents, edge.parentColumns)
      if (values.length === 0 || !(await canRead(edge.child))) return []
      if (!(await hasColumns(edge.child, edge.columns))) return []
      const rows: ExactRow[] = []
      for (const filter of keyFilters(filterColumns(edge), values))
        rows.push(...(await read(edge.child, filter)))
      return rows
    },
  }
}

/** The values of `columns`, each combination once; those with a NULL are referred to by nothing. */
function tuplesOf(rows: readonly ExactRow[], columns: readonly string[]): string[][] {
  const tuples = rows.flatMap((row) => {
    const values = columns.flatMap((column) => row[column] ?? [])
    return values.length === columns.length ? [values] : []
  })
  return [...new Map(tuples.map((values) => [JSON.stringify(values), values])).values()]
}

/** A GET for no rows: reading begins with a HEAD, whose answer could not say what is missing. */
async function lacks(
  database: Database,
  table: string,
  columns: readonly string[],
): Promise<string | undefined> {
  const quoted = columns.map((column) => `"${column.replaceAll('"', '\\"')}"`)
  try {
    database.check(await database.client.from(table).select(quoted.join(',')).limit(0), { table })
    return undefined
  } catch (error) {
    if (isMissingObject(error)) return `the backup has no table "${table}"`
    if (!(error instanceof DatabaseError && error.code === NO_SUCH_COLUMN)) throw error
    if (columns.length === 1) return `the backup has no column "${table}.${columns[0]}"`
    for (const column of columns) {
      const what = await lacks(database, table, [column])
      if (what !== undefined) return what
    }
    throw error
  }
}
