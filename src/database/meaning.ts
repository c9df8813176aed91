import { canonicalJson, canonicalNumber } from './json.ts'

/**
 * A form of a column's text that is equal for values that mean the same: instants whatever their zone, JSON whatever
 * the order of its keys, numbers whatever their digits. Everything else is its own text; NULL is only NULL.
 *
 * @param type as `format_type` names it, e.g. `timestamp with time zone`
 */
export function meaningOf(text: string | null, type: string): string | null {
  if (text === null) return null
  if (type === 'json' || type === 'jsonb') return canonicalJson(text)
  if (/^timestamp(\(\d\))? with time zone$/.test(type)) return canonicalInstant(text)
  if (/^(numeric|real|double precision|smallint|integer|bigint)/.test(type) && !type.endsWith('[]')) {
    return canonicalNumber(text)
  }
  return text
}

/**
 * Microseconds since 1970 as text: `2026-02-14 10:00:00.123456+01`, with Postgres' short zones. A Date holds
 * milliseconds only, so the fraction is kept apart.
 */
export function canonicalInstant(text: string): string {
  const match =
    /^(\d{4,})-(\d\d)-(\d\d)[ T](\d\d:\d\d:\d\d)(?:\.(\d{1,6}))?(Z|[+-]\d\d(?::?\d\d)?(?::\d\d)?)$/.exec(text)
  if (match === null) return text // infinity, years before Christ
  const [, year = '', month = '', day = '', time = '', fraction = '', zone = 'Z'] = match
  // Six digits and a sign are how a Date takes years after 9999.
  const ms = Date.parse(`+${year.padStart(6, '0')}-${month}-${day}T${time}Z`)
  if (Number.isNaN(ms)) return text // years that a Date does not reach
  // Counted up from whole seconds in either direction would put 23:59:59.5 of 1969 before 23:59:59.
  const micros = BigInt(ms / 1000 - zoneSeconds(zone)) * 1_000_000n + BigInt(fraction.padEnd(6, '0'))
  return micros.toString()
}

function zoneSeconds(zone: string): number {
  if (zone === 'Z') return 0
  const [hours = 0, minutes = 0, seconds = 0] = (zone.slice(1).match(/\d\d/g) ?? []).map(Number)
  return (zone.startsWith('-') ? -1 : 1) * (hours * 3600 + minutes * 60 + seconds)
}
