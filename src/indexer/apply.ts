import { z } from 'zod'
import type { Database } from '../database/client.ts'
import { retrying } from '../database/retry.ts'
import { DatabaseError } from '../errors.ts'
import type { EventOutcome, RecordEvent } from '../events.ts'
import { type Batch, type Handlers, planBatch } from './batch.ts'
import { writeDeadLetters } from './dead-letters.ts'

const answerShape = z.object({
  stale: z.array(z.string()),
  changed: z.array(z.string()),
  parked: z.array(z.string()),
  marked: z.array(z.string()),
})

export interface AppliedEvent {
  event: RecordEvent
  outcome: EventOutcome
  /** Why, where the outcome is not the record's own doing. */
  reason?: string
  /** The record is one that a restore wrote back: no side effects for it. */
  marked: boolean
}

/**
 * Applies events, one per record, and says what became of each. A batch that the database refuses is halved until
 * the record that it refuses stands alone; that one becomes a dead letter, the others are applied.
 *
 * @throws UnavailableError when the database stays away through all attempts: nothing of the batch is lost
 * @throws ConfigError when our functions are missing or the key may not call them
 */
export async function applyEvents(
  database: Database,
  handlers: Handlers,
  events: readonly RecordEvent[],
): Promise<AppliedEvent[]> {
  const { batch, verdicts } = planBatch(events, handlers)
  const answer = await applyBatch(database, batch)
  if (answer instanceof DatabaseError) {
    const [only] = events
    if (events.length > 1) {
      const middle = events.length >> 1
      return [
        ...(await applyEvents(database, handlers, events.slice(0, middle))),
        ...(await applyEvents(database, handlers, events.slice(middle))),
      ]
    }
    if (only === undefined) return []
    await writeDeadLetters(database, [{ event: only, code: answer.code, error: answer.message }])
    return [{ event: only, outcome: 'dead-lettered', reason: answer.message, marked: false }]
  }
  const outcomes = events.map((event) => outcomeOf(event, answer, verdicts.get(event.uri.toString())))
  const lost = outcomes.filter((applied) => applied.outcome === 'dead-lettered')
  await writeDeadLetters(
    database,
    lost.map(({ event, reason }) => ({ event, code: 'UNSTORABLE', error: reason ?? '' })),
  )
  return outcomes
}

interface Answer {
  stale: Set<string>
  changed: Set<string>
  parked: Set<string>
  marked: Set<string>
}

/**
 * Unique and foreign key violations. Our function looks before it writes, so one of these means that another writer
 * was between the look and the write; seen again, its row is there, and who has a contested key is settled.
 */
const RACES = new Set(['23505', '23503'])
const RACE_ATTEMPTS = 5

/** The database's answer, or its refusal as a value: the caller halves the batch. */
async function applyBatch(database: Database, batch: Batch, attempt = 1): Promise<Answer | DatabaseError> {
  if (batch.records.length === 0) {
    return { stale: new Set(), changed: new Set(), parked: new Set(), marked: new Set() }
  }
  try {
    const answer = answerShape.parse(await retrying(() => database.call('firehose_replay_apply', batch)))
    return {
      stale: new Set(answer.stale),
      changed: new Set(answer.changed),
      parked: new Set(answer.parked),
      marked: new Set(answer.marked),
    }
  } catch (error) {
    if (!(error instanceof DatabaseError)) throw error
    return RACES.has(error.code) && attempt < RACE_ATTEMPTS ? applyBatch(database, batch, attempt + 1) : error
  }
}

function outcomeOf(
  event: RecordEvent,
  answer: Answer,
  verdict: { outcome: 'invalid' | 'skipped' | 'unstorable'; reason: string } | undefined,
): AppliedEvent {
  const uri = event.uri.toString()
  const marked = answer.marked.has(uri)
  if (answer.stale.has(uri)) return { event, outcome: 'stale', marked }
  if (verdict?.outcome === 'unstorable') {
    return { event, outcome: 'dead-lettered', reason: verdict.reason, marked }
  }
  if (verdict !== undefined) return { event, outcome: verdict.outcome, reason: verdict.reason, marked }
  if (answer.changed.has(uri)) return { event, outcome: 'applied', marked }
  return { event, outcome: answer.parked.has(uri) ? 'parked' : 'unchanged', marked }
}
