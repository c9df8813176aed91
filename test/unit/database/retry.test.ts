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
