import { ROW_OUTCOMES, type RowOutcome } from '../../events.ts'
import type { Report } from '../report.ts'
import { html, type Markup } from './markup.ts'

const WIDTH = 640
const NODE_WIDTH = 12
const BANDS_HEIGHT = 220
const GAP = 26
/** Of a band, so that one row among thousands can still be seen. */
const MIN_BAND = 2

/** What each outcome means, in the words of the legend. */
const MEANINGS: Record<RowOutcome, string> = {
  restored: 'brought back from the backup',
  filled: 'a column that the incident emptied was filled',
  unchanged: 'had never gone, or was back already',
  kept: 'changed by somebody since the backup, and left so',
  derived: 'made again from the records by the replay',
  withdrawn: 'its author has withdrawn it since',
  blocked: 'what it hangs on is missing',
  conflict: 'its place is taken by another row',
  'trigger-kept': 'kept by a trigger of the appview',
  failed: 'the database refused it',
}

interface Band {
  outcome: RowOutcome
  count: number
  height: number
  leftY: number
  rightY: number
}

/** How many rows took which way from the snapshot to their outcome. */
export function waysSection({ run }: Report): Markup | undefined {
  if (run === undefined) return undefined
  const counts = ROW_OUTCOMES.map(
    (outcome) =>
      [outcome, run.tables.reduce((sum, table) => sum + (table.outcomes[outcome] ?? 0), 0)] as const,
  ).filter(([, count]) => count > 0)
  const total = counts.reduce((sum, [, count]) => sum + count, 0)
  if (total === 0) return undefined
  const bands = layOut(counts, total)
  const height = Math.max(...bands.map((band) => band.rightY + band.height)) + 12
  return html`<section id="ways"><h2>Which way each row took</h2>
<svg class="ways" role="img" aria-label="${total} rows of the snapshot: ${counts.map(([outcome, count]) => `${count} ${outcome}`).join(', ')}" width="${WIDTH}" height="${height}" viewBox="0 0 ${WIDTH} ${height}">
<rect class="node" x="0" y="8" width="${NODE_WIDTH}" height="${bands.reduce((sum, band) => sum + band.height, 0)}"/>
${bands.map(
  ({ outcome, leftY, rightY, height: tall }) =>
    html`<path class="band ${outcome}" d="${pathOf(leftY, rightY, tall)}"/><rect class="node ${outcome}" x="${WIDTH / 2}" y="${rightY}" width="${NODE_WIDTH}" height="${tall}"/>`,
)}
${bands.map(({ outcome, count, rightY, height: tall }) => html`<text x="${WIDTH / 2 + NODE_WIDTH + 8}" y="${rightY + tall / 2 + 4}">${count} ${outcome}</text>`)}
</svg>
<dl class="legend">${counts.map(([outcome, count]) => html`<div><dt>${count} ${outcome}</dt><dd>${MEANINGS[outcome]}</dd></div>`)}</dl>
</section>`
}

function layOut(counts: readonly (readonly [RowOutcome, number])[], total: number): Band[] {
  let leftY = 8
  let rightY = 8
  return counts.map(([outcome, count]) => {
    const height = Math.max(MIN_BAND, (count / total) * BANDS_HEIGHT)
    const band = { outcome, count, height, leftY, rightY }
    leftY += height
    // Labels have a line each, however thin their bands are.
    rightY += Math.max(height + 8, GAP)
    return band
  })
}

function pathOf(leftY: number, rightY: number, height: number): string {
  const from = NODE_WIDTH
  const to = WIDTH / 2
  const middle = (from + to) / 2
  return [
    `M${from},${leftY}`,
    `C${middle},${leftY} ${middle},${rightY} ${to},${rightY}`,
    `L${to},${rightY + height}`,
    `C${middle},${rightY + height} ${middle},${leftY + height} ${from},${leftY + height}Z`,
  ].join('')
}
