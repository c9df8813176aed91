import { type Column, constantDefault } from '../database/catalog.ts'
import type { ExactRow } from '../database/exact.ts'
import { canonicalInstant, meaningOf } from '../database/meaning.ts'

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
  const constant = constantDefault(column)
  return constant === undefined || meaningOf(value, column.type) === meaningOf(constant, column.type)
}
