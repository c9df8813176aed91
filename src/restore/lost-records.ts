import { type Snapshot, tableOf } from '../backup/snapshot.ts'
import type { ExactRow } from '../database/exact.ts'
import type { RecordState } from '../database/record-state.ts'
import type { AppView, JsonObject } from '../events.ts'
import {
  type LostRecord,
  lostRecordOf,
  type RefusedRecord,
  type RootRow,
  recordNameOf,
} from '../pds/lost-record.ts'
import type { KnownCids } from '../pds/original-cid.ts'
import type { VerifiedRepo } from '../repo/verified-repo.ts'
import { jsonColumns } from './json-columns.ts'
import { strongReferencesIn } from './strong-references.ts'

/** What the outside knows of the records: the index, and the repo as it is now. */
export interface Evidence {
  states: ReadonlyMap<string, RecordState>
  repo: Pick<VerifiedRepo, 'get'>
  /**
   * By URI, the CID that the account's last delete of it names (`prev`), from a relay's window: for the deletes that
   * nobody had indexed. Of commits that were verified: what may be paid text is published on their word. Where the index
   * has a tombstone with a CID, that one counts.
   */
  deleted?: ReadonlyMap<string, string>
}

/** The snapshot's root rows as the records they were made from, each held against all that is known of its CID. */
export function lostRecordsOf(
  snapshot: Snapshot,
  appview: AppView,
  { states, repo, deleted: deletedInWindow }: Evidence,
): (LostRecord | RefusedRecord)[] {
  const rows = rootRows(snapshot, appview)
  const references = strongReferencesIn(snapshot, new Set(rows.map(({ uri }) => uri)))
  return rows.map((row) => {
    const { uri } = row
    const name = recordNameOf(uri)
    const live = name && repo.get(name.collection, name.rkey)?.cid.toString()
    const state = states.get(uri)
    const deleted = (state?.deleted ? state.cid : null) ?? deletedInWindow?.get(uri)
    const referenced = references.get(uri)
    const known: KnownCids = {
      ...(live !== undefined && { live }),
      ...(live === undefined && deleted !== undefined && { deleted }),
      ...(referenced && { referenced }),
    }
    return lostRecordOf(row, appview, known)
  })
}

function rootRows(snapshot: Snapshot, appview: AppView): RootRow[] {
  return appview.roots.flatMap(({ table: name, uriColumn, recordColumn }) => {
    const table = tableOf(snapshot, name)
    if (table === undefined) return []
    const isJson = jsonColumns(table)
    return table.rows.map((row) => ({
      uri: row[uriColumn] ?? '',
      table: name,
      recordColumn,
      row: parsed(row, isJson),
    }))
  })
}

function parsed(row: ExactRow, isJson: ReadonlySet<string>): JsonObject {
  return Object.fromEntries(
    Object.entries(row).map(([column, text]) => [
      column,
      text !== null && isJson.has(column) ? JSON.parse(text) : text,
    ]),
  )
}
