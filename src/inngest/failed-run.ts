import { sentence } from './step-errors.ts'

/** A run that ended without having written all. */
export interface FailedRun {
  /** Of Inngest. */
  runId: string
  did: string
  /** Name of the restore it belonged to. */
  run?: string
  failedAtMs: number
  /** Class of the error, as `SessionError`. */
  errorName: string
  message: string
  hint: string
}

/** One text for the log, the store and the command line. */
export function failureMessage({ runId, did }: Pick<FailedRun, 'runId' | 'did'>, message: string): string {
  return `Inngest run ${runId}: records of ${did} were not all written: ${sentence(message)}`
}

/** What it wrote before is not known from here, since a step that failed has no result. The repo knows. */
export const FAILURE_HINT =
  'That run is over; what it wrote before is in the repo. The same command again writes only what is not there, and with --dry-run says how much that is.'
