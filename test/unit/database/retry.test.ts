import { expect, test } from 'vitest'
import { retrying } from '../../../src/database/retry.ts'
import { DatabaseError, UnavailableError } from '../../../src/errors.ts'

/** Throws these one after the other, then answers. */
function failing(...errors: Error[]) {
  const calls = { count: 0 }
  const act = async () => {
    calls.count++
    const error = errors.shift()
    if (error !== undefined) throw error
    return 'done'
  }
  return { calls, act }
}
const away = () => new UnavailableError('away')

test('what may pass is tried again', async () => {
  const { act, calls } = failing(away(), away())
  expect(await retrying(act, { firstDelayMs: 1 })).toBe('done')
  expect(calls.count).toBe(3)
})

test('the last failure is thrown, after as many attempts as said', async () => {
  const { act, calls } = failing(away(), away(), away(), away())
  await expect(retrying(act, { attempts: 3, firstDelayMs: 1 })).rejects.toThrow('away')
  expect(calls.count).toBe(3)
})

test.each([new DatabaseError('no', { code: '23514' }), new TypeError('a bug')])(
  '%s is not',
  async (error) => {
    const { act, calls } = failing(error)
    await expect(retrying(act, { firstDelayMs: 1 })).rejects.toBe(error)
    expect(calls.count).toBe(1)
  },
)

test('what is not worth waiting for is thrown early', async () => {
  const { act, calls } = failing(away(), away(), away())
  const giveUpOn = (_: unknown, attempt: number) => attempt >= 2
  await expect(retrying(act, { firstDelayMs: 1, giveUpOn })).rejects.toThrow('away')
  expect(calls.count).toBe(2)
})

test('no delay is longer than said', async () => {
  const { act, calls } = failing(...Array.from({ length: 30 }, away))
  const startMs = Date.now()
  expect(await retrying(act, { attempts: 40, firstDelayMs: 1, maxDelayMs: 2 })).toBe('done')
  expect(calls.count).toBe(31)
  expect(Date.now() - startMs).toBeLessThan(2_000)
})

test('a signal ends the waiting with what failed last', async () => {
  const { act, calls } = failing(away(), away())
  const retried = retrying(act, { firstDelayMs: 60_000, signal: AbortSignal.timeout(20) })
  await expect(retried).rejects.toThrow('away')
  expect(calls.count).toBe(1)
})
