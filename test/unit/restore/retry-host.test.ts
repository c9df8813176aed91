import { expect, test, vi } from 'vitest'
import { PdsError, UnavailableError } from '../../../src/errors.ts'
import { HostPatience, retryingHost } from '../../../src/restore/retry-host.ts'

const { signal } = new AbortController()
const quick = { signal, firstDelayMs: 1 }

test('one answer of 503 is asked again', async () => {
  const act = vi.fn(async () => 'replayed').mockRejectedValueOnce(new UnavailableError('503'))
  expect(await retryingHost(act, quick)).toBe('replayed')
  expect(act).toHaveBeenCalledTimes(2)
})

test('not before the moment that the host named', async () => {
  const retryAtMs = Date.now() + 150
  const act = vi.fn(async () => Date.now()).mockRejectedValueOnce(new UnavailableError('429', { retryAtMs }))
  expect(await retryingHost(act, quick)).toBeGreaterThanOrEqual(retryAtMs)
})

test('a moment that is too far away, and what does not pass, are thrown at once', async () => {
  for (const error of [
    new UnavailableError('429', { retryAtMs: Date.now() + 3_600_000 }),
    new PdsError('no such repo', { error: 'RepoNotFound' }),
  ]) {
    const act = vi.fn(() => Promise.reject(error))
    await expect(retryingHost(act, quick)).rejects.toBe(error)
    expect(act).toHaveBeenCalledTimes(1)
  }
})

test('ends with its signal, while it waits for the moment', async () => {
  const stop = new AbortController()
  const error = new UnavailableError('429', { retryAtMs: Date.now() + 60_000 })
  const waiting = retryingHost(() => Promise.reject(error), { firstDelayMs: 1, signal: stop.signal })
  setTimeout(() => stop.abort(), 20)
  await expect(waiting).rejects.toBeDefined()
})

test('a host that stays away is waited for once, not for each of its accounts', async () => {
  const patience = new HostPatience()
  const away = vi.fn(() => Promise.reject(new UnavailableError('away')))
  const options = { ...quick, attempts: 3 }
  await expect(patience.run('a', away, options)).rejects.toThrow('away')
  await expect(patience.run('a', away, options)).rejects.toThrow('away')
  await expect(patience.run('b', away, options)).rejects.toThrow('away')
  expect(away).toHaveBeenCalledTimes(3 + 1 + 3)
})

test('a host that is back is waited for again', async () => {
  const patience = new HostPatience()
  const options = { ...quick, attempts: 2 }
  const away = vi.fn(() => Promise.reject(new UnavailableError('away')))
  await expect(patience.run('a', away, options)).rejects.toThrow('away')
  expect(await patience.run('a', async () => 1, options)).toBe(1)
  await expect(patience.run('a', away, options)).rejects.toThrow('away')
  expect(away).toHaveBeenCalledTimes(4)
})
