import { lossCount, lossesOf } from '../losses.ts'
import type { Report } from '../report.ts'
import { html, type Markup } from './markup.ts'

/** More than these nobody reads here: the JSON has them all. */
const MAX_LISTED = 500

/** What did not come back and why: what is missing first. */
export function lossesSection(report: Report): Markup {
  const count = lossCount(report)
  const changed = report.untouched.changedTables
  if (count === 0 && changed.length === 0)
    return html`<section id="losses"><h2>What is not as it was</h2><p>Nothing.</p></section>`
  const listed = lossesOf(report).slice(0, MAX_LISTED)
  const left = count - listed.length
  return html`<section id="losses"><h2>What is not as it was</h2>
${changed.length > 0 ? html`<p class="warning">Changed while the restore ran, although a restore never writes there: ${changed.join(', ')}.</p>` : undefined}
${
  count > 0
    ? html`<div class="scroll" tabindex="0" role="region" aria-label="What is not as it was"><table>
<thead><tr><th scope="col">How</th><th scope="col">Where</th><th scope="col">Which</th><th scope="col">Why</th></tr></thead>
<tbody>${listed.map(({ kind, where, id, why }) => html`<tr><td class="${kind}">${kind}</td><td>${where}</td><td class="id">${id}</td><td>${why}</td></tr>`)}</tbody>
</table></div>`
    : undefined
}
${left > 0 ? html`<p>And ${left} more, which the JSON report counts.</p>` : undefined}
</section>`
}
