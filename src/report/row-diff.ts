import type { SnapshotTable } from '../backup/snapshot.ts'
import type { ExactRow } from '../database/exact.ts'
import { meaningOf } from '../database/meaning.ts'

/**
 * Columns whose values do not mean the same, generated ones included. NULL is not absent: a column that one side
 * lacks differs even from NULL.
 */
export function differingColumns(
  columns: SnapshotTable['columns'],
  backup: ExactRow,
  production: ExactRow,
): string[] {
  return columns
    .filter(({ name, type }) => !isSame(backup[name], production[name], type))
    .map(({ name }) => name)
}

function isSame(a: string | null | undefined, b: string | null | undefined, type: string): boolean {
  // Same text means the same in every type, and most rows are equal: their JSON need not be parsed.
  if (a === b) return true
  if (a === undefined || b === undefined) return false
  return meaningOf(a, type) === meaningOf(b, type)
}
