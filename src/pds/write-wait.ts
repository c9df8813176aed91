import { UnavailableError } from '../errors.ts'
import { readyAtMs } from './budget.ts'
import type { Pending } from './pending.ts'
import { pointsOf } from './way.ts'
import { type CallChoice, wayOf } from './write-call.ts'
import type { WriteState, WriteWait } from './write-state.ts'

/** First pause after a rate limit that came again when its time was up; doubled each time. */
const REFUSED_AGAIN_MS = 60_000
/** One to 32 minutes: together an hour, the longest that a host which never says when can mean by its hourly limit. */
const MAX_REFUSALS = 7
/** A day's limit, and some time for clocks that differ. */
const LONGEST_WAIT_MS = 25 * 60 * 60 * 1000

/**
 * What a refusal by rate limit comes to: a host that refuses again when its time was up is asked after ever longer
 * pauses.
 *
 * @throws the refusal itself when there were too many in a row
 */
export function pauseAfter(
  refusal: UnavailableError,
  state: Pick<WriteState, 'refusals'>,
  nowMs: number,
): { refusals: number; untilMs: number } {
  const refusals = state.refusals + 1
  if (refusals > MAX_REFUSALS) throw refusal
  const pauseMs = refusals > 1 ? REFUSED_AGAIN_MS * 2 ** (refusals - 2) : 0
  return { refusals, untilMs: Math.max(refusal.retryAtMs ?? 0, nowMs + pauseMs) }
}

/**
 * Until the first record can go on.
 *
 * @param uploads that its blobs need, where it is they that wait
 * @throws UnavailableError when that is longer than any limit that we know of
 */
export function waitFor(first: Pending, choice: CallChoice, did: string, uploads?: number): WriteWait {
  const { state, nowMs } = choice
  const points = pointsOf(first, wayOf(first, choice))
  const uploadsAtMs =
    uploads === undefined || state.uploads === undefined ? nowMs : readyAtMs(state.uploads, uploads, nowMs)
  const untilMs = Math.max(readyAtMs(state.budget, points, nowMs), uploadsAtMs)
  if (untilMs > nowMs + LONGEST_WAIT_MS) {
    throw new UnavailableError(`The PDS limits writes for ${did} until ${new Date(untilMs).toISOString()}.`, {
      did,
      hint: 'Run the same command again then; it goes on where it stopped.',
      retryAtMs: untilMs,
    })
  }
  return { untilMs, points, ...(uploads !== undefined && { uploads }) }
}
