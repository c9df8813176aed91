import type { Report } from './report.ts'

/** One thing that counts against the verdict, in words. */
export interface Loss {
  kind: 'missing' | 'different' | 'extra'
  /** A table, or `record`. */
  where: string
  id: string
  why: string
}

const KINDS = ['missing', 'different', 'extra'] as const

/** What counts against the verdict: what is missing first, and records before the rows that follow from them. */
export function lossesOf({ tables, records, untouched }: Report): Loss[] {
  const losses: Loss[] = []
  for (const { uri, class: kind, reason } of records.items)
    if (kind === 'different' || kind === 'missing')
      losses.push({ kind, where: 'record', id: uri, why: reason ?? '' })
  for (const { table, rows } of [...tables, ...untouched.tables]) {
    for (const row of rows) {
      if (row.class === 'equal' || row.class === 'explained') continue
      const columns = row.columns?.map(({ name }) => name).join(', ') ?? ''
      const why = [columns === '' ? '' : `differs in ${columns}`, row.reason ?? ''].filter(Boolean).join('; ')
      losses.push({ kind: row.class, where: table, id: row.id, why })
    }
  }
  return losses.sort((a, b) => KINDS.indexOf(a.kind) - KINDS.indexOf(b.kind))
}

/** How many there are in all, also of those that the report counts without listing them. */
export function lossCount({ tables, records, untouched }: Report): number {
  const rows = tables.reduce((sum, table) => sum + table.different + table.missing + table.extra, 0)
  const parents = untouched.tables.reduce((sum, table) => sum + table.missing, 0)
  return rows + parents + records.different + records.missing
}
