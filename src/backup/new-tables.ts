import type { AppView } from '../events.ts'
import type { BlastRadius } from './closure.ts'

/** True of a table that whoever wrote the description has not looked at: it is named nowhere in it. */
export function isNewTable(appview: AppView, table: string): boolean {
  return !describedTables(appview).has(table)
}

/** Tables below the roots that the description does not name. */
export function newTables(appview: AppView, radius: BlastRadius): string[] {
  return radius.tables.map(({ table }) => table).filter((table) => isNewTable(appview, table))
}

/** All that the description names, whether or not this schema has it. */
function describedTables(appview: AppView): Set<string> {
  return new Set([
    ...appview.roots.map(({ table }) => table),
    ...Object.keys(appview.sections),
    ...appview.handlers.flatMap(({ derives }) => derives.map(({ table }) => table)),
    ...appview.guardTables,
    ...appview.untouchableTables,
    ...(appview.knownTables ?? []),
  ])
}
