import { isValidDid } from '@atproto/syntax'
import type { Catalog } from '../database/catalog.ts'
import type { Database } from '../database/client.ts'
import { type ExactRow, ownedBy } from '../database/exact.ts'
import { ConfigError, RestoreError } from '../errors.ts'
import type { AppView, Root } from '../events.ts'
import { type BackupReader, keyValues, openBackupReader, targetOf } from './backup-reader.ts'
import { type ClosureTable, closureOf, parentsFirst } from './closure.ts'
import { createRowSet, type RowSet } from './row-set.ts'
import { SNAPSHOT_FORMAT, type Snapshot, type SnapshotTable } from './snapshot.ts'

export interface ExtractOptions {
  /** The backup. It need not have our functions; nothing may write to it meanwhile. */
  database: Database
  /** Of production, which has them: its tables, columns and foreign keys are what is looked for. */
  catalog: Catalog
  appview: AppView
  did: string
  /** Told each time rows of a table were found, with how many it has so far. */
  onTable?: (table: string, rowCount: number) => void
}

/**
 * Reads from the backup all that a delete of the account's records took or emptied, and the rows these refer to.
 *
 * @throws RestoreError when the backup holds no root row of this account
 * @throws ConfigError when `did` is no DID, or the backup lacks a table or column that production has
 * @throws DatabaseError code `COUNT` when rows and counts disagree: something writes to the backup
 * @throws UnavailableError when the backup cannot be reached
 */
export async function extract(options: ExtractOptions): Promise<Snapshot> {
  const { database, catalog, appview, did } = options
  if (!isValidDid(did)) {
    throw new ConfigError(`"${did}" is not a DID.`, {
      hint: 'Give the account as did:plc:... or did:web:...',
    })
  }
  const extractedAt = new Date().toISOString()
  const reader = openBackupReader(database, catalog)
  const closure = closureOf(catalog, appview)
  const own = watched(createRowSet(catalog.keyOf), options)
  await collectDeleted(reader, closure, own, await readRoots(reader, options), catalog)
  const parents = watched(createRowSet(catalog.keyOf), options)
  await collectParents(reader, catalog, closure, own, parents)

  const ownTables = closure.map(({ table }) =>
    snapshotTable(catalog, own, table, sectionOf(appview, table) ?? `otherTables.${table}`),
  )
  const filled = new Set(ownTables.map(({ section }) => section))
  return {
    did,
    tables: ownTables,
    parents: parentsFirst(parents.tables(), catalog.foreignKeys).map((table) =>
      snapshotTable(catalog, parents, table, `parents.${table}`),
    ),
    meta: {
      format: SNAPSHOT_FORMAT,
      extractedAt,
      from: database.name,
      appview: appview.name,
      emptySections: Object.values(appview.sections).filter((section) => !filled.has(section)),
    },
  }
}

function watched(rows: RowSet, { onTable }: ExtractOptions): RowSet {
  const counts = new Map<string, number>()
  return {
    ...rows,
    add(table, more) {
      const added = rows.add(table, more)
      const count = (counts.get(table) ?? 0) + added.length
      counts.set(table, count)
      onTable?.(table, count)
      return added
    },
  }
}

type RowsByTable = Map<string, ExactRow[]>

async function readRoots(reader: BackupReader, options: ExtractOptions): Promise<RowsByTable> {
  const { appview, did, database } = options
  const roots: RowsByTable = new Map()
  for (const root of appview.roots) {
    const rows = await reader.read(root.table, [root.uriColumn, ownedBy(did)])
    for (const row of rows) refuseForeignRow(row, root, did)
    append(roots, root.table, rows)
  }
  if ([...roots.values()].some((rows) => rows.length > 0)) return roots
  const names = [...new Set(appview.roots.map(({ table }) => table))].join(' or ')
  throw new RestoreError(`The backup (${database.name}) holds no ${names} of ${did}.`, {
    hint: 'Wrong backup, wrong DID, or a key that sees no rows: check all three.',
    did,
  })
}

/** The database matched a pattern; what is the account's is decided here. */
function refuseForeignRow(row: ExactRow, root: Root, did: string): void {
  if (row[root.uriColumn]?.startsWith(`at://${did}/`)) return
  throw new RestoreError(
    `The backup gave a row of "${root.table}" as one of ${did} whose ${root.uriColumn} is of another account.`,
    { hint: 'Its API does not understand LIKE patterns as PostgREST does.', did, table: root.table },
  )
}

/**
 * Goes down the foreign keys from rows that the delete takes. A row that only loses a value is collected and not
 * followed: its own children stay.
 */
async function collectDeleted(
  reader: BackupReader,
  closure: readonly ClosureTable[],
  own: RowSet,
  roots: RowsByTable,
  catalog: Catalog,
): Promise<void> {
  const deleted = createRowSet(catalog.keyOf)
  let wave = roots
  for (const [table, rows] of roots) {
    own.add(table, rows)
    deleted.add(table, rows)
  }
  while (wave.size > 0) {
    const next: RowsByTable = new Map()
    for (const { table, edges } of closure) {
      for (const edge of edges) {
        const values = keyValues(wave.get(edge.parent) ?? [], edge.parentColumns)
        if (values.length === 0) continue
        const rows = await reader.readByKeys(table, edge.columns, values)
        own.add(table, rows)
        if (edge.onDelete === 'cascade') append(next, table, deleted.add(table, rows))
      }
    }
    wave = next
  }
}

/** Goes up the foreign keys, from all rows collected, to tables that the delete does not reach. */
async function collectParents(
  reader: BackupReader,
  catalog: Catalog,
  closure: readonly ClosureTable[],
  own: RowSet,
  parents: RowSet,
): Promise<void> {
  const ownTables = new Set(closure.map(({ table }) => table))
  const asked = new Set<string>()
  let wave: RowsByTable = new Map(own.tables().map((table) => [table, own.rows(table)]))
  while (wave.size > 0) {
    const next: RowsByTable = new Map()
    for (const key of catalog.foreignKeys) {
      if (ownTables.has(key.parent)) continue
      const values = keyValues(wave.get(key.child) ?? [], key.columns).filter((value) => {
        const name = `${targetOf(key)} ${JSON.stringify(value)}`
        return asked.has(name) ? false : asked.add(name)
      })
      if (values.length === 0) continue
      const rows = await reader.readByKeys(key.parent, key.parentColumns, values)
      append(next, key.parent, parents.add(key.parent, rows))
    }
    wave = next
  }
}

function append(rowsByTable: RowsByTable, table: string, rows: readonly ExactRow[]): void {
  if (rows.length > 0) rowsByTable.set(table, [...(rowsByTable.get(table) ?? []), ...rows])
}

function sectionOf(appview: AppView, table: string): string | undefined {
  return appview.roots.find((root) => root.table === table)?.section ?? appview.sections[table]
}

function snapshotTable(catalog: Catalog, rows: RowSet, table: string, section: string): SnapshotTable {
  return {
    table,
    section,
    columns: catalog.table(table).columns.map(({ name, type, generated }) => ({ name, type, generated })),
    key: catalog.keyOf(table),
    rows: rows.rows(table),
  }
}
