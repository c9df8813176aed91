const UNIT_MS: Readonly<Record<string, number>> = {
  w: 604_800_000,
  d: 86_400_000,
  h: 3_600_000,
  m: 60_000,
  s: 1000,
}

/** Milliseconds of a sleep: `1d2h3m4s`, or the time left until an ISO date; 0 for a date that has passed. */
export function durationMs(text: string, nowMs: number): number {
  if (/^(\d+[wdhms])+$/.test(text)) {
    return [...text.matchAll(/(\d+)([wdhms])/g)].reduce(
      (sum, [, count, unit]) => sum + Number(count) * (UNIT_MS[unit ?? ''] ?? 0),
      0,
    )
  }
  const untilMs = /^\d{4}-\d\d-\d\dT/.test(text) ? Date.parse(text) : Number.NaN
  if (Number.isNaN(untilMs)) throw new Error(`Not a duration or date of Inngest: ${text}`)
  return Math.max(0, untilMs - nowMs)
}
