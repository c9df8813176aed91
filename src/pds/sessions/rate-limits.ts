import { XRPCError } from '@atproto/api'
import type { RateLimit } from '../budget.ts'

/** The `RateLimit-*` headers of an answer, whose reset is in seconds since 1970; undefined unless all are there. */
export function rateLimitIn(headers: Headers): RateLimit | undefined {
  const limit = numberIn(headers, 'ratelimit-limit')
  const remaining = numberIn(headers, 'ratelimit-remaining')
  const resetSeconds = numberIn(headers, 'ratelimit-reset')
  const window = /(?:^|;)\s*w=(\d+)/.exec(headers.get('ratelimit-policy') ?? '')?.[1]
  if (limit === undefined || remaining === undefined || resetSeconds === undefined || window === undefined)
    return undefined
  return { limit, remaining, resetMs: resetSeconds * 1000, windowSeconds: Number(window) }
}

/** What the host said of its limits in the answer that became this error, if it did. */
export function rateLimitOf(error: unknown): RateLimit | undefined {
  for (let at = error; at instanceof Error; at = at.cause) {
    if (at instanceof XRPCError) return rateLimitIn(headersOf(at))
  }
  return undefined
}

/** Headers as @atproto/api hands them out. */
export function headersOf({
  headers,
}: {
  headers?: Record<string, string | undefined> | undefined
}): Headers {
  return new Headers(
    Object.entries(headers ?? {}).filter((entry): entry is [string, string] => entry[1] !== undefined),
  )
}

function numberIn(headers: Headers, name: string): number | undefined {
  const value = headers.get(name)
  return value !== null && /^\d+$/.test(value) ? Number(value) : undefined
}
