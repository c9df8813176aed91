import { AtUri, isValidDid } from '@atproto/syntax'
import { derivedTable, recordColumn } from '../../appview/derived.ts'
import { rowId, type Snapshot } from '../../backup/snapshot.ts'
import type { ExactRow } from '../../database/exact.ts'
import type { AppView, DerivedTable } from '../../events.ts'
import { type PlannedRow, plannedSource, type ReconcilePlan } from '../planned.ts'

/** What an appview's description says of where rows name the records that they are made from. */
export type RecordTables = Pick<AppView, 'handlers' | 'foreignRecords'>

/** A row of the snapshot that was made from a record. */
export interface MadeRow {
  row: ExactRow
  /** Undefined where no handler writes this table. */
  derived: DerivedTable | undefined
  /** Column name to type, as the backup has them. */
  types: ReadonlyMap<string, string>
}

/** Another account's record, and what the snapshot holds of it. */
export interface ForeignRecord {
  uri: string
  did: string
  collection: string
  rkey: string
  rows: readonly MadeRow[]
}

/**
 * The records of other accounts that rows of the snapshot were made from, by URI. The parents are among them: a row
 * that holds no record of its own (a link) is judged by the one that does.
 */
export function foreignRecords(snapshot: Snapshot, appview: RecordTables): Map<string, ForeignRecord> {
  const found = new Map<string, ForeignRecord & { rows: MadeRow[] }>()
  for (const { table, columns, rows } of [...snapshot.tables, ...snapshot.parents]) {
    const of = recordColumn(appview, table)
    if (of === undefined) continue
    const derived = derivedTable(appview, table)
    const types = new Map(columns.map(({ name, type }) => [name, type]))
    for (const row of rows) {
      const uri = row[of]
      if (uri == null || isOf(uri, snapshot.did)) continue
      const record = found.get(uri) ?? { uri, ...nameOf(uri), rows: [] }
      record.rows.push({ row, derived, types })
      found.set(uri, record)
    }
  }
  return found
}

/** URIs of other accounts' records without whose consent the plan would insert rows. */
export function recordsToAsk(
  plan: ReconcilePlan,
  { snapshot, appview }: { snapshot: Snapshot; appview: RecordTables },
): Set<string> {
  return new Set(foreignRows(plan, { snapshot, appview }, ({ action }) => action === 'insert'))
}

/** Rows of the plan that are there and were made from other accounts' records. */
export function countStanding(
  plan: ReconcilePlan,
  parts: { snapshot: Snapshot; appview: RecordTables },
): number {
  return foreignRows(plan, parts, ({ action, outcome }) => action !== 'insert' && outcome !== 'withdrawn')
    .length
}

/** @returns of each such row the URI of its record */
function foreignRows(
  plan: ReconcilePlan,
  { snapshot, appview }: { snapshot: Snapshot; appview: RecordTables },
  isMeant: (row: PlannedRow) => boolean,
): string[] {
  return plan.tables.flatMap((planned) => {
    const of = recordColumn(appview, planned.table)
    if (of === undefined) return []
    const source = plannedSource(snapshot, planned)
    const meant = new Set(planned.rows.filter(isMeant).map(({ id }) => id))
    return source.rows.flatMap((row) => {
      const uri = row[of]
      return uri != null && !isOf(uri, snapshot.did) && meant.has(rowId(row, source.key)) ? [uri] : []
    })
  })
}

function isOf(uri: string, did: string): boolean {
  return uri.startsWith(`at://${did}/`)
}

/** Empty parts for what names no record of a DID: nobody can be asked about it. */
function nameOf(uri: string): { did: string; collection: string; rkey: string } {
  const nothing = { did: '', collection: '', rkey: '' }
  try {
    const { host, collection, rkey } = new AtUri(uri)
    return isValidDid(host) && collection !== '' && rkey !== '' ? { did: host, collection, rkey } : nothing
  } catch {
    // The library throws plain errors for what is no AT-URI: that is the answer here.
    return nothing
  }
}
