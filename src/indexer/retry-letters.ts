import type { Database } from '../database/client.ts'
import { type DeadLetter, deleteLettersAsRead, HANDLER } from '../database/dead-letters.ts'
import { EXIT, messageOf, ReplayError, VerificationError } from '../errors.ts'
import type { AppView, EventOutcome, EventSink, RecordEvent } from '../events.ts'
import { type AppliedEvent, applyEvents } from './apply.ts'
import { handlersOf } from './batch.ts'
import { writeDeadLetters } from './dead-letters.ts'
import { foldEvents } from './fold.ts'
import { parseEvent } from './letter-event.ts'

/** What became of a letter. It is gone unless its outcome is `dead-lettered`. */
export interface RetriedLetter {
  /** Of the letter that there is now, where the event failed anew under another one. */
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
  // Rows that waited again, and were refused when what they waited for came later in the same batch.
  const lost = new Set<string>()
  const onLost = (uri: string) => lost.add(uri)
  for (const one of await applyEvents(database, handlers, foldEvents(events), { onLost })) {
    const uri = one.event.uri.toString()
    applied.set(
      uri,
      lost.has(uri) ? { ...one, outcome: 'dead-lettered', reason: 'Its row was refused again.' } : one,
    )
  }
  const retried = read.map(({ letter, event }) => retriedOf(letter, event, applied.get(letter.uri)))
  await deleteLettersAsRead(
    database,
    letters.filter((_, n) => retried[n]?.outcome !== 'dead-lettered'),
  )
  return retried
}

/**
 * Gives the events of letters to an operator's own consumer once more, one after the other, and removes the letters of
 * those that it takes.
 *
 * @throws what fails the sink as a whole (a wrong key, a host that is away), as live ingestion does
 */
export async function retryInSink(
  database: Database,
  sink: EventSink,
  letters: readonly DeadLetter[],
): Promise<RetriedLetter[]> {
  const retried: RetriedLetter[] = []
  for (const letter of letters) {
    const { id, uri } = letter
    const reason = await refusalOf(database, sink, letter)
    if (reason === undefined) await deleteLettersAsRead(database, [letter])
    retried.push(
      reason === undefined ? { id, uri, outcome: 'applied' } : { id, uri, outcome: 'dead-lettered', reason },
    )
  }
  return retried
}

/** Why the sink does not take the letter's event; undefined: it has. */
async function refusalOf(
  database: Database,
  sink: EventSink,
  letter: DeadLetter,
): Promise<string | undefined> {
  const event = readEvent(letter)
  if (typeof event === 'string') return event
  try {
    await sink.handle(event)
    await sink.flush()
    return undefined
  } catch (error) {
    if (error instanceof ReplayError && error.exitCode !== EXIT.failed) throw error
    await writeDeadLetters(database, [{ event, code: HANDLER, error: messageOf(error) }])
    return reasonOf(error)
  }
}

/** With what to do next, where the error says so. */
export function reasonOf(error: unknown): string {
  const hint = error instanceof ReplayError ? error.hint : undefined
  return hint === undefined ? messageOf(error) : `${messageOf(error)} ${hint}`
}

/** The letter's event, or why it has none. */
function readEvent({ event }: DeadLetter): RecordEvent | string {
  try {
    return parseEvent(event)
  } catch (error) {
    if (error instanceof VerificationError) return reasonOf(error)
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
