import { createHash, randomUUID } from 'node:crypto'
import type { WriteRequest } from './request.ts'

/**
 * One attempt to have records written: plain JSON, to be kept where the sender finds it again after a crash.
 *
 * Inngest runs an event's id once in 24 hours, also when that run failed. A new id for each send would be safe, since
 * the function decides by the repo's state, but after a crash a second run would compete with the one that still
 * lives. An id made from the records alone would keep a failed write from being tried again. Hence: the same attempt
 * for as long as it is not known how it ended, a new one as soon as it is.
 */
export interface WriteAttempt {
  id: string
  startedAtMs: number
}

export function newAttempt(nowMs: number = Date.now()): WriteAttempt {
  return { id: randomUUID(), startedAtMs: nowMs }
}

/**
 * The event's own id, by which Inngest knows it again. It covers the request: what is sent under an old attempt but
 * with other records (some have landed meanwhile) is another event, and must not be taken for the first.
 *
 * @param part counts from 1
 */
export function eventIdOf({ id }: WriteAttempt, part: number, request: WriteRequest): string {
  return `${id}-${part}-${createHash('sha256').update(JSON.stringify(request)).digest('hex').slice(0, 16)}`
}

/**
 * What an Inngest server makes its own id of the event from (header x-inngest-event-id-seed: milliseconds and ten
 * bytes). Runs can be found by the server's id only: the same seed gives the same id, so that the runs of an event
 * that was sent before are found again.
 */
export function idSeedOf({ startedAtMs }: WriteAttempt, eventId: string): string {
  const entropy = createHash('sha256').update(eventId).digest().subarray(0, 10)
  return `${startedAtMs},${entropy.toString('base64')}`
}
