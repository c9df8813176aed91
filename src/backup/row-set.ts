import type { ExactRow } from '../database/exact.ts'
import { rowId } from './snapshot.ts'

/** Rows of several tables, each once however often it is met. */
export interface RowSet {
  /** The rows that were not there yet. */
  add(table: string, rows: readonly ExactRow[]): ExactRow[]
  /** In the order of their keys' text: the same for the same rows, whatever order they came in. */
  rows(table: string): ExactRow[]
  tables(): string[]
}

export function createRowSet(keyOf: (table: string) => readonly string[]): RowSet {
  const byTable = new Map<string, Map<string, ExactRow>>()
  return {
    add(table, rows) {
      const known = byTable.get(table) ?? new Map<string, ExactRow>()
      byTable.set(table, known)
      const key = keyOf(table)
      return rows.filter((row) => {
        const id = rowId(row, key)
        if (known.has(id)) return false
        known.set(id, row)
        return true
      })
    },
    rows: (table) =>
      [...(byTable.get(table) ?? [])].sort(([a], [b]) => (a < b ? -1 : a > b ? 1 : 0)).map(([, row]) => row),
    tables: () => [...byTable.keys()],
  }
}
