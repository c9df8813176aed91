import type { AppView, DerivedTable } from '../events.ts'

/** The description of a table whose rows are derived from records, if it is one. */
export function derivedTable(appview: Pick<AppView, 'handlers'>, table: string): DerivedTable | undefined {
  for (const { derives } of appview.handlers) {
    const found = derives.find((derived) => derived.table === table)
    if (found !== undefined) return found
  }
  return undefined
}

/** The column that holds the AT-URI of the record that a row of this table is made from, if it is made from one. */
export function recordColumn(
  appview: Pick<AppView, 'handlers' | 'foreignRecords'>,
  table: string,
): string | undefined {
  const foreign = appview.foreignRecords?.find((candidate) => candidate.table === table)
  return derivedTable(appview, table)?.of ?? foreign?.of
}
