import { derivedTable } from '../appview/derived.ts'
import { rowId, type Snapshot } from '../backup/snapshot.ts'
import type { RestoreMark } from '../database/marks.ts'
import type { AppView } from '../events.ts'
import type { ReconcilePlan } from './plan.ts'

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
  for (const { table, rows } of plan.tables) {
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
