import { z } from 'zod'
import { RECORD_OUTCOMES, type RecordOutcome } from '../events.ts'
import type { WrittenRecord } from '../pds/write.ts'

const notWrittenSchema = z.object({
  collection: z.string(),
  rkey: z.string(),
  outcome: z.enum(['kept', 'refused', 'failed']),
  reason: z.string(),
})
/** A record that the repo does not hold, and why. */
export type NotWritten = z.infer<typeof notWrittenSchema>

export const writeSummarySchema = z.object({
  /** Whether no record was refused and none failed. What was kept by the conflict policy does not count against it. */
  success: z.boolean(),
  /** Records that are in the repo by us now: created and overwritten. */
  recordsWritten: z.number(),
  /** Commits that the work was cut into; 0 when nothing was left to write. */
  batchCount: z.number(),
  /** One outcome for each record. */
  outcomes: z.record(z.enum(RECORD_OUTCOMES), z.number()),
  /** The first {@link MAX_NOT_WRITTEN} of them. */
  notWritten: z.array(notWrittenSchema),
  /** How many more there are. */
  notWrittenOmitted: z.number(),
})
/** What became of a write request. */
export type WriteSummary = z.infer<typeof writeSummarySchema>

/** Keeps step results and a run's output far below Inngest's 4 MiB, whatever comes in. */
export const MAX_NOT_WRITTEN = 500
const MAX_REASON_LENGTH = 300

/** Outcomes counted, and those that need words listed. Part of step results: JSON only. */
export type Tally = Pick<WriteSummary, 'outcomes' | 'notWritten' | 'notWrittenOmitted'>

export function tallyOf(records: Iterable<WrittenRecord>): Tally {
  const tally = emptyTally()
  for (const { collection, rkey, outcome, reason = '' } of records) {
    tally.outcomes[outcome]++
    if (outcome !== 'kept' && outcome !== 'refused' && outcome !== 'failed') continue
    if (tally.notWritten.length === MAX_NOT_WRITTEN) tally.notWrittenOmitted++
    else
      tally.notWritten.push({
        collection,
        rkey,
        outcome,
        reason: reason.slice(0, MAX_REASON_LENGTH),
      })
  }
  return tally
}

export function summaryOf(tallies: readonly Tally[], batchCount: number): WriteSummary {
  const { outcomes, notWritten, notWrittenOmitted } = tallies.reduce(addTallies, emptyTally())
  return {
    success: outcomes.refused === 0 && outcomes.failed === 0,
    recordsWritten: outcomes.created + outcomes.overwritten,
    batchCount,
    outcomes,
    notWritten,
    notWrittenOmitted,
  }
}

/** Several requests seen as one. Of none: nothing to do, nothing done, success. */
export function addSummaries(summaries: readonly WriteSummary[]): WriteSummary {
  const batchCount = summaries.reduce((sum, summary) => sum + summary.batchCount, 0)
  return summaryOf(summaries, batchCount)
}

function emptyTally(): Tally {
  const outcomes: Record<RecordOutcome, number> = {
    created: 0,
    same: 0,
    overwritten: 0,
    kept: 0,
    refused: 0,
    failed: 0,
  }
  return { outcomes, notWritten: [], notWrittenOmitted: 0 }
}

function addTallies(left: Tally, right: Tally): Tally {
  const all = [...left.notWritten, ...right.notWritten]
  const outcomes = { ...left.outcomes }
  for (const outcome of RECORD_OUTCOMES) outcomes[outcome] += right.outcomes[outcome]
  return {
    outcomes,
    notWritten: all.slice(0, MAX_NOT_WRITTEN),
    notWrittenOmitted:
      left.notWrittenOmitted + right.notWrittenOmitted + Math.max(0, all.length - MAX_NOT_WRITTEN),
  }
}
