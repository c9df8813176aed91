import { afterEach, beforeEach, expect, test, vi } from 'vitest'
import { createMetrics } from '../../../src/cli/metrics.ts'
import { waitingCounts } from '../../../src/cli/waiting-counts.ts'
import { openDatabase } from '../../../src/database/client.ts'
import { newLiveStatus } from '../../../src/firehose/live.ts'
import { silentLogger } from '../../../src/logger.ts'

/** What the database does with a request. */
let answer: () => Promise<Response>
beforeEach(() => {
  vi.useFakeTimers({ toFake: ['Date'] })
  vi.stubGlobal('fetch', () => answer())
})
afterEach(() => {
  vi.useRealTimers()
  vi.unstubAllGlobals()
})
const counted = async () => new Response(null, { headers: { 'content-range': '0-0/3' } })
const counts = () =>
  waitingCounts({
    production: openDatabase({ url: 'http://db.example', serviceKey: 'sb_secret_x', label: 'production' }),
    logger: silentLogger,
  })

test('a database that hangs is not waited for: what was counted last is said, and that it is stale', async () => {
  answer = counted
  const waiting = counts()
  const metrics = createMetrics({ status: newLiveStatus(), outcomes: () => undefined, waiting })
  expect(await metrics.render()).toMatch(/^firehose_replay_database_counts_stale 0$/m)
  answer = () => new Promise(() => undefined)
  vi.setSystemTime(Date.now() + 60_000)
  const startMs = performance.now()
  const text = await metrics.render()
  expect(performance.now() - startMs).toBeLessThan(2000)
  expect(text).toMatch(/^firehose_replay_parked 3$/m)
  expect(text).toMatch(/^firehose_replay_dead_letters 3$/m)
  expect(text).toMatch(/^firehose_replay_database_counts_stale 1$/m)
})

test('of one that has never answered nothing is said but that', async () => {
  answer = () => Promise.reject(new TypeError('away'))
  expect(await counts()()).toEqual({ parked: undefined, deadLetters: undefined, isStale: true })
})
