import type { AppView, DerivedTable } from '../events.ts'

/** The description of a table whose rows are derived from records, if it is one. */
export function derivedTable(appview: Pick<AppView, 'handlers'>, table: string): DerivedTable | undefined {
  for (const { derives } of appview.handlers) {
    const found = derives.find((derived) => derived.table === table)
    if (found !== undefined) return found
  }
  return undefined
}
