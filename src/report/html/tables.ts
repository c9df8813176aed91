import type { Report, ReportTable } from '../report.ts'
import { html, type Markup } from './markup.ts'

const CLASSES = ['expected', 'equal', 'explained', 'different', 'missing', 'extra'] as const
const BAR_WIDTH = 200
const BAR_HEIGHT = 8

/** Per table: how many of the backup's rows there were, before and after, and what each was found to be. */
export function tablesSection(report: Report): Markup {
  const atStart = new Map(report.run?.tables.map((table) => [table.table, table.atStart]))
  const hasStart = report.run !== undefined
  const legend = hasStart
    ? 'Bars: the rows of the backup; of these, the rows that were there when the restore began; and those that are there now.'
    : 'Bars: the rows of the backup, and of these the rows that are there now.'
  return html`<section id="tables"><h2>Tables</h2>
<p>${legend}</p>
<div class="scroll" tabindex="0" role="region" aria-label="Tables"><table>
<thead><tr><th scope="col">table</th><th scope="col">before, lost, now</th>${CLASSES.map((name) => html`<th scope="col" class="number">${name}</th>`)}</tr></thead>
<tbody>${report.tables.map(
    (table) =>
      html`<tr><th scope="row">${table.table}</th><td>${barsOf(table, atStart.get(table.table))}</td>${CLASSES.map((name) => html`<td class="number ${table[name] > 0 ? name : 'none'}">${table[name]}</td>`)}</tr>`,
  )}</tbody>
</table></div>
</section>`
}

function barsOf(table: ReportTable, atStart: number | undefined): Markup {
  const now = table.expected - table.missing
  const bars: [name: string, count: number][] = [
    ['before', table.expected],
    ...(atStart === undefined ? [] : [['lost', atStart] as [string, number]]),
    ['now', now],
  ]
  const said = [
    `${table.expected} rows in the backup`,
    ...(atStart === undefined ? [] : [`${atStart} left when the restore began`]),
    `${now} now`,
  ].join(', ')
  const height = bars.length * (BAR_HEIGHT + 2)
  return html`<svg class="bars" role="img" aria-label="${said}" width="${BAR_WIDTH}" height="${height}" viewBox="0 0 ${BAR_WIDTH} ${height}"><title>${said}</title>${bars.map(
    ([name, count], index) =>
      html`<rect class="rail" x="0" y="${index * (BAR_HEIGHT + 2)}" width="${BAR_WIDTH}" height="${BAR_HEIGHT}"/><rect class="bar ${name}" x="0" y="${index * (BAR_HEIGHT + 2)}" width="${widthOf(count, table.expected)}" height="${BAR_HEIGHT}"/>`,
  )}</svg>`
}

function widthOf(count: number, of: number): number {
  if (of === 0 || count === 0) return 0
  return Math.max(1, Math.round((count / of) * BAR_WIDTH))
}
