import type { Catalog, Column } from '../database/catalog.ts'
import type { ExactRow } from '../database/exact.ts'
import { canonicalInstant, meaningOf } from '../database/meaning.ts'

/** Postgres prints a default that is computed as a call or as a keyword of SQL. */
const COMPUTED = /\(|^CURRENT_/i
const NOW = /^\(?(now|clock_timestamp|statement_timestamp|transaction_timestamp)\(\)|^CURRENT_TIMESTAMP/i

/** Timestamps that the database fills in when a row is made. */
export function birthColumns(catalog: Catalog, table: string): string[] {
  return catalog
    .table(table)
    .columns.filter(
      (column) =>
        !column.generated &&
        /^timestamp(\(\d\))? with time zone$/.test(column.type) &&
        NOW.test(column.default ?? ''),
    )
    .map((column) => column.name)
}

/** Seconds since 1970 of the latest of these columns; undefined where none holds an instant. */
export function bornAt(row: ExactRow, columns: readonly string[]): number | undefined {
  const instants = columns
    .map((column) => row[column])
    .filter((text) => text != null)
    .map((text) => Number(canonicalInstant(text)))
    .filter((seconds) => !Number.isNaN(seconds))
  return instants.length === 0 ? undefined : Math.max(...instants)
}

/** True where a column may hold what a fresh insert put there: its default, or a value that the default computes. */
export function mayBeFresh(column: Column, value: string | null): boolean {
  if (column.default === null) return value === null
  if (COMPUTED.test(column.default)) return true
  const literal = /^'((?:[^']|'')*)'/.exec(column.default)?.[1]?.replaceAll("''", "'") ?? column.default
  return meaningOf(value, column.type) === meaningOf(literal, column.type)
}
