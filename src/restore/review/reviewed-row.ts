import type { ExactRow } from '../../database/exact.ts'

/** What a reconcile means to do with one row, for people to read; sensitive values are masked already. */
export interface ReviewedRow {
  table: string
  /** The columns that tell the row from others. */
  key: ExactRow
  /** All columns of a row that is to be inserted, or those to be set. */
  values: ExactRow
  /** What these columns hold now, where the row is there: set for a row that is to be changed. */
  now?: ExactRow
  reason?: string
}
