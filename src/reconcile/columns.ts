import type { Catalog, Column } from '../database/catalog.ts'
import type { AppView, DerivedTable } from '../events.ts'

/** The description of a table whose rows are derived from records, if it is one. */
export function derivedTable(appview: AppView, table: string): DerivedTable | undefined {
  for (const handler of appview.handlers) {
    const found = handler.derives.find((derived) => derived.table === table)
    if (found !== undefined) return found
  }
  return undefined
}

/** Columns of a derived table that a replay does not give back, and that may be written. */
export function nonDerivableColumns(catalog: Catalog, derived: DerivedTable): Column[] {
  return catalog
    .table(derived.table)
    .columns.filter((column) => !column.generated && !derived.columns.includes(column.name))
}
