import { countDeadLetters } from '../database/dead-letters.ts'
import { messageOf } from '../errors.ts'
import type { CliContext } from './context.ts'

const COUNT_EVERY_MS = 15_000

/** Rows that wait and dead letters, counted at most every fifteen seconds: a scraper may be an eager one. */
export function waitingCounts({
  production,
  logger,
}: CliContext): () => Promise<{ parked: number; deadLetters: number }> {
  let counted = { parked: 0, deadLetters: 0 }
  let nextMs = 0
  return async () => {
    if (Date.now() < nextMs) return counted
    nextMs = Date.now() + COUNT_EVERY_MS
    try {
      const answer = await production.client
        .from('parked_events')
        .select('uri', { count: 'exact', head: true })
      production.check(answer, { table: 'parked_events' })
      counted = { parked: answer.count ?? 0, deadLetters: await countDeadLetters(production) }
    } catch (error) {
      // The other metrics are wanted most when the database is away.
      logger.warn({ error: messageOf(error) }, 'waiting rows not counted')
    }
    return counted
  }
}
