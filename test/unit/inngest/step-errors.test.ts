import { NonRetriableError, RetryAfterError } from 'inngest'
import { describe, expect, test } from 'vitest'
import { PdsError, SessionError, UnavailableError } from '../../../src/errors.ts'
import { inngestErrorOf } from '../../../src/inngest/step-errors.ts'

describe('inngestErrorOf', () => {
  test('what will not pass is not retried; message, hint and kind stay, the cause does not', () => {
    const cause = new Error('authorization: Bearer secret')
    const error = inngestErrorOf(new SessionError('The session is dead', { hint: 'Get a new one.', cause }))
    expect(error).toBeInstanceOf(NonRetriableError)
    expect(error).toMatchObject({ name: 'SessionError', message: 'The session is dead. Get a new one.' })
    expect(error).toHaveProperty('cause', undefined)
    expect(inngestErrorOf(new PdsError('Refused.', { error: 'InvalidRequest' }))).toBeInstanceOf(
      NonRetriableError,
    )
  })

  test('what says when is retried then', () => {
    const retryAtMs = Date.UTC(2026, 0, 1)
    const error = inngestErrorOf(new UnavailableError('Later.', { retryAtMs }))
    expect(error).toBeInstanceOf(RetryAfterError)
    expect(error).toMatchObject({ retryAfter: '2026-01-01T00:00:00.000Z' })
  })

  test('what may pass is retried as Inngest sees fit, and so is what is not ours', () => {
    const error = inngestErrorOf(new UnavailableError('Later.'))
    expect(error).not.toBeInstanceOf(NonRetriableError)
    expect(error).not.toBeInstanceOf(RetryAfterError)
    const foreign = new TypeError('fetch failed')
    expect(inngestErrorOf(foreign)).toBe(foreign)
  })
})
