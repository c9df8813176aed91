import { styleText } from 'node:util'
import type { Verdict } from '../events.ts'
import { escapeText } from './escape.ts'
import { lossCount, lossesOf } from './losses.ts'
import { failureOf, type Report, type ReportTable } from './report.ts'
import { wrap } from './wrap.ts'

export interface RenderOptions {
  color: boolean
  /** Columns of the terminal. @defaultValue 80 */
  width?: number
}

/** Entries under "What is not as it was": the JSON has them all. */
const MAX_LOSSES = 20
const COLUMNS = ['expected', 'equal', 'explained', 'different', 'missing', 'extra'] as const
const VERDICT_COLORS = { complete: 'green', incomplete: 'yellow', failed: 'red' } as const

/** The report for people to read: what is not as it was first, the verdict last. */
export function renderReport(report: Report, { color, width = 80 }: RenderOptions): string {
  const paint = (verdict: Verdict, text: string) =>
    color ? styleText(VERDICT_COLORS[verdict], text, { validateStream: false }) : text
  const blocks = [
    wrap(`${report.did}: backup ${report.backup}, production ${report.production}`, width),
    ...lossBlock(report, width),
    tableBlock(report.tables, width, (text) => paint('incomplete', text)),
    summaryLines(report).flatMap((line) => wrap(line, width)),
    wrap(verdictLine(report), width).map((line) => paint(report.verdict, line)),
  ]
  return `${blocks.map((lines) => lines.join('\n')).join('\n\n')}\n`
}

function lossBlock(report: Report, width: number): string[][] {
  const losses = lossesOf(report)
  if (losses.length === 0) return []
  const lines = losses
    .slice(0, MAX_LOSSES)
    .flatMap(({ kind, where, id, why }) => [
      ...wrap(`  ${kind.padEnd(9)}  ${where}`, width, 13),
      ...wrap(`    ${escapeText(id)}`, width, 4),
      ...(why === '' ? [] : wrap(`    ${escapeText(why)}`, width, 4)),
    ])
  const left = lossCount(report) - Math.min(losses.length, MAX_LOSSES)
  return [
    ['What is not as it was:', ...lines, ...(left > 0 ? [`  and ${left} more; --json lists them`] : [])],
  ]
}

function tableBlock(tables: readonly ReportTable[], width: number, warn: (text: string) => string): string[] {
  const widths = COLUMNS.map((name) =>
    Math.max(name.length, ...tables.map((table) => String(table[name]).length)),
  )
  const numbersWidth = widths.reduce((sum, columnWidth) => sum + columnWidth + 2, 0)
  const nameWidth = Math.max(
    8,
    Math.min(width - numbersWidth, Math.max(5, ...tables.map(({ table }) => table.length))),
  )
  const line = (name: string, cells: readonly string[]) =>
    [
      cut(escapeText(name), nameWidth).padEnd(nameWidth),
      ...cells.map((cell, i) => cell.padStart(widths[i] ?? 0)),
    ]
      .join('  ')
      .trimEnd()
  return [
    line('table', COLUMNS),
    ...tables.map((table) => {
      const text = line(
        table.table,
        COLUMNS.map((name) => String(table[name])),
      )
      return table.different + table.missing + table.extra > 0 ? warn(text) : text
    }),
  ]
}

function cut(text: string, width: number): string {
  return text.length <= width ? text : `${text.slice(0, width - 1)}…`
}

function summaryLines(report: Report): string[] {
  const { records } = report
  const lines = [
    `Records: ${records.expected} expected, ${records.equal} equal, ${records.different} different, ` +
      `${records.missing} missing; ${records.identicalCid} with the CID they had ` +
      `(${records.proven} proven, ${records.selfConsistent} self-consistent).`,
    untouchedLine(report),
  ]
  const policies = policyTotals(report)
  if (policies !== '') lines.push(`Explained: ${policies}.`)
  if (report.unverified > 0)
    lines.push(
      `Unverified: ${report.unverified} restored rows come from other accounts' records that nobody looked for.`,
    )
  return [...lines, ...report.notes.map((note) => `Note: ${escapeText(note)}`)]
}

function untouchedLine({ untouched }: Report): string {
  const total = (name: 'expected' | 'equal' | 'changed' | 'missing') =>
    untouched.tables.reduce((sum, table) => sum + table[name], 0)
  const line =
    `Untouched: ${total('expected')} rows that the snapshot's refer to: ${total('equal')} equal, ` +
    `${total('changed')} changed by others, ${total('missing')} missing`
  if (untouched.sinceStart === 'not compared') return `${line}.`
  if (untouched.sinceStart === 'same') return `${line}; the same as before the restore.`
  return `${line}. CHANGED since the restore began: ${untouched.changedTables.join(', ')}.`
}

function policyTotals({ tables }: Report): string {
  const totals = new Map<string, number>()
  for (const { policies } of tables) {
    for (const [policy, rows] of Object.entries(policies))
      totals.set(policy, (totals.get(policy) ?? 0) + rows)
  }
  return [...totals].map(([policy, rows]) => `${rows} ${policy}`).join(', ')
}

function verdictLine(report: Report): string {
  const rows = (name: 'expected' | 'explained' | 'different' | 'missing' | 'extra') =>
    report.tables.reduce((sum, table) => sum + table[name], 0)
  switch (report.verdict) {
    case 'complete': {
      const explained =
        rows('explained') === 0 ? '' : ` (differing, for reasons given above: ${rows('explained')})`
      return `COMPLETE: ${rows('expected')} rows and ${report.records.expected} records are back as they were${explained}.`
    }
    case 'incomplete':
      return (
        `INCOMPLETE: rows: ${rows('missing')} missing, ${rows('different')} different, ${rows('extra')} extra; ` +
        `records: ${report.records.missing} missing, ${report.records.different} different${untouchedVerdict(report)}.`
      )
    case 'failed':
      return `FAILED: nothing was shown: ${failureOf(report) ?? 'the report does not say why'}.`
  }
}

function untouchedVerdict({ untouched }: Report): string {
  const missing = untouched.tables.reduce((sum, table) => sum + table.missing, 0)
  const gone = missing === 0 ? '' : `; ${missing} rows missing in tables that a restore never writes`
  return untouched.sinceStart === 'changed'
    ? `${gone}; what must stay untouched changed: ${untouched.changedTables.join(', ')}`
    : gone
}
