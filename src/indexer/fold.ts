import type { RecordDelete, RecordEvent } from '../events.ts'

/** The last word about a record, and the delete that came before it in the same batch, if one did. */
export type FoldedEvent = RecordEvent & { replacedDelete?: RecordDelete }

/**
 * The last word about each record, in the order in which records were first named. Handlers are functions of the
 * current record, so what an event replaced within the same batch never has to reach the database; and Postgres
 * refuses to upsert one row twice in a statement.
 *
 * Events of one repo arrive in order; where sources are mixed the greater rev wins, and the later of equals (several
 * operations on one record in one commit).
 */
export function foldEvents(events: readonly RecordEvent[]): FoldedEvent[] {
  const last = new Map<string, FoldedEvent>()
  for (const event of events) {
    const uri = event.uri.toString()
    const known = last.get(uri)
    if (known === undefined) last.set(uri, event)
    else if (event.rev >= known.rev) last.set(uri, completed(event, known))
  }
  return [...last.values()]
}

/**
 * What only the event before it knew: that the record is new, or what a delete deleted; and that there was a delete,
 * which takes the rows where the new record brings none.
 */
function completed(event: RecordEvent, before: FoldedEvent): FoldedEvent {
  if (event.event !== 'delete') {
    const deleted = before.event === 'delete' ? before : before.replacedDelete
    const isNew = event.event === 'update' && before.event === 'create'
    return { ...event, ...(isNew && { event: 'create' }), ...(deleted && { replacedDelete: deleted }) }
  }
  if (event.prev !== undefined) return event
  const prev = before.event === 'delete' ? before.prev : before.cid
  return prev === undefined ? event : { ...event, prev }
}
