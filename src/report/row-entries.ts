import type { SnapshotTable } from '../backup/snapshot.ts'
import type { ExactRow } from '../database/exact.ts'
import { COMPARISON_CLASSES, type ComparisonClass } from '../events.ts'
import type { ClassifiedRow } from './classified-row.ts'
import { excerpts, type Mask } from './mask.ts'
import type { Policy, ReportRow, ReportTable } from './report.ts'

/** Rows of a table that a report lists: more are counted, not listed. */
export const MAX_LISTED_ROWS = 200

/** What is listed first: where a list is cut, it keeps what counts against the verdict. */
const ORDER: readonly ComparisonClass[] = ['missing', 'different', 'extra', 'explained']

/** A table's part of the report. */
export function tableReport(
  { table, key, rows: expected }: SnapshotTable,
  classified: readonly ClassifiedRow[],
  mask: Mask,
): ReportTable {
  const unequal = classified.filter((row) => row.class !== 'equal')
  const policies: Partial<Record<Policy, number>> = {}
  for (const { policy } of unequal) if (policy !== undefined) policies[policy] = (policies[policy] ?? 0) + 1
  const counts = Object.fromEntries(COMPARISON_CLASSES.map((name) => [name, 0])) as Record<
    ComparisonClass,
    number
  >
  for (const row of classified) {
    // Rows more that a policy explains are no part of `expected`; they are counted under their policy only.
    if (row.backup !== undefined || row.class === 'extra') counts[row.class]++
  }
  return {
    table,
    expected: expected.length,
    ...counts,
    policies,
    rows: unequal
      .sort((a, b) => ORDER.indexOf(a.class) - ORDER.indexOf(b.class))
      .slice(0, MAX_LISTED_ROWS)
      .map((row) => entryOf(table, key, row, mask)),
    rowsOmitted: Math.max(0, unequal.length - MAX_LISTED_ROWS),
  }
}

function entryOf(table: string, key: readonly string[], row: ClassifiedRow, mask: Mask): ReportRow {
  const some = row.backup ?? row.production ?? {}
  const entry: ReportRow = { id: mask.rowId(table, some, key), class: row.class }
  if (row.policy !== undefined) entry.policy = row.policy
  if (row.columns !== undefined && row.backup !== undefined && row.production !== undefined)
    entry.columns = differencesOf(mask, table, row.columns, row.backup, row.production)
  if (row.reason !== undefined) entry.reason = mask.reason(table, some, row.reason)
  return entry
}

/** Both values of each column, masked and cut. */
export function differencesOf(
  mask: Mask,
  table: string,
  columns: readonly string[],
  backup: ExactRow,
  production: ExactRow,
): NonNullable<ReportRow['columns']> {
  return columns.map((name) => {
    const [before, now] = excerpts(
      mask.value(table, name, backup[name] ?? null),
      mask.value(table, name, production[name] ?? null),
    )
    return { name, backup: before, production: now }
  })
}
