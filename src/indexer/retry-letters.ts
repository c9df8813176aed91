import type { Database } from '../database/client.ts'
import { type DeadLetter, deleteDeadLetters } from '../database/dead-letters.ts'
import { messageOf, VerificationError } from '../errors.ts'
import type { AppView, EventOutcome, RecordEvent } from '../events.ts'
import { type AppliedEvent, applyEvents } from './apply.ts'
import { handlersOf } from './batch.ts'
import { foldEvents } from './fold.ts'
import { parseEvent } from './letter-event.ts'

/** What became of a letter. It is gone unless its outcome is `dead-lettered`. */
export interface RetriedLetter {
  id: number
  uri: string
  outcome: EventOutcome
  reason?: string
}

/**
 * Applies the events of letters once more, without side effects, and removes the letters of those that ended in
 * another outcome. An event that the index has overtaken is stale, and its letter goes too.
 *
 * @param letters about records; those about a whole repo, or about a row that waited, hold no event
 * @throws UnavailableError when the database stays away: what was not said to be applied still has its letter
 */
export async function retryDeadLetters(
  database: Database,
  appview: AppView,
  letters: readonly DeadLetter[],
): Promise<RetriedLetter[]> {
  const handlers = handlersOf(appview)
  const read = letters.map((letter) => ({ letter, event: readEvent(letter) }))
  const events = read.flatMap(({ event }) =>
    // Without a handler it would count as none of our business, and its letter would go.
    typeof event !== 'string' && handlers.has(event.collection) ? [event] : [],
  )
  const applied = new Map<string, AppliedEvent>()
  for (const outcome of await applyEvents(database, handlers, foldEvents(events))) {
    applied.set(outcome.event.uri.toString(), outcome)
  }
  const retried = read.map(({ letter, event }) => retriedOf(letter, event, applied.get(letter.uri)))
  await deleteDeadLetters(
    database,
    retried.filter(({ outcome }) => outcome !== 'dead-lettered').map(({ id }) => id),
  )
  return retried
}

/** The letter's event, or why it has none. */
function readEvent({ event }: DeadLetter): RecordEvent | string {
  try {
    return parseEvent(event)
  } catch (error) {
    if (error instanceof VerificationError) return messageOf(error)
    throw error
  }
}

function retriedOf(
  { id, uri }: DeadLetter,
  event: RecordEvent | string,
  applied: AppliedEvent | undefined,
): RetriedLetter {
  const kept = { id, uri, outcome: 'dead-lettered' } as const
  if (typeof event === 'string') return { ...kept, reason: event }
  if (applied === undefined) {
    return { ...kept, reason: `The appview's description has no handler for ${event.collection}.` }
  }
  const { outcome, reason, event: last } = applied
  const said = reason === undefined ? {} : { reason }
  // Two letters about one record: the newer one was applied, and has overtaken the other.
  if (outcome !== 'dead-lettered' && last.rev > event.rev) return { id, uri, outcome: 'stale' }
  return { id, uri, outcome, ...said }
}
