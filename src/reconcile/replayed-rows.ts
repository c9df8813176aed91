import { AtUri } from '@atproto/syntax'
import { rowId, type Snapshot } from '../backup/snapshot.ts'
import { VerificationError } from '../errors.ts'
import type { AppView, Json, JsonObject, RecordUpsert } from '../events.ts'
import { encodeRecord } from '../repo/record.ts'

/** The rows that a replay of the account's records gives back. */
export interface ReplayedRows {
  /** @param id see `rowId` */
  has(table: string, id: string): boolean
}

/**
 * Asks the handlers which rows the snapshot's own records stand for. A record that its handler refuses (one that
 * breaks its lexicon, whose row the appview wrote itself) stands for none: no replay gives that row back.
 */
export function replayedRows(snapshot: Snapshot, appview: AppView): ReplayedRows {
  const handlers = new Map(appview.handlers.map((handler) => [handler.collection, handler]))
  const keys = new Map(snapshot.tables.map((table) => [table.table, table.key]))
  const found = new Set<string>()
  for (const root of appview.roots) {
    const rows = snapshot.tables.find((table) => table.table === root.table)?.rows ?? []
    for (const row of rows) {
      const event = eventOf(row[root.uriColumn], row[root.recordColumn])
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

function eventOf(uri: string | null | undefined, json: string | null | undefined): RecordUpsert | undefined {
  if (uri == null || json == null) return undefined
  const parsed: unknown = JSON.parse(json)
  if (parsed === null || typeof parsed !== 'object') return undefined
  const atUri = new AtUri(uri)
  try {
    const { cid, record } = encodeRecord(parsed as JsonObject)
    const { host: did, collection, rkey } = atUri
    const base = { source: 'repo', seq: 0, time: '', rev: '', commit: cid } as const
    return { ...base, event: 'create', uri: atUri, did, collection, rkey, cid, record }
  } catch (error) {
    // What is no record cannot be in a repo, so no replay gives its row back.
    if (error instanceof VerificationError) return undefined
    throw error
  }
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
