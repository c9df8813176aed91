import type { ExactRow } from '../database/exact.ts'
import { KeySet } from './key-set.ts'
import type { RowLog, RowLogs } from './row-log.ts'
import { lazyRows, type Rows } from './rows.ts'
import { rowId } from './snapshot.ts'

/** Rows of several tables, each once however often it is met. Of each only a hash is held, and the rest is in its log. */
export interface RowSet {
  /** @returns false when it was there */
  add(table: string, row: ExactRow): boolean
  has(table: string, row: ExactRow): boolean
  /** In the order in which they came. */
  rows(table: string): Rows
  /** Where the next row of a table will be: see `since`. */
  end(table: string): number
  /** The rows of a table from one place to another; 0 is the first. */
  since(table: string, from: number, to: number): Generator<ExactRow, undefined>
  tables(): string[]
}

export interface RowShape {
  key: readonly string[]
  /** What is kept of a row: its key is among it. */
  columns: readonly string[]
}

export function createRowSet(logs: RowLogs, shapeOf: (table: string) => RowShape): RowSet {
  const byTable = new Map<string, { shape: RowShape; known: KeySet; log: RowLog }>()
  function* since(table: string, from: number, to: number): Generator<ExactRow, undefined> {
    const found = byTable.get(table)
    if (found === undefined) return
    const { columns } = found.shape
    for (const values of found.log.read(from, to))
      yield Object.fromEntries(columns.map((column, index) => [column, values[index] ?? null]))
  }
  return {
    add(table, row) {
      const found = byTable.get(table) ?? { shape: shapeOf(table), known: new KeySet(), log: logs.open() }
      byTable.set(table, found)
      const { shape, known, log } = found
      if (!known.add(rowId(row, shape.key))) return false
      log.append(shape.columns.map((column) => row[column] ?? null))
      return true
    },
    has(table, row) {
      const found = byTable.get(table)
      return found?.known.has(rowId(row, found.shape.key)) === true
    },
    rows(table) {
      const { length = 0, end = 0 } = byTable.get(table)?.log ?? {}
      return lazyRows(length, () => since(table, 0, end))
    },
    end: (table) => byTable.get(table)?.log.end ?? 0,
    since,
    tables: () => [...byTable.keys()],
  }
}
