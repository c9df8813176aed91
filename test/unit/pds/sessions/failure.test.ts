import { XRPCError } from '@atproto/api'
import { TokenRefreshError } from '@atproto/oauth-client-node'
import { expect, test } from 'vitest'
import { UnavailableError } from '../../../../src/errors.ts'
import { failureOf, openFailureOf } from '../../../../src/pds/sessions/failure.ts'

const did = 'did:plc:abc'
const owner = { did, renewHint: 'Log in.' }

test.each([
  [401, 'invalid_token', 'SessionError', 2],
  [403, 'ScopeMissingError', 'SessionError', 2],
  [400, 'ExpiredToken', 'SessionError', 2],
  [400, 'AccountDeactivated', 'SessionError', 2],
  [400, 'InvalidSwap', 'PdsError', 3],
  [413, 'PayloadTooLarge', 'PdsError', 3],
  [429, 'RateLimitExceeded', 'UnavailableError', 75],
  [500, 'InternalServerError', 'UnavailableError', 75],
  [1, 'Unknown', 'UnavailableError', 75],
])('%i %s is a %s', (status, error, name, exitCode) => {
  const failure = failureOf(owner, new XRPCError(status, error, 'so it says'))
  expect(failure).toMatchObject({ name, exitCode, did })
  if (name === 'SessionError') expect(failure.hint).toMatch(/^Log in\. /)
})

test('a host that limits is asked again when it says, and not at once when it does not', () => {
  const told = failureOf(owner, new XRPCError(429, 'RateLimitExceeded', '', { 'retry-after': '5' }))
  const untold = failureOf(owner, new XRPCError(429, 'RateLimitExceeded', ''))
  expect((told.retryAtMs ?? 0) - Date.now()).toBeLessThanOrEqual(5000)
  expect((untold.retryAtMs ?? 0) - Date.now()).toBeGreaterThan(50_000)
})

test('what lies under the errors of libraries decides', () => {
  const dead = new TokenRefreshError(did, 'Session expired')
  expect(failureOf(owner, XRPCError.from(dead))).toMatchObject({
    name: 'SessionError',
    message: expect.stringContaining('Session expired'),
  })
  const away = new UnavailableError('the host does not answer')
  expect(failureOf(owner, XRPCError.from(away))).toBe(away)
  expect(failureOf(owner, new AggregateError([away], 'Failed to store session'))).toBe(away)
})

test('when a session is opened, only trouble of the network may pass', () => {
  expect(openFailureOf(owner, new Error('nobody has logged in'))).toMatchObject({ name: 'SessionError' })
  expect(openFailureOf(owner, new TypeError('fetch failed'))).toMatchObject({ name: 'UnavailableError' })
  expect(openFailureOf(owner, new XRPCError(502, 'UpstreamFailure'))).toMatchObject({
    name: 'UnavailableError',
  })
})
