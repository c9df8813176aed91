import type { ExactRow } from '../database/exact.ts'
import type { ComparisonClass } from '../events.ts'
import type { Policy } from './report.ts'

/** A row of the snapshot or of production, in the one class that it falls in. */
export interface ClassifiedRow {
  class: ComparisonClass
  policy?: Policy
  /** Columns that differ. */
  columns?: readonly string[]
  reason?: string
  /** The snapshot's row; undefined for a row more. */
  backup: ExactRow | undefined
  production: ExactRow | undefined
}
