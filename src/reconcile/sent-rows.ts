import type { ExactRow } from '../database/exact.ts'

/** A row on its way to the database. */
export interface SentRow {
  id: string
  row: ExactRow
  /** What the record that it was made from was found to be. */
  record?: { uri: string; cid: string; rev: string }
  /** The mark that an earlier run has left of it. */
  pending?: string
}

/** Rows as our SQL functions read them: see `firehose_replay_listed_sql`. */
export interface ListedRows {
  /** What all of them have alike. */
  common: ExactRow
  /** Of each row the values of the other columns, in their order. */
  values: (string | null)[][]
  /** By row number, what few rows have besides. */
  notes?: Record<string, { record: SentRow['record'] | undefined; pending: string | undefined }>
}

/**
 * Rows by number and as lists: the names of a row and of its columns are half of what it would take, and what hangs on
 * one row names it alike in every row.
 */
export function listed(
  rows: readonly Pick<SentRow, 'row' | 'record' | 'pending'>[],
  columns: readonly string[],
): ListedRows {
  const [first] = rows
  const isCommon = (name: string): boolean =>
    first !== undefined && rows.every(({ row }) => (row[name] ?? null) === (first.row[name] ?? null))
  const alike = new Set(columns.filter(isCommon))
  const others = columns.filter((name) => !alike.has(name))
  const noted = rows.flatMap(({ record, pending }, index) =>
    record === undefined && pending === undefined ? [] : [[index, { record, pending }] as const],
  )
  return {
    common: Object.fromEntries([...alike].map((name) => [name, first?.row[name] ?? null])),
    values: rows.map(({ row }) => others.map((name) => row[name] ?? null)),
    ...(noted.length > 0 && { notes: Object.fromEntries(noted) }),
  }
}

/** The row that an answer is about. */
export function rowOf<T>({ id }: { id: string }, rows: readonly T[]): T {
  const row = rows[Number(id)]
  if (row === undefined) throw new TypeError(`the database answers for row ${id}, which it was not given`)
  return row
}
