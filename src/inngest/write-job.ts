import type { ConflictPolicy } from '../pds/plan.ts'
import type { RecordToWrite } from '../pds/write.ts'
import { parseWriteRequest, type WriteRequest } from './request.ts'

/** Records to be written to one account's repo, whichever way it is done. */
export interface WriteJob {
  did: string
  /** Names the restore, for people who look at Inngest's runs. */
  run?: string
  /** In the order they are to be written: parents first. */
  records: readonly RecordToWrite[]
  /** @defaultValue 'overwrite' */
  onConflict?: ConflictPolicy
  onProgress?: (progress: WriteProgress) => void
  /** Stops before the next piece of work; its reason is thrown. What is written stays. */
  signal?: AbortSignal
}

export interface WriteProgress {
  /** Records whose outcome is known, those that needed no write included. */
  recordsDone: number
  recordCount: number
}

/** Undefined when there is nothing to do. @throws VerificationError when the job does not fit */
export function requestOf({ did, run, records, onConflict }: WriteJob): WriteRequest | undefined {
  if (records.length === 0) return undefined
  return parseWriteRequest({ did, run, records, onConflict })
}
