import { rowId, type Snapshot } from '../backup/snapshot.ts'
import type { AppView, Json, RecordUpsert } from '../events.ts'
import type { RepoRecords } from './own-records.ts'
import { eventFromRepo, eventFromRow } from './record-events.ts'

/** The rows that a replay of the account's records gives back. */
export interface ReplayedRows {
  /** @param id see `rowId` */
  has(table: string, id: string): boolean
}

/**
 * Asks the handlers which rows the records of the snapshot's roots stand for. A record that its handler refuses (one
 * that breaks its lexicon, whose row the appview wrote itself) stands for none: no replay gives that row back.
 *
 * @param repo the account's repo as it is now: a row is often not its record, and the repo may hold a form that the
 *   handler skips, or none. Without it the snapshot's rows are taken for the records
 */
export function replayedRows(snapshot: Snapshot, appview: AppView, repo?: RepoRecords): ReplayedRows {
  const handlers = new Map(appview.handlers.map((handler) => [handler.collection, handler]))
  const keys = new Map(snapshot.tables.map((table) => [table.table, table.key]))
  const found = new Set<string>()
  for (const root of appview.roots) {
    const rows = snapshot.tables.find((table) => table.table === root.table)?.rows ?? []
    for (const row of rows) {
      const event = eventOf(row[root.uriColumn], row[root.recordColumn], repo)
      const result = event === undefined ? undefined : handlers.get(event.collection)?.rows(event)
      if (result?.outcome !== 'rows') continue
      for (const mutation of result.mutations) {
        if (mutation.kind === 'ensure') continue
        const { table } = mutation.into
        const key = keys.get(table)
        if (key === undefined) continue
        for (const derived of mutation.kind === 'upsert' ? [mutation.row] : mutation.rows) {
          found.add(`${table} ${rowId(textual(derived), key)}`)
        }
      }
    }
  }
  return { has: (table, id) => found.has(`${table} ${id}`) }
}

function eventOf(
  uri: string | null | undefined,
  json: string | null | undefined,
  repo: RepoRecords | undefined,
): RecordUpsert | undefined {
  if (uri == null) return undefined
  if (repo !== undefined) return eventFromRepo(uri, repo)
  return json == null ? undefined : eventFromRow(uri, json)
}

/** Key columns as the database prints them; keys of derived rows are texts. */
function textual(row: Record<string, Json>): Record<string, string | null> {
  return Object.fromEntries(
    Object.entries(row).map(([column, value]) => [
      column,
      typeof value === 'string' ? value : JSON.stringify(value),
    ]),
  )
}
