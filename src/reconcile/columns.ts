import type { Catalog, Column } from '../database/catalog.ts'
import type { DerivedTable } from '../events.ts'

/** Columns of a derived table that a replay does not give back, and that may be written. */
export function nonDerivableColumns(catalog: Catalog, derived: DerivedTable): Column[] {
  return catalog
    .table(derived.table)
    .columns.filter((column) => !column.generated && !derived.columns.includes(column.name))
}
