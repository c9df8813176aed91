import { XRPCError } from '@atproto/api'
import { expect, test } from 'vitest'
import { UnavailableError } from '../../../../src/errors.ts'
import { rateLimitIn, rateLimitOf } from '../../../../src/pds/sessions/rate-limits.ts'

const HEADERS = {
  'ratelimit-limit': '5000',
  'ratelimit-remaining': '0',
  'ratelimit-reset': '1788220800',
  'ratelimit-policy': '5000;w=3600',
}
const LIMIT = { limit: 5000, remaining: 0, resetMs: 1_788_220_800_000, windowSeconds: 3600 }

test('the headers are read together or not at all', () => {
  expect(rateLimitIn(new Headers(HEADERS))).toEqual(LIMIT)
  for (const name of Object.keys(HEADERS)) {
    const headers = new Headers(HEADERS)
    headers.delete(name)
    expect(rateLimitIn(headers)).toBeUndefined()
    headers.set(name, 'soon')
    expect(rateLimitIn(headers)).toBeUndefined()
  }
})

test('an error has those of the answer that it came from', () => {
  const cause = new XRPCError(429, 'RateLimitExceeded', 'Rate Limit Exceeded', HEADERS)
  expect(rateLimitOf(new UnavailableError('later', { cause }))).toEqual(LIMIT)
  expect(rateLimitOf(new UnavailableError('later'))).toBeUndefined()
  expect(rateLimitOf('later')).toBeUndefined()
})
