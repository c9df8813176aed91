import type { ReviewedRow } from './reviewed-row.ts'

export const CSV_HEADER = 'table,row,action,column,now,then,why'

/** A line for each column of a row that would get a value: RFC 4180, NULL as an empty cell, an empty text as `""`. */
export function csvLines({ table, key, values, now, reason }: ReviewedRow): string[] {
  const row = JSON.stringify(key)
  return Object.entries(values).map(([column, then]) =>
    [table, row, now === undefined ? 'insert' : 'set', column, now?.[column] ?? null, then, reason ?? null]
      .map(cell)
      .join(','),
  )
}

/** A spreadsheet runs what begins like this, wherever the text came from. A quote in front has it shown instead. */
const FORMULA = /^[=+\-@\t\r]/

function cell(value: string | null): string {
  if (value === null) return ''
  const shown = FORMULA.test(value) ? `'${value}` : value
  return shown === '' || /[",\r\n]/.test(shown) ? `"${shown.replaceAll('"', '""')}"` : shown
}
