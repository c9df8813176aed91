import { escapeText } from '../escape.ts'
import type { Report } from '../report.ts'
import { html, jsonMarkup, type Markup } from './markup.ts'

const COLUMNS = [
  'class',
  'AT-URI',
  'original CID',
  'CID from the snapshot',
  'in the repo',
  'indexed',
  'how it is known',
]

/** Every record with its CIDs. The page's script shows a part of them at a time: ten thousand rows would freeze it. */
export function recordsSection({ records }: Report): Markup {
  const items = records.items.map((item) =>
    [
      item.class,
      item.uri,
      item.originalCid ?? '',
      item.cid ?? '',
      item.repoCid ?? '',
      item.indexedCid ?? '',
      [
        item.proof ?? '',
        item.provenBy ?? '',
        item.policy ?? '',
        item.reason ?? item.differs ?? item.doubt ?? '',
      ]
        .filter((text) => text !== '')
        .join(': '),
    ].map(escapeText),
  )
  return html`<section id="records"><h2>Records</h2>
<p>${records.expected} in the backup: ${records.equal} equal, ${records.explained} explained, ${records.different} different, ${records.missing} missing.</p>
<form id="filter" role="search"><label>Find <input id="find" type="search" autocomplete="off" placeholder="URI, CID or reason"></label>
<label>Show <select id="only"><option value="">all</option>${['missing', 'different', 'explained', 'equal'].map((name) => html`<option>${name}</option>`)}</select></label>
<output id="found" for="find only"></output></form>
<div class="scroll" tabindex="0" role="region" aria-label="Records"><table id="record-table">
<thead><tr>${COLUMNS.map((name) => html`<th scope="col">${name}</th>`)}</tr></thead><tbody></tbody></table></div>
<p class="pages"><button type="button" id="previous">Previous</button> <span id="page"></span> <button type="button" id="next">Next</button></p>
<noscript><p>The list of records needs JavaScript; report.json holds the same.</p></noscript>
<script type="application/json" id="record-data">${jsonMarkup(items)}</script>
</section>`
}
