import { z } from 'zod'
import { RECORD_OUTCOMES, REFUSALS, type RecordOutcome } from '../events.ts'
import type { WrittenRecord } from '../pds/write.ts'

const notWrittenSchema = z.object({
  collection: z.string(),
  rkey: z.string(),
  outcome: z.enum(['kept', 'refused', 'failed']),
  /** Of outcome `refused`, where it is one of these. */
  refusal: z.enum(REFUSALS).optional(),
  reason: z.string(),
})
/** A record that the repo does not hold, and why. */
type NotWritten = z.infer<typeof notWrittenSchema>

export const writeSummarySchema = z.object({
  /** Whether no record was refused and none failed. What was kept by the conflict policy does not count against it. */
  success: z.boolean(),
  /** Records that are in the repo by us now: created and overwritten. */
  recordsWritten: z.number(),
  /** Commits that the work was cut into; 0 when nothing was left to write. */
  batchCount: z.number(),
  /** One outcome for each record. */
  outcomes: z.record(z.enum(RECORD_OUTCOMES), z.number()),
  /** All of them: those that were refused, then those that failed, then those that were kept. */
  notWritten: z.array(notWrittenSchema),
})
/** What became of a write request. */
export type WriteSummary = z.infer<typeof writeSummarySchema>

const MAX_REASON_LENGTH = 300
/**
 * Of a run's reasons together, in characters: step results and a run's output stay far below Inngest's 4 MiB. The
 * 1,000 records of a run of ours never come to it; of events with more the reasons are cut, and no record is left out,
 * since what is done about its row depends on its outcome.
 */
const MAX_REASONS_LENGTH = 500_000
const LISTED = ['refused', 'failed', 'kept'] as const satisfies NotWritten['outcome'][]

/** Outcomes counted, and those that need words listed. Part of step results: JSON only. */
export type Tally = Pick<WriteSummary, 'outcomes' | 'notWritten'>

export function tallyOf(records: Iterable<WrittenRecord>): Tally {
  const tally = emptyTally()
  for (const { collection, rkey, outcome, refusal, reason = '' } of records) {
    tally.outcomes[outcome]++
    if (outcome !== 'kept' && outcome !== 'refused' && outcome !== 'failed') continue
    tally.notWritten.push({
      collection,
      rkey,
      outcome,
      ...(refusal === undefined ? {} : { refusal }),
      reason: reason.slice(0, MAX_REASON_LENGTH),
    })
  }
  return bounded(tally)
}

/** Of one run. */
export function summaryOf(tallies: readonly Tally[], batchCount: number): WriteSummary {
  return summaryFrom(addTallies(tallies), batchCount)
}

function summaryFrom({ outcomes, notWritten }: Tally, batchCount: number): WriteSummary {
  return {
    success: outcomes.refused === 0 && outcomes.failed === 0,
    recordsWritten: outcomes.created + outcomes.overwritten,
    batchCount,
    outcomes,
    notWritten,
  }
}

/** Several requests seen as one. Of none: nothing to do, nothing done, success. */
export function addSummaries(summaries: readonly WriteSummary[]): WriteSummary {
  const batchCount = summaries.reduce((count, summary) => count + summary.batchCount, 0)
  return summaryFrom(sum(summaries), batchCount)
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
  return { outcomes, notWritten: [] }
}

/** Of one run. */
export function addTallies(tallies: readonly Tally[]): Tally {
  return bounded(sum(tallies))
}

function sum(tallies: readonly Tally[]): Tally {
  const total = emptyTally()
  for (const { outcomes } of tallies)
    for (const outcome of RECORD_OUTCOMES) total.outcomes[outcome] += outcomes[outcome]
  const all = tallies.flatMap(({ notWritten }) => notWritten)
  total.notWritten = LISTED.flatMap((listed) => all.filter(({ outcome }) => outcome === listed))
  return total
}

/** Each reason cut to the length at which all of them together are as long as they may be. */
function bounded(tally: Tally): Tally {
  const { notWritten } = tally
  if (notWritten.reduce((length, { reason }) => length + reason.length, 0) <= MAX_REASONS_LENGTH) return tally
  const length = Math.floor(MAX_REASONS_LENGTH / notWritten.length)
  return { ...tally, notWritten: notWritten.map((one) => ({ ...one, reason: one.reason.slice(0, length) })) }
}
