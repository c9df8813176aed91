import { dirname } from 'node:path'
import { isValidDid } from '@atproto/syntax'
import { ConfigError } from '../errors.ts'
import type { AppView } from '../events.ts'
import { openBackupReader } from './backup-reader.ts'
import { backupCatalog, droppedTables, refuseHiddenRows } from './backup-schema.ts'
import { closureOf, parentsFirst } from './closure.ts'
import { collectRows, type ExtractOptions } from './collect-rows.ts'
import { fileLogs, memoryLogs, type RowLogs } from './row-log.ts'
import type { RowSet } from './row-set.ts'
import { SNAPSHOT_FORMAT, type Snapshot, type SnapshotTable } from './snapshot.ts'
import { readSnapshot, writeSnapshot } from './snapshot-file.ts'

export type { ExtractOptions } from './collect-rows.ts'

/**
 * Reads from the backup all that a delete of the account's records took or emptied, and the rows these refer to, into
 * a snapshot file. Memory does not grow with the rows; the disk needs room for twice the snapshot.
 *
 * @param path as for `writeSnapshot`
 * @returns the snapshot as it was then read back from the file
 * @throws RestoreError when the backup holds no root row of this account
 * @throws ConfigError when `did` is no DID, when row-level security hides rows of a backup that can be asked, or when
 *   the backup lacks all tables of the roots, a column that tells rows apart, or every column by which rows of a table
 *   are found
 * @throws DatabaseError code `COUNT` when rows and counts disagree: something writes to the backup
 * @throws UnavailableError when the backup cannot be reached
 * @throws SnapshotError when the file cannot be written
 */
export async function extractTo(path: string, options: ExtractOptions): Promise<Snapshot> {
  const { database, catalog, appview } = options
  const theirs = await backupCatalog(database)
  if (theirs !== undefined) refuseHiddenRows(theirs, appview, database)
  const dropped = theirs === undefined ? [] : droppedTables(theirs, catalog, appview)
  const logs = fileLogs(dirname(path))
  try {
    const snapshot = await collect(options, logs)
    await writeSnapshot(path, { ...snapshot, meta: { ...snapshot.meta, dropped } })
  } finally {
    logs.close()
  }
  return readSnapshot(path)
}

/** The same in memory, every row in an array. @throws as `extractTo` does, but for the file */
export async function extract(options: ExtractOptions): Promise<Snapshot> {
  const snapshot = await collect(options, memoryLogs())
  const held = (table: SnapshotTable): SnapshotTable => ({ ...table, rows: [...table.rows] })
  return { ...snapshot, tables: snapshot.tables.map(held), parents: snapshot.parents.map(held) }
}

async function collect(options: ExtractOptions, logs: RowLogs): Promise<Snapshot> {
  const { database, catalog, appview, did } = options
  if (!isValidDid(did)) {
    throw new ConfigError(`"${did}" is not a DID.`, {
      hint: 'Give the account as did:plc:... or did:web:...',
    })
  }
  const extractedAt = new Date().toISOString()
  const reader = openBackupReader(database, catalog)
  const closure = closureOf(catalog, appview)
  const { own, parents } = await collectRows(options, { reader, closure, logs })
  const tableOf = async (rows: RowSet, table: string, section: string): Promise<SnapshotTable[]> => {
    const present = await reader.columnsOf(table)
    if (present === undefined) return []
    const columns = catalog.table(table).columns.filter(({ name }) => present.includes(name))
    return [
      {
        table,
        section,
        columns: columns.map(({ name, type, generated }) => ({ name, type, generated })),
        key: catalog.keyOf(table),
        rows: rows.rows(table),
      },
    ]
  }
  const ownTables: SnapshotTable[] = []
  for (const { table } of closure)
    ownTables.push(...(await tableOf(own, table, sectionOf(appview, table) ?? `otherTables.${table}`)))
  const parentTables: SnapshotTable[] = []
  for (const table of parentsFirst(parents.tables(), catalog.foreignKeys))
    parentTables.push(...(await tableOf(parents, table, `parents.${table}`)))
  const filled = new Set(ownTables.map(({ section }) => section))
  return {
    did,
    tables: ownTables,
    parents: parentTables,
    meta: {
      format: SNAPSHOT_FORMAT,
      extractedAt,
      from: database.name,
      appview: appview.name,
      emptySections: [...new Set(Object.values(appview.sections))].filter((section) => !filled.has(section)),
      lacking: reader.lacking().toSorted((a, b) => (a.table < b.table ? -1 : 1)),
    },
  }
}

function sectionOf(appview: AppView, table: string): string | undefined {
  return appview.roots.find((root) => root.table === table)?.section ?? appview.sections[table]
}
