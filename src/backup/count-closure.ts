import type { Catalog } from '../database/catalog.ts'
import type { Database } from '../database/client.ts'
import { type ExactRow, ownedBy } from '../database/exact.ts'
import { RestoreError } from '../errors.ts'
import type { AppView } from '../events.ts'
import type { BlastRadius } from './closure.ts'
import { derivationOf } from './derivation.ts'
import type { Edge } from './edges.ts'
import { type KeyReader, openKeyReader } from './key-reader.ts'
import { rowId } from './snapshot.ts'

export interface CountOptions {
  /** The backup; it need not have our functions. */
  database: Database
  /** Of production. */
  catalog: Catalog
  appview: AppView
  radius: BlastRadius
  did: string
}

/** Rows of one table that a delete of the account's records takes or touches. */
export interface TableCount {
  deletedCount: number
  /** Rows that stay and lose a value. */
  emptiedCount: number
  /** Of those deleted, the ones made from the account's own records; undefined where no handler writes the table. */
  ownCount: number | undefined
}

export interface EdgeCount {
  edge: Edge
  /** Rows that refer by it to rows that go. */
  referringCount: number
  /** Of these, the ones that do not go as well: they would have refused the delete, or then name nothing. */
  stayingCount: number
}

export interface ClosureCounts {
  /** By table. A table that could not be counted is not among them. */
  tables: ReadonlyMap<string, TableCount>
  blocking: readonly EdgeCount[]
  hanging: readonly EdgeCount[]
  /** What could not be counted, and why, in words. */
  uncounted: readonly string[]
}

/**
 * Counts in the backup, exactly, what a delete of the account's records takes, empties, and would have been refused by.
 * Reads keys only; of an older backup it counts what that has.
 *
 * @throws RestoreError when the backup holds no root row of this account
 * @throws DatabaseError code `COUNT` when rows and counts disagree: something writes to the backup
 * @throws UnavailableError when the backup cannot be reached
 */
export async function countClosure(options: CountOptions): Promise<ClosureCounts> {
  const { database, catalog, appview, radius } = options
  const reader = openKeyReader(database, catalog, (table) => columnsRead(appview, radius, table))
  const deleted = rowSets(catalog)
  const touched = rowSets(catalog)
  await walk(options, reader, deleted, touched)

  const tables = new Map<string, TableCount>()
  for (const { table } of radius.tables) {
    if (!(await reader.canRead(table))) continue
    const going = deleted.of(table)
    const emptied = [...touched.of(table).keys()].filter((id) => !going.has(id))
    const ownCount = countOwn(options, table, [...going.values()])
    tables.set(table, { deletedCount: going.size, emptiedCount: emptied.length, ownCount })
  }
  const counted = async (edges: readonly Edge[]): Promise<EdgeCount[]> => {
    const counts: EdgeCount[] = []
    for (const edge of edges) {
      const referring = rowSets(catalog)
      referring.add(edge.child, await reader.referring(edge, [...deleted.of(edge.parent).values()]))
      const ids = [...referring.of(edge.child).keys()]
      const stayingCount = ids.filter((id) => !deleted.of(edge.child).has(id)).length
      counts.push({ edge, referringCount: ids.length, stayingCount })
    }
    return counts
  }
  const blocking = await counted(radius.blocking)
  const hanging = await counted(radius.hanging)
  return { tables, blocking, hanging, uncounted: [...reader.lacking] }
}

/** From the account's root rows down, a step at a time: rows that only lose a value are not gone further from. */
async function walk(
  { appview, did, database, radius }: CountOptions,
  reader: KeyReader,
  deleted: RowSets,
  touched: RowSets,
): Promise<void> {
  let wave = new Map<string, ExactRow[]>()
  for (const { table, uriColumn } of appview.roots) {
    const rows = await reader.read(table, [uriColumn, ownedBy(did)])
    wave.set(table, [...(wave.get(table) ?? []), ...deleted.add(table, rows)])
  }
  if ([...wave.values()].every((rows) => rows.length === 0)) {
    throw new RestoreError(`The backup (${database.name}) holds no rows of ${did} to begin with.`, {
      hint: 'Wrong backup, wrong DID, or a key that sees no rows: check all three.',
      did,
    })
  }
  while (wave.size > 0) {
    const next = new Map<string, ExactRow[]>()
    for (const edge of radius.tables.flatMap(({ edges }) => edges)) {
      const rows = await reader.referring(edge, wave.get(edge.parent) ?? [])
      const fresh = (edge.onDelete === 'cascade' ? deleted : touched).add(edge.child, rows)
      if (edge.onDelete !== 'cascade' || fresh.length === 0) continue
      next.set(edge.child, [...(next.get(edge.child) ?? []), ...fresh])
    }
    wave = next
  }
}

/** What the walk needs of a table's rows besides their key. */
function columnsRead(appview: AppView, radius: BlastRadius, table: string): string[] {
  const edges = [...radius.tables.flatMap((one) => one.edges), ...radius.blocking, ...radius.hanging]
  const derivation = derivationOf(appview, table)
  const referred = edges
    .filter(({ parent }) => parent === table)
    .flatMap(({ parentColumns }) => parentColumns)
  return [...referred, ...(derivation === undefined ? [] : [derivation.of])]
}

function countOwn(
  { appview, did }: CountOptions,
  table: string,
  rows: readonly ExactRow[],
): number | undefined {
  const derivation = derivationOf(appview, table)
  if (derivation === undefined) return undefined
  return rows.filter((row) => row[derivation.of]?.startsWith(`at://${did}/`)).length
}

interface RowSets {
  /** @returns the rows that were not there yet */
  add(table: string, rows: readonly ExactRow[]): ExactRow[]
  /** By their keys. */
  of(table: string): ReadonlyMap<string, ExactRow>
}

function rowSets(catalog: Catalog): RowSets {
  const byTable = new Map<string, Map<string, ExactRow>>()
  return {
    of: (table) => byTable.get(table) ?? new Map(),
    add(table, rows) {
      if (rows.length === 0) return []
      const known = byTable.get(table) ?? new Map<string, ExactRow>()
      byTable.set(table, known)
      const key = catalog.keyOf(table)
      return rows.filter((row) => {
        const id = rowId(row, key)
        return known.has(id) ? false : known.set(id, row)
      })
    },
  }
}
