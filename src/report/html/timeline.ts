import type { Report } from '../report.ts'
import { html, type Markup } from './markup.ts'

const WIDTH = 640
const LABEL_WIDTH = 90
const ROW_HEIGHT = 24

/** When each phase ran, and for how long. */
export function timelineSection({ run }: Report): Markup | undefined {
  if (run === undefined || run.phases.length === 0) return undefined
  const startMs = Date.parse(run.startedAt)
  const spans = run.phases.map(({ phase, startedAt, seconds }) => ({
    phase,
    seconds,
    offset: (Date.parse(startedAt) - startMs) / 1000,
  }))
  const end = Math.max(...spans.map(({ offset, seconds }) => offset + seconds), 0.001)
  const scale = (WIDTH - LABEL_WIDTH - 80) / end
  const height = spans.length * ROW_HEIGHT
  return html`<section id="timeline"><h2>When</h2>
<p>Began at <time datetime="${run.startedAt}">${run.startedAt}</time>, took ${durationText(end)}.</p>
<svg class="timeline" role="img" aria-label="${spans.map(({ phase, seconds }) => `${phase} ${durationText(seconds)}`).join(', ')}" width="${WIDTH}" height="${height}" viewBox="0 0 ${WIDTH} ${height}">
${spans.map(({ phase, offset, seconds }, index) => {
  const x = LABEL_WIDTH + offset * scale
  const width = Math.max(2, seconds * scale)
  const y = index * ROW_HEIGHT
  return html`<text x="0" y="${y + 16}">${phase}</text><rect class="bar now" x="${x.toFixed(1)}" y="${y + 4}" width="${width.toFixed(1)}" height="${ROW_HEIGHT - 8}"/><text x="${(x + width + 6).toFixed(1)}" y="${y + 16}">${durationText(seconds)}</text>`
})}
</svg></section>`
}

function durationText(seconds: number): string {
  if (seconds < 60) return `${seconds.toFixed(1)} s`
  const minutes = Math.floor(seconds / 60)
  return minutes < 60
    ? `${minutes} min ${Math.round(seconds % 60)} s`
    : `${Math.floor(minutes / 60)} h ${minutes % 60} min`
}
