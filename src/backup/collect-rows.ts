import type { Catalog } from '../database/catalog.ts'
import type { Database } from '../database/client.ts'
import { type ExactRow, ownedBy } from '../database/exact.ts'
import { ConfigError, RestoreError } from '../errors.ts'
import type { AppView } from '../events.ts'
import type { BackupReader, Pages } from './backup-reader.ts'
import type { ClosureTable } from './closure.ts'
import { type Edge, edgesOf, filterColumns, referenceOf } from './edges.ts'
import { KeySet } from './key-set.ts'
import type { RowLogs } from './row-log.ts'
import { createRowSet, type RowSet } from './row-set.ts'

export interface ExtractOptions {
  /** The backup. It need not have our functions, nor all that production's schema has; nothing may write to it meanwhile. */
  database: Database
  /** Of production, which has our functions: its tables, columns and foreign keys are what is looked for. */
  catalog: Catalog
  appview: AppView
  did: string
  /** Told each time rows of a table were found, with how many it has so far. */
  onTable?: (table: string, rowCount: number) => void
}

export interface CollectTools {
  reader: BackupReader
  closure: readonly ClosureTable[]
  logs: RowLogs
}

export interface CollectedRows {
  /** Of the roots, and what their deletion takes or empties. */
  own: RowSet
  /** Rows that the former refer to and that are none of them. */
  parents: RowSet
}

/** @throws as `extractTo` does */
export async function collectRows(options: ExtractOptions, tools: CollectTools): Promise<CollectedRows> {
  const collection = new Collection(options, tools)
  await collection.roots()
  await collection.deleted()
  await collection.parents()
  return collection.rows
}

class Collection {
  readonly rows: CollectedRows
  readonly #options: ExtractOptions
  readonly #tools: CollectTools
  readonly #columns = new Map<string, readonly string[]>()
  /** Tables that edges lead down from. */
  readonly #parents: ReadonlySet<string>
  /** Of rows that the delete takes, what others refer to them by: what is still to be followed, and what was. */
  readonly #taken: RowSet
  readonly #counts = new Map<string, number>()

  constructor(options: ExtractOptions, tools: CollectTools) {
    this.#options = options
    this.#tools = tools
    const key = (table: string) => options.catalog.keyOf(table)
    const shapeOf = (table: string) => ({ key: key(table), columns: this.#columns.get(table) ?? [] })
    this.rows = { own: createRowSet(tools.logs, shapeOf), parents: createRowSet(tools.logs, shapeOf) }
    const edges = tools.closure.flatMap((table) => table.edges)
    this.#parents = new Set(edges.map(({ parent }) => parent))
    this.#taken = createRowSet(tools.logs, (table) => {
      const referred = edges.filter(({ parent }) => parent === table)
      return {
        key: key(table),
        columns: [...new Set([...key(table), ...referred.flatMap(({ parentColumns }) => parentColumns)])],
      }
    })
  }

