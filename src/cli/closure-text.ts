import type { ClosureReport, ClosureReportEdge, ClosureReportTable } from '../backup/closure-report.ts'
import { type Edge, filterColumns } from '../backup/edges.ts'
import type { ForeignKey } from '../database/catalog.ts'

const BACK_FROM = { yes: 'repo', partly: 'repo, backup', no: 'backup' } as const

/** The report for people, lines of 80 characters where the names of tables and columns allow it. */
export function closureText(report: ClosureReport): string {
  return [
    ...tableLines(report),
    ...section(
      'Would refuse the delete while their rows stay:',
      report.blocking.map((edge) => `${edge.child}.${edgeText(edge)}${stayingText(edge)}`),
    ),
    ...section(
      'Stay, and then name nothing (virtual references):',
      report.hanging.map((edge) => `${edge.child}.${edgeText(edge)}${stayingText(edge)}`),
    ),
    ...section(
      'Not followed, because the description says not to touch these tables:',
      report.untouchable.map((edge) => `${edge.child}.${edgeText(edge)}`),
    ),
    ...section('Not followed, because their schema is not exposed:', report.outside.map(outsideText)),
    ...section(
      'Rows above need rows of schemas that are not exposed:',
      report.outsideParents.map(outsideText),
    ),
    ...section('Not counted:', report.uncounted),
    '',
    ...legend(report),
  ].join('\n')
}

function tableLines(report: ClosureReport): string[] {
  const isCounted = report.did !== undefined
  const width = Math.max(...report.tables.map(({ table }) => table.length), 'table'.length)
  const line = (table: string, depth: string, action: string, from: string, rows: string) =>
    `${table.padEnd(width)}  ${depth.padStart(5)}  ${action.padEnd(7)}  ${from.padEnd(12)}${isCounted ? `  ${rows}` : ''}`.trimEnd()
  return [
    line('table', 'depth', 'action', 'back from', 'rows'),
    ...report.tables.flatMap((one) => [
      line(one.table, `${one.depth}`, one.action, BACK_FROM[one.derivable], rowsText(one)),
      ...one.via.map((edge) => `  ${edgeText(edge)}`),
      ...(one.writtenBy.length === 0 ? [] : [`  written by trigger ${one.writtenBy.join(', ')}`]),
      ...(one.isNew ? ['  new: named nowhere in the description of the appview'] : []),
    ]),
  ]
}

function rowsText({ rows }: ClosureReportTable): string {
  if (rows === undefined) return ''
  if (rows === null) return 'not counted'
  const { deletedCount, emptiedCount, ownCount } = rows
  const others =
    ownCount === undefined || ownCount === deletedCount ? '' : ` (${deletedCount - ownCount} of others)`
  const emptied = emptiedCount === 0 ? '' : ` + ${emptiedCount} emptied`
  return `${deletedCount}${others}${emptied}`
}

/** `doc -> documents.uri set null`, and what is unusual about it. */
function edgeText(edge: Edge): string {
  const { parent, parentColumns, onDelete, emptied, columns, kind } = edge
  const partly = emptied.length > 0 && emptied.length < columns.length ? ` (${emptied.join(', ')})` : ''
  const deferred = edge.initiallyDeferred ? ', deferred' : edge.deferrable ? ', deferrable' : ''
  const virtual = kind === 'virtual' ? ', virtual' : ''
  return `${listText(filterColumns(edge))} -> ${parent}.${listText(parentColumns)} ${onDelete}${partly}${deferred}${virtual}`
}

function outsideText(key: ForeignKey): string {
  const child = `${key.childSchema}.${key.child}.${listText(key.columns)}`
  return `${child} -> ${key.parentSchema}.${key.parent}.${listText(key.parentColumns)} ${key.onDelete}`
}

function listText(columns: readonly string[]): string {
  return columns.length === 1 ? `${columns[0]}` : `(${columns.join(', ')})`
}

function stayingText({ referringCount, stayingCount }: ClosureReportEdge): string {
  if (referringCount === undefined) return ''
  return `: ${stayingCount} of ${referringCount} rows stay`
}

function section(title: string, lines: readonly string[]): string[] {
  return lines.length === 0 ? [] : ['', title, ...lines.map((line) => `  ${line}`)]
}

function legend({ tables, did, backup }: ClosureReport): string[] {
  const whose = did === undefined ? [] : [`Rows of ${did} in ${backup}, counted exactly.`]
  const lines = [
    "back from repo: made from the account's own records, which a replay indexes again.",
    "repo, backup: the account's own come from its repo, those of others from the backup.",
    'backup: no handler writes it; only the backup has these rows.',
  ]
  return [
    ...whose,
    ...lines.filter((_, index) =>
      tables.some(({ derivable }) => ['yes', 'partly', 'no'][index] === derivable),
    ),
  ]
}
