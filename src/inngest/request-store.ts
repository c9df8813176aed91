import { createHash } from 'node:crypto'
import type { RecordToWrite } from '../pds/write.ts'
import type { FailedRun } from './failed-run.ts'
import type { RequestReference, WriteRequest } from './request.ts'

/**
 * Keeps the records of requests that are too large for an event, and what became of runs that failed. Sender and
 * worker use the same one. Records come back as they were put: in their order, and with the keys of each in theirs.
 */
export interface RequestStore {
  /** @param id the same for the same request: what is there under it is left as it is */
  put(request: WriteRequest, id: string): Promise<RequestReference>
  /** Of this account alone. Undefined: there is none of that id any more. */
  get(reference: RequestReference, did: string): Promise<readonly RecordToWrite[] | undefined>
  /** Of this account alone. Nothing happens where it is gone already. */
  drop(reference: RequestReference, did: string): Promise<void>
  /** Keeps for people to read why a run failed. One run has one entry. */
  keepFailure(failure: FailedRun): Promise<void>
  /** Whether the store answers and is what it should be. @throws UnavailableError, ConfigError */
  check(): Promise<void>
}

/** By which the worker knows that these are the records, and the account, that the event was made for. */
export function digestOf(did: string, records: readonly RecordToWrite[]): string {
  return createHash('sha256').update(JSON.stringify({ did, records })).digest('hex')
}

export function referenceTo({ did, records }: WriteRequest, id: string): RequestReference {
  return {
    id,
    recordCount: records.length,
    bytes: Buffer.byteLength(JSON.stringify(records)),
    digest: digestOf(did, records),
  }
}
