import type { LackingTable, Snapshot } from '../backup/snapshot.ts'
import { say } from './output.ts'

/** How the backup's schema differs from production's: what that means for the rows is the reconcile plan's to say. */
export function saySchemas({ meta: { lacking = [], dropped = [] } }: Snapshot): void {
  if (lacking.length > 0) say(`Production has, and the backup did not have: ${namesOf(lacking)}.`)
  if (dropped.length > 0)
    say(`The backup has, and production has no more (not in the snapshot): ${namesOf(dropped)}.`)
}

function namesOf(tables: readonly LackingTable[]): string {
  return tables
    .flatMap(({ table, columns }) => columns?.map((column) => `${table}.${column}`) ?? `table ${table}`)
    .join(', ')
}
