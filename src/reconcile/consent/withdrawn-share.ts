import type { ConsentDecisions } from './decision.ts'

/** How much of what other accounts wrote is not theirs to bring back any more, as it seems. */
export interface WithdrawnShare {
  withdrawn: number
  /** Records that somebody answered for, and rows of others that are there. */
  of: number
  /** By what was said of them. */
  reasons: ReadonlyMap<string, number>
}

/**
 * Past this share somebody has to look: a host that lost its accounts, a wrong PLC directory, or a relay of ours gone
 * mad look like so many people changing their minds.
 */
const MAX_WITHDRAWN_SHARE = 0.1
/** Below this many records a share says nothing: one of five is a person, not an outage. */
const MIN_ASKED = 10

/**
 * The share of rows withdrawn, where it is so large that an outage is likelier than as many decisions.
 *
 * @param standing rows of others that are there. They count, so that a second run, in which what was withdrawn is all
 *   that is absent, sees the same share as the first. Records that nobody answered for do not: they hide nothing
 */
export function suspiciousShare(decisions: ConsentDecisions, standing: number): WithdrawnShare | undefined {
  const reasons = new Map<string, number>()
  let answered = 0
  let withdrawn = 0
  for (const decision of decisions.values()) {
    if (decision.consent !== 'unreachable') answered++
    if (decision.consent !== 'withdrawn') continue
    withdrawn++
    reasons.set(decision.reason, (reasons.get(decision.reason) ?? 0) + 1)
  }
  const of = answered + standing
  if (of < MIN_ASKED || withdrawn <= of * MAX_WITHDRAWN_SHARE) return undefined
  return { withdrawn, of, reasons }
}
