import type { Report } from '../report.ts'
import { html, type Markup } from './markup.ts'

export function notesSection({ notes, untouched }: Report): Markup {
  return html`<section id="notes"><h2>Left alone, and notes</h2>
<p>${UNTOUCHED[untouched.sinceStart]}</p>
${
  untouched.tables.length > 0
    ? html`<div class="scroll" tabindex="0" role="region" aria-label="Rows that a restore never writes"><table><thead><tr><th scope="col">table</th><th scope="col" class="number">rows</th><th scope="col" class="number">equal</th><th scope="col" class="number">changed by others</th><th scope="col" class="number">missing</th></tr></thead>
<tbody>${untouched.tables.map((table) => html`<tr><th scope="row">${table.table}</th><td class="number">${table.expected}</td><td class="number">${table.equal}</td><td class="number">${table.changed}</td><td class="number ${table.missing > 0 ? 'missing' : ''}">${table.missing}</td></tr>`)}</tbody></table></div>`
    : undefined
}
${notes.length > 0 ? html`<ul>${notes.map((note) => html`<li>${note}</li>`)}</ul>` : undefined}
</section>`
}

const UNTOUCHED: Record<Report['untouched']['sinceStart'], string> = {
  same: 'The tables that a restore must not touch hold what they held when it began.',
  changed: 'Tables that a restore must not touch have changed since it began.',
  'not compared':
    'Whether other tables changed during a restore was not compared: no restore ran with this comparison.',
}
