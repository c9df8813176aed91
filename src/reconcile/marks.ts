import { derivedTable } from '../appview/derived.ts'
import { rowId, type Snapshot } from '../backup/snapshot.ts'
import type { RestoreMark } from '../database/marks.ts'
import type { AppView } from '../events.ts'
import type { ReconcilePlan } from './planned.ts'

/** In place of a CID, for a record that was lost and that nobody could write back: no commit ever has it. */
export const NOT_WRITTEN = ''

/**
 * Marks for the records whose rows come back without them. Set before the rows: a row that came has its old birth, so
 * that without a mark a run after one that was cut short could not tell it from a row that had stood all along.
 */
export function marksOf({
  appview,
  snapshot,
  plan,
}: {
  appview: Pick<AppView, 'handlers'>
  snapshot: Snapshot
  plan: ReconcilePlan
}): RestoreMark[] {
  const uris = new Set<string>()
  for (const { table, ofParents, rows } of plan.tables) {
    if (ofParents) continue
    const ids = new Set(rows.filter((row) => row.withoutRecord).map(({ id }) => id))
    const source = snapshot.tables.find((candidate) => candidate.table === table)
    const of = derivedTable(appview, table)?.of
    if (ids.size === 0 || source === undefined || of === undefined) continue
    for (const row of source.rows) {
      const uri = row[of]
      if (uri != null && ids.has(rowId(row, source.key))) uris.add(uri)
    }
  }
  return [...uris].map((uri) => ({ uri, cid: NOT_WRITTEN, did: snapshot.did, run: 'reconcile' }))
}

/**
 * Mark for a row that the incident took and that could not come yet: what it hangs on looks by the next run as if it
 * had stood all along, and the row as if somebody had deleted it. Taken back in the transaction that brings the row.
 */
export function pendingMark(table: string, id: string): string {
  return `${PENDING}${table} ${id}`
}

/** Whether a mark is of a row that could not come, and not of a record. */
export function isPendingMark(uri: string): boolean {
  return uri.startsWith(PENDING)
}

const PENDING = 'row '
