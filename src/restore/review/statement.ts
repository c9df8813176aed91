import type { ExactRow } from '../../database/exact.ts'
import type { ReviewedRow } from './reviewed-row.ts'

/** The row as the SQL that would do the same; for reading, because the reconcile decides again for each row. */
export function statementOf(row: ReviewedRow): string {
  const why = row.reason === undefined ? '' : `-- ${row.reason.replace(/[\r\n]+/g, ' ')}\n`
  return `${why}${row.now === undefined ? insertOf(row) : updateOf(row, row.now)};\n`
}

function insertOf({ table, values }: ReviewedRow): string {
  const columns = Object.keys(values).map(name).join(', ')
  const texts = Object.values(values).map(literal).join(', ')
  return `insert into public.${name(table)} (${columns})\nvalues (${texts})\non conflict do nothing`
}

function updateOf({ table, key, values }: ReviewedRow, now: ExactRow): string {
  const sets = Object.entries(values).map(([column, then]) => `${name(column)} = ${literal(then)}`)
  const conditions = [
    ...Object.entries(key).map(([column, value]) => `${name(column)} = ${literal(value)}`),
    ...Object.keys(values).map(
      (column) => `${name(column)} is not distinct from ${literal(now[column] ?? null)}`,
    ),
  ]
  return `update public.${name(table)}\nset ${sets.join(',\n    ')}\nwhere ${conditions.join('\n  and ')}`
}

function name(identifier: string): string {
  return `"${identifier.replaceAll('"', '""')}"`
}

function literal(value: string | null): string {
  return value === null ? 'null' : `'${value.replaceAll("'", "''")}'`
}
