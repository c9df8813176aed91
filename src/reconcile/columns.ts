import { type Catalog, type Column, constantDefault } from '../database/catalog.ts'
import type { ExactRow } from '../database/exact.ts'
import type { DerivedTable } from '../events.ts'

/** Columns of a derived table that a replay does not give back, and that may be written. */
export function nonDerivableColumns(catalog: Catalog, derived: DerivedTable): Column[] {
  return catalog
    .table(derived.table)
    .columns.filter((column) => !column.generated && !derived.columns.includes(column.name))
}

/** Tables with triggers whose rows hang on a table, however many steps down; itself too where it hangs on itself. */
export function triggeredBelow(catalog: Catalog, table: string): string[] {
  const below = new Set<string>()
  // A Set gives what is added while it is walked.
  const parents = new Set([table])
  for (const parent of parents) {
    for (const key of catalog.foreignKeys) {
      if (key.parent !== parent) continue
      below.add(key.child)
      parents.add(key.child)
    }
  }
  return [...below].filter((child) => catalog.has(child) && catalog.table(child).triggers.length > 0)
}

/** @param type as `format_type` names it */
export function isNumber(type: string): boolean {
  return /^(smallint|integer|bigint|numeric|real|double precision)/.test(type) && !type.endsWith('[]')
}

/**
 * Columns that a trigger may count in, with what a fresh insert puts there: those with a constant default, and empty
 * numbers, in tables that a table with triggers hangs on. A row that comes back with its old count and then gets the
 * rows that are counted would have them counted twice; so it is inserted with these, and given its values when it is
 * known what counts. Keys and references are never counts.
 */
export function countableDefaults(catalog: Catalog, table: string): ExactRow {
  if (triggeredBelow(catalog, table).length === 0) return {}
  const { columns, uniqueKeys } = catalog.table(table)
  const naming = new Set([
    ...uniqueKeys.flat(),
    ...catalog.foreignKeys.flatMap((key) => (key.child === table ? key.columns : [])),
    ...catalog.foreignKeys.flatMap((key) => (key.parent === table ? key.parentColumns : [])),
  ])
  const defaults = columns.flatMap((column): (readonly [string, string | null])[] => {
    if (column.generated || column.identity !== null || naming.has(column.name)) return []
    const constant = constantDefault(column)
    if (constant === undefined) return []
    if (constant === null && !(column.nullable && isNumber(column.type))) return []
    return [[column.name, constant]]
  })
  return Object.fromEntries(defaults)
}

/** Columns that a row must have a value in, and that neither the backup nor a default gives one. */
export function missingColumns(catalog: Catalog, table: string, known: readonly string[]): string[] {
  return catalog
    .table(table)
    .columns.filter(
      (column) =>
        !column.nullable &&
        column.default === null &&
        !column.generated &&
        column.identity === null &&
        !known.includes(column.name),
    )
    .map(({ name }) => name)
}
