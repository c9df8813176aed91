import { createHash } from 'node:crypto'
import type { Report } from '../report.ts'
import { lossesSection } from './losses.ts'
import { html, Markup } from './markup.ts'
import { notesSection } from './notes.ts'
import { recordsSection } from './records.ts'
import { SCRIPT } from './script.ts'
import { STYLE } from './style.ts'
import { tablesSection } from './tables.ts'
import { timelineSection } from './timeline.ts'
import { verdictSection } from './verdict.ts'
import { waysSection } from './ways.ts'

/**
 * The report as one page that needs nothing else: no network, no file beside it. What counts against the verdict
 * comes first. The policy allows this style and this script and nothing more, so that text of a record that slipped
 * through every escape would still not run.
 */
export function renderHtml(report: Report): string {
  const policy = [
    "default-src 'none'",
    `style-src '${digestOf(STYLE)}'`,
    `script-src '${digestOf(SCRIPT)}'`,
    "base-uri 'none'",
    "form-action 'none'",
  ].join('; ')
  const page = html`<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="${policy}">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="referrer" content="no-referrer">
<meta name="color-scheme" content="light dark">
<title>${report.verdict}: restore of ${report.did}</title>
<style>${new Markup(STYLE)}</style>
</head>
<body>
<header>${verdictSection(report)}</header>
<main>
${lossesSection(report)}
${tablesSection(report)}
${waysSection(report)}
${timelineSection(report)}
${recordsSection(report)}
${notesSection(report)}
</main>
<footer><p>Made by firehose-replay at <time datetime="${report.generatedAt}">${report.generatedAt}</time> from backup ${report.backup} and production ${report.production}. Values such as hmac:0123 stand for capabilities and personal values, which this page does not hold.</p></footer>
<script>${new Markup(SCRIPT)}</script>
</body>
</html>
`
  return page.text
}

function digestOf(text: string): string {
  return `sha256-${createHash('sha256').update(text).digest('base64')}`
}
