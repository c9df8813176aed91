import { setTimeout as sleep } from 'node:timers/promises'
import { expect, test, vi } from 'vitest'
import { createDidCache } from '../../../src/network/did-cache.ts'

const docOf = (id: string) => ({ id })

test('keeps as many documents as it may, those used last', async () => {
  const cache = createDidCache({ maxEntries: 2 })
  await cache.cacheDid('a', docOf('a'))
  await cache.cacheDid('b', docOf('b'))
  await cache.checkCache('a')
  await cache.cacheDid('c', docOf('c'))
  expect(await cache.checkCache('b')).toBeNull()
  expect(await cache.checkCache('a')).toMatchObject({
    did: 'a',
    doc: { id: 'a' },
    stale: false,
    expired: false,
  })
})

test('says when a document is stale, and when it no longer serves', async () => {
  const cache = createDidCache({ staleMs: 10, maxAgeMs: 1000 })
  vi.useFakeTimers({ toFake: ['Date'] })
  try {
    await cache.cacheDid('a', docOf('a'))
    vi.advanceTimersByTime(11)
    expect(await cache.checkCache('a')).toMatchObject({ stale: true, expired: false })
    vi.advanceTimersByTime(1000)
    expect(await cache.checkCache('a')).toMatchObject({ expired: true })
  } finally {
    vi.useRealTimers()
  }
})

test('refreshes a stale document without anyone waiting for it, once', async () => {
  const cache = createDidCache()
  await cache.cacheDid('a', docOf('old'))
  const answer = Promise.withResolvers<{ id: string }>()
  const fetchDoc = vi.fn(() => answer.promise)
  await cache.refreshCache('a', fetchDoc)
  await cache.refreshCache('a', fetchDoc)
  expect(fetchDoc).toHaveBeenCalledTimes(1)
  expect((await cache.checkCache('a'))?.doc.id).toBe('old')
  answer.resolve(docOf('new'))
  await sleep(1)
  expect((await cache.checkCache('a'))?.doc.id).toBe('new')
})

test('a directory that is away leaves the document at hand; one that knows the DID no more takes it away', async () => {
  const cache = createDidCache()
  await cache.cacheDid('a', docOf('a'))
  await cache.refreshCache('a', () => Promise.reject(new Error('away')))
  await sleep(1)
  expect((await cache.checkCache('a'))?.doc.id).toBe('a')
  await cache.refreshCache('a', async () => null)
  await sleep(1)
  expect(await cache.checkCache('a')).toBeNull()
})

test('forgets one, or all', async () => {
  const cache = createDidCache()
  for (const did of ['a', 'b', 'c']) await cache.cacheDid(did, docOf(did))
  await cache.clearEntry('a')
  expect(await cache.checkCache('a')).toBeNull()
  expect(await cache.checkCache('b')).not.toBeNull()
  await cache.clear()
  expect(await cache.checkCache('b')).toBeNull()
})
