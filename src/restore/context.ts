import type { Database } from '../database/client.ts'
import type { AppView, EventSink, RecordOutcome, Refusal } from '../events.ts'
import type { Logger } from '../logger.ts'
import type { Identity } from '../network/identity.ts'
import type { Xrpc } from '../network/xrpc.ts'
import type { ConflictPolicy } from '../pds/plan.ts'
import type { RecordToWrite } from '../pds/write.ts'

/** Everything a phase may need of the outside, made once by whoever starts it. */
export interface RestoreContext {
  appview: AppView
  production: Database
  network: { identity: Identity; xrpc: Xrpc }
  logger: Logger
  /** What takes a replay's events where that is not our Indexer: an operator's own consumer code. */
  openSink?: () => EventSink
}

/** What a writer is asked to do: bring the account's repo to hold these records. */
export interface WriterRequest {
  did: string
  /** Name of the run, for the restore marks and for making a repeated request harmless. */
  run: string
  /** Parents first. */
  records: readonly RecordToWrite[]
  onConflict: ConflictPolicy
  onProgress?: (done: number, total: number) => void
}

/** A record that the repo does not hold, and why. */
export interface NotWritten {
  uri: string
  outcome: Extract<RecordOutcome, 'kept' | 'refused' | 'failed'>
  /** Set for what was refused for one of these. */
  refusal?: Refusal
  reason: string
}

export interface WriterSummary {
  /** Every record is there. */
  success: boolean
  /** Records that this run created or overwrote. */
  recordsWritten: number
  batchCount: number
  notWritten: NotWritten[]
}

/** Writes records to the PDS: through Inngest, or in process. */
export type Writer = (request: WriterRequest) => Promise<WriterSummary>
