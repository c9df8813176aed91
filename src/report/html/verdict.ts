import { lossCount } from '../losses.ts'
import { failureOf, type Report } from '../report.ts'
import { html, type Markup } from './markup.ts'

/** The verdict in a sentence that needs no knowledge of databases. */
export function verdictSection(report: Report): Markup {
  return html`<p class="kicker">${report.did}</p>
<h1 class="verdict ${report.verdict}"><span class="mark" aria-hidden="true"></span>${HEADINGS[report.verdict]}</h1>
<p class="lead" id="verdict">${sentenceOf(report)}</p>
<dl class="facts">
${fact('records back', `${report.records.equal} of ${report.records.expected}`)}
${fact('with the CID they had', report.records.identicalCid)}
${fact('CID proven from outside', report.records.proven)}
${fact('rows as they were', rowsOf(report, 'equal'))}
${fact('differing for a known reason', rowsOf(report, 'explained'))}
${fact('rows nobody could verify', report.unverified)}
</dl>`
}

const HEADINGS = { complete: 'Complete', incomplete: 'Incomplete', failed: 'Nothing shown' } as const

function sentenceOf(report: Report): string {
  const rows = rowsOf(report, 'expected')
  switch (report.verdict) {
    case 'complete':
      return `Everything that the backup held of this account is back: ${report.records.expected} records and ${rows} rows, each compared with the backup.`
    case 'incomplete': {
      const count = lossCount(report)
      const what =
        count === 1 ? '1 thing is' : count === 0 ? 'something outside the restore is' : `${count} things are`
      return `Of the ${report.records.expected} records and ${rows} rows that the backup held of this account, ${what} not as they were. The list below says which and why.`
    }
    case 'failed':
      return `This comparison shows nothing about the account: ${failureOf(report) ?? 'the report does not say why'}.`
  }
}

function fact(name: string, value: string | number): Markup {
  return html`<div><dt>${name}</dt><dd>${value}</dd></div>`
}

function rowsOf({ tables }: Report, name: 'expected' | 'equal' | 'explained'): number {
  return tables.reduce((sum, table) => sum + table[name], 0)
}
