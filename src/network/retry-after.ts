/**
 * When a host wants to be asked again: from `Retry-After` (seconds, or a date), else from `RateLimit-Reset` (which a
 * PDS sends as seconds since 1970). Shaped to be spread into an error's context.
 */
export function retryAtMsOf(headers: Headers, nowMs = Date.now()): { retryAtMs?: number } {
  const retryAtMs =
    fromRetryAfter(headers.get('retry-after'), nowMs) ?? fromReset(headers.get('ratelimit-reset'))
  return retryAtMs === undefined ? {} : { retryAtMs }
}

function fromRetryAfter(value: string | null, nowMs: number): number | undefined {
  if (value === null) return undefined
  if (/^\d+$/.test(value)) return nowMs + Number(value) * 1000
  const date = Date.parse(value)
  return Number.isNaN(date) ? undefined : date
}

function fromReset(value: string | null): number | undefined {
  return value !== null && /^\d+$/.test(value) ? Number(value) * 1000 : undefined
}