  async roots(): Promise<void> {
    const { appview, did, database } = this.#options
    const { reader } = this.#tools
    for (const { table, uriColumn } of appview.roots) {
      if (!(await this.#has(table, [uriColumn]))) continue
      await this.#take(
        table,
        reader.read(table, [uriColumn, ownedBy(did)]),
        (row) =>
          // The database matched a pattern, by its own collation; what is the account's is decided here.
          row[uriColumn]?.startsWith(`at://${did}/`) === true,
      )
    }
    const { own } = this.rows
    if (own.tables().length > 0) return
    const tables = [...new Set(appview.roots.map(({ table }) => table))]
    if (!tables.some((table) => this.#columns.has(table))) {
      throw new ConfigError(`The backup has no table ${tables.map((table) => `"${table}"`).join(' or ')}.`, {
        hint: 'It is of another project, or its API does not expose them: check which backup this is.',
      })
    }
    throw new RestoreError(`The backup (${database.name}) holds no ${tables.join(' or ')} of ${did}.`, {
      hint: 'Wrong backup, wrong DID, or a key that sees no rows: check all three.',
      did,
    })
  }

  /**
   * Goes down the references from rows that the delete takes. A row that only loses a value is collected and not
   * followed: its own children stay.
   */
  async deleted(): Promise<void> {
    const edges: FollowedEdge[] = []
    for (const table of this.#tools.closure) {
      const usable: Edge[] = []
      for (const edge of table.edges) if (await this.#isUsable(edge)) usable.push(edge)
      if (usable.length === 0 && table.action !== 'root') await this.#refuseUnreachable(table)
      edges.push(...usable.map((edge) => ({ edge, asked: new KeySet(), followed: 0 })))
    }
    const step = async (followed: FollowedEdge): Promise<boolean> => {
      const { edge, asked } = followed
      const [from, to] = [followed.followed, this.#taken.end(edge.parent)]
      followed.followed = to
      const rows = this.#taken.since(edge.parent, from, to)
      const values = unasked(rows, (row) => tupleOf(row, edge.parentColumns), asked)
      const pages = this.#tools.reader.readByKeys(edge.child, filterColumns(edge), values)
      await this.#take(edge.child, pages, () => true, edge.onDelete === 'cascade')
      return from < to
    }
    await untilStill(edges, step)
  }

  /** Goes up the references, from all rows collected, to rows that are none of these. */
  async parents(): Promise<void> {
    const { catalog, appview } = this.#options
    const { own, parents } = this.rows
    const asked = new Map<string, KeySet>()
    const edges: (FollowedEdge & { from: RowSet })[] = []
    for (const edge of edgesOf(catalog, appview)) {
      const name = JSON.stringify([edge.parent, edge.parentColumns])
      const known = asked.get(name) ?? this.#knownTo(edge)
      asked.set(name, known)
      for (const from of [own, parents]) edges.push({ edge, asked: known, from, followed: 0 })
    }
    const step = async (followed: (typeof edges)[number]): Promise<boolean> => {
      const { edge, asked, from } = followed
      const [start, end] = [followed.followed, from.end(edge.child)]
      followed.followed = end
      if (start === end || !(await this.#isUsable(edge))) return false
      const values = unasked(from.since(edge.child, start, end), (row) => referenceOf(row, edge), asked)
      for await (const page of this.#tools.reader.readByKeys(edge.parent, edge.parentColumns, values)) {
        for (const row of page) {
          if (own.has(edge.parent, row)) continue
          if (parents.add(edge.parent, row)) this.#count(edge.parent)
        }
        this.#tell(edge.parent)
      }
      return true
    }
    await untilStill(edges, step)
  }

  /** What the account's own rows are referred to by: that need not be asked for. */
  #knownTo({ parent, parentColumns }: Edge): KeySet {
    const known = new KeySet()
    const { own } = this.rows
    for (const row of own.since(parent, 0, own.end(parent))) {
      const values = tupleOf(row, parentColumns)
      if (values !== undefined) known.add(JSON.stringify(values))
    }
    return known
  }

  async #take(
    table: string,
    pages: Pages,
    isWanted: (row: ExactRow) => boolean,
    isDeleted = true,
  ): Promise<void> {
    const { own } = this.rows
    for await (const page of pages) {
      for (const row of page) {
        if (!isWanted(row)) continue
        if (own.add(table, row)) this.#count(table)
        if (isDeleted && this.#parents.has(table)) this.#taken.add(table, row)
      }
      this.#tell(table)
    }
  }

  #count(table: string): void {
    this.#counts.set(table, (this.#counts.get(table) ?? 0) + 1)
  }

  #tell(table: string): void {
    this.#options.onTable?.(table, this.#counts.get(table) ?? 0)
  }

  async #isUsable(edge: Edge): Promise<boolean> {
    return (await this.#has(edge.child, edge.columns)) && (await this.#has(edge.parent, edge.parentColumns))
  }

  async #has(table: string, columns: readonly string[]): Promise<boolean> {
    const present = await this.#tools.reader.columnsOf(table)
    if (present === undefined) return false
    this.#columns.set(table, present)
    return columns.every((column) => present.includes(column))
  }

  /** Rows that are there and cannot be found would be lost without a word. */
  async #refuseUnreachable({ table, edges }: ClosureTable): Promise<void> {
    if (!(await this.#has(table, []))) return
    const names: string[] = []
    for (const { child, columns } of edges) {
      const present = (await this.#tools.reader.columnsOf(child)) ?? []
      names.push(
        ...columns.filter((column) => !present.includes(column)).map((column) => `"${child}.${column}"`),
      )
    }
    if (names.length === 0) return
    throw new ConfigError(
      `The backup lacks ${[...new Set(names)].join(', ')}, by which the account's rows of "${table}" are found.`,
      {
        hint: 'The backup is of an older schema. Apply the migration that brings this column to the backup, then run again.',
        table,
      },
    )
  }
}

interface FollowedEdge {
  edge: Edge
  /** Values that need not be asked for again. */
  asked: KeySet
  /** Up to where the rows of its other side have been followed. */
  followed: number
}

/** Steps once for each, over and over, until none has moved. */
async function untilStill<T>(items: readonly T[], step: (item: T) => Promise<boolean>): Promise<void> {
  for (let moved = true; moved; ) {
    moved = false
    for (const item of items) if (await step(item)) moved = true
  }
}

function* unasked(
  rows: Iterable<ExactRow>,
  valuesOf: (row: ExactRow) => readonly string[] | undefined,
  asked: KeySet,
): Generator<readonly string[], undefined> {
  for (const row of rows) {
    const values = valuesOf(row)
    if (values !== undefined && asked.add(JSON.stringify(values))) yield values
  }
}

/** Undefined where one of them is NULL, to which nothing refers. */
function tupleOf(row: ExactRow, columns: readonly string[]): string[] | undefined {
  const values = columns.flatMap((column) => row[column] ?? [])
  return values.length === columns.length ? values : undefined
}
