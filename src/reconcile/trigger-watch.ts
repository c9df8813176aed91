import { rowId, type SnapshotTable } from '../backup/snapshot.ts'
import type { Catalog } from '../database/catalog.ts'
import type { Database } from '../database/client.ts'
import type { ExactRow } from '../database/exact.ts'
import { isTooMuch } from '../database/failure.ts'
import { DatabaseError } from '../errors.ts'
import { type Inserted, type Observed, observe } from './calls.ts'
import { countableDefaults, triggeredBelow } from './columns.ts'
import type { SentRow } from './sent-rows.ts'

/** Rows of one table that are tried out at most: a trigger that counts only some rows should meet one of them. */
const ROWS_TO_TRY = 50

interface WatchOptions {
  database: Database
  catalog: Catalog
  /** All tables that rows may be set back in. */
  tables: readonly SnapshotTable[]
  /** Whether a row of the snapshot is there by now. */
  isThere: (table: string, id: string) => boolean
}

/**
 * Knows what triggers keep, from what happened by itself in the transactions that inserted, and never from what a
 * trigger is called or says.
 *
 * A column of a row counts as kept by a trigger when it changed as rows that hang there came. Where none came (all
 * were withdrawn, or the replay brought them), rows of the backup are deleted, inserted and taken back again in one
 * transaction, and what changed meanwhile is what a trigger keeps. Where not one of them could be inserted even so,
 * nobody knows, and columns that a trigger may count in stay as they are.
 */
export class TriggerWatch {
  readonly #options: WatchOptions
  readonly #observed = new Map<string, { table: string; column: string }>()
  /** Tables with triggers of which rows were inserted, really or to be taken back. */
  readonly #tried = new Set<string>()
  readonly #unknown = new Set<string>()
  /** Rows that triggers made when what they hang on came, by table and id. */
  readonly #made = new Map<string, ExactRow>()

  constructor(options: WatchOptions) {
    this.#options = options
  }

  /** What the database is to look at while rows of a table are inserted: nothing where no trigger can do anything. */
  watchOf(table: string): { table: string; key: readonly string[]; columns: readonly string[] }[] {
    const { catalog, tables } = this.#options
    if (catalog.table(table).triggers.length === 0) return []
    return tables.map((source) => ({ table: source.table, key: source.key, columns: this.columnsOf(source) }))
  }

  /** The columns of a table that both sides have, and that may be written. */
  columnsOf(source: SnapshotTable): string[] {
    const writable = new Set(this.#options.catalog.writableColumns(source.table))
    return source.columns.map(({ name }) => name).filter((name) => writable.has(name))
  }

  note(table: string, { rows, observed, made }: Inserted): void {
    if (rows.some(({ outcome }) => outcome === 'restored')) this.#tried.add(table)
    for (const found of observed) this.#keep(found)
    for (const { table: child, row } of made) {
      const source = this.#options.tables.find((candidate) => candidate.table === child)
      if (source !== undefined) this.#made.set(`${child} ${rowId(row, source.key)}`, row)
    }
  }

  /** A column that does not stay as it is set. */
  keeps(table: string, column: string): boolean {
    return this.#observed.has(`${table}.${column}`)
  }

  noteKept(table: string, columns: readonly string[]): void {
    for (const column of columns) this.#keep({ table, column })
  }

  /** The row as a trigger made it in this run, if one did. */
  madeRow(table: string, id: string): ExactRow | undefined {
    return this.#made.get(`${table} ${id}`)
  }

  /** True for a column about which nothing could be observed. */
  isUnknown(table: string, column: string): boolean {
    return this.#unknown.has(`${table}.${column}`)
  }

  kept(): { table: string; column: string }[] {
    return [...this.#observed.values()]
  }

  /** Finds out what triggers keep in these columns of a table, where no insert has shown it yet. */
  async lookInto(table: string, columns: ReadonlySet<string>): Promise<void> {
    const { catalog, tables } = this.#options
    const countable = Object.keys(countableDefaults(catalog, table)).filter(
      (column) => columns.has(column) && !this.keeps(table, column),
    )
    if (countable.length === 0) return
    for (const child of triggeredBelow(catalog, table)) {
      const source = tables.find((candidate) => candidate.table === child)
      if (source === undefined || source.rows.length === 0 || this.#tried.has(child)) continue
      this.#tried.add(child)
      const { observed, tried } = await this.#tryOut(source)
      for (const found of observed) this.#keep(found)
      if (tried > 0) continue
      for (const column of countable) this.#unknown.add(`${table}.${column}`)
    }
  }

  /** With fewer rows where that many take too long, or are refused: what cannot be tried at all stays unknown. */
  async #tryOut(source: SnapshotTable): Promise<Observed> {
    const { tables, database } = this.#options
    const rows = this.#rowsToTry(source)
    for (let count = rows.length; count > 0; count = count >> 2) {
      const some = rows.slice(0, count)
      try {
        return await observe(
          database,
          {
            table: source.table,
            key: source.key,
            columns: this.columnsOf(source),
            watch: tables.map((watched) => watched.table),
            first: this.#rowsAbove(source, some),
          },
          some,
        )
      } catch (error) {
        if (!(error instanceof DatabaseError) && !isTooMuch(error)) throw error
      }
    }
    return { observed: [], tried: 0 }
  }

  /** What these rows hang on and what is not there yet, parents first: without it they could not be tried. */
  #rowsAbove(source: SnapshotTable, rows: readonly SentRow[]) {
    const { catalog, tables, isThere } = this.#options
    const place = tables.indexOf(source)
    const named = new Map<string, SentRow[]>([[source.table, [...rows]]])
    const above: { table: string; columns: readonly string[]; rows: SentRow[] }[] = []
    for (const parent of tables.slice(0, place).toReversed()) {
      const keys = catalog.foreignKeys.filter((key) => key.parent === parent.table && named.has(key.child))
      const wanted = keys.map(({ child, columns, parentColumns }) => ({
        parentColumns,
        values: new Set((named.get(child) ?? []).map(({ row }) => textOf(row, columns))),
      }))
      if (wanted.length === 0) continue
      const columns = this.columnsOf(parent)
      const found: SentRow[] = []
      for (const row of parent.rows) {
        const id = rowId(row, parent.key)
        if (isThere(parent.table, id)) continue
        if (wanted.some(({ parentColumns, values }) => values.has(textOf(row, parentColumns))))
          found.push({ id, row: pick(row, columns) })
      }
      named.set(parent.table, found)
      above.unshift({ table: parent.table, columns, rows: found })
    }
    return above.filter((brought) => brought.rows.length > 0)
  }

  /** Rows that are not there first: they may be what a count is without. */
  #rowsToTry(source: SnapshotTable): SentRow[] {
    const absent: SentRow[] = []
    const there: SentRow[] = []
    const columns = this.columnsOf(source)
    for (const row of source.rows) {
      const id = rowId(row, source.key)
      const list = this.#options.isThere(source.table, id) ? there : absent
      if (list.length < ROWS_TO_TRY) list.push({ id, row: pick(row, columns) })
      if (absent.length >= ROWS_TO_TRY) break
    }
    return [...absent, ...there].slice(0, ROWS_TO_TRY)
  }

  #keep(found: { table: string; column: string }): void {
    this.#observed.set(`${found.table}.${found.column}`, found)
  }
}

function pick(row: ExactRow, columns: readonly string[]): ExactRow {
  return Object.fromEntries(columns.map((column) => [column, row[column] ?? null]))
}

function textOf(row: ExactRow, columns: readonly string[]): string {
  return JSON.stringify(columns.map((column) => row[column] ?? null))
}
