import { setTimeout as sleep } from 'node:timers/promises'
import type { Database } from '../database/client.ts'
import { countDeadLetters } from '../database/dead-letters.ts'
import { messageOf } from '../errors.ts'
import type { Logger } from '../logger.ts'
import type { WaitingCounts } from './metrics.ts'

/** How long a count is good for: a scraper may be an eager one. */
const COUNT_EVERY_MS = 15_000
/** How long a scrape waits for a count. Prometheus gives up after ten seconds, and others sooner. */
const MAX_WAIT_MS = 1000

/**
 * Rows that wait and dead letters, counted at most every fifteen seconds, and one count at a time. The other metrics
 * are wanted most when the database hangs: then what was counted last is given, marked as stale.
 */
export function waitingCounts({
  production,
  logger,
}: {
  production: Database
  logger: Logger
}): () => Promise<WaitingCounts> {
  let counted: WaitingCounts = { parked: undefined, deadLetters: undefined }
  let nextMs = 0
  let counting: Promise<void> | undefined
  const count = async (): Promise<void> => {
    try {
      counted = { ...(await countRows(production)), isStale: false }
    } catch (error) {
      counted = { ...counted, isStale: true }
      logger.warn({ error: messageOf(error) }, 'waiting rows not counted')
    }
    nextMs = Date.now() + COUNT_EVERY_MS
    counting = undefined
  }
  return async () => {
    if (counting === undefined && Date.now() < nextMs) return counted
    counting ??= count()
    const passed = new AbortController()
    const isCounted = await Promise.race([
      counting.then(() => true),
      sleep(MAX_WAIT_MS, false, { signal: passed.signal }),
    ])
    passed.abort()
    return isCounted ? counted : { ...counted, isStale: true }
  }
}

async function countRows(production: Database): Promise<{ parked: number; deadLetters: number }> {
  const answer = await production.client.from('parked_events').select('uri', { count: 'exact', head: true })
  production.check(answer, { table: 'parked_events' })
  return { parked: answer.count ?? 0, deadLetters: await countDeadLetters(production) }
}
