import { z } from 'zod'
import { type ReplayError, RestoreError, SessionError } from '../errors.ts'
import { FAILURE_HINT, failureMessage } from './failed-run.ts'
import type { Run } from './follow.ts'
import { addSummaries, type WriteSummary, writeSummarySchema } from './summary.ts'

const errorSchema = z.object({ name: z.string().default('Error'), message: z.string() })
/** Servers differ in whether the error is the output or in it. */
const failureSchema = z.union([errorSchema, z.object({ error: errorSchema }).transform(({ error }) => error)])

/**
 * The summary that the ended runs of one event amount to. Runs of other functions on the same event, told by an
 * output that is none of ours, are left out.
 *
 * @throws SessionError, RestoreError with the message of a run that failed
 */
export function summaryOfRuns(runs: readonly Run[], did: string): WriteSummary {
  const summaries: WriteSummary[] = []
  for (const run of runs) {
    if (run.status.toLowerCase() !== 'completed') throw failureOf(run, did)
    const parsed = writeSummarySchema.safeParse(fromText(run.output))
    if (parsed.success) summaries.push(parsed.data)
  }
  if (summaries.length > 0) return addSummaries(summaries)
  throw new RestoreError('The run ended with an output that is not a summary of written records.', {
    did,
    hint: 'Check that the app registered with Inngest serves the same version of write-records-to-pds.',
  })
}

function failureOf(run: Run, did: string): ReplayError {
  const parsed = failureSchema.safeParse(fromText(run.output))
  const { name, message } = parsed.success
    ? parsed.data
    : { name: 'Error', message: `it ended as ${run.status}, without a message` }
  const text = failureMessage({ runId: run.run_id, did }, message)
  if (name === SessionError.name) return new SessionError(text, { did, hint: FAILURE_HINT })
  return new RestoreError(text, { did, hint: FAILURE_HINT })
}

function fromText(output: unknown): unknown {
  if (typeof output !== 'string') return output
  try {
    return JSON.parse(output)
  } catch (error) {
    if (error instanceof SyntaxError) return { message: output }
    throw error
  }
}
