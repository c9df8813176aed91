import { type Catalog, type Column, constantDefault } from '../database/catalog.ts'
import type { ExactRow } from '../database/exact.ts'
import type { DerivedTable } from '../events.ts'

/** Columns of a derived table that a replay does not give back, and that may be written. */
export function nonDerivableColumns(catalog: Catalog, derived: DerivedTable): Column[] {
  return catalog
    .table(derived.table)
    .columns.filter((column) => !column.generated && !derived.columns.includes(column.name))
}

/**
 * Columns that a trigger may count in, with their defaults: those with a constant default, in tables that a table
 * with triggers hangs on. A row that comes back with its old count and then gets the rows that are counted would
 * have them counted twice; so it is inserted with the defaults, and given its values when it is known what counts.
 */
export function countableDefaults(catalog: Catalog, table: string): ExactRow {
  const isCounted = catalog.foreignKeys.some(
    (key) => key.parent === table && catalog.table(key.child).triggers.length > 0,
  )
  if (!isCounted) return {}
  const defaults = catalog.table(table).columns.flatMap((column) => {
    const constant = column.generated ? undefined : constantDefault(column)
    return constant == null ? [] : [[column.name, constant] as const]
  })
  return Object.fromEntries(defaults)
}
