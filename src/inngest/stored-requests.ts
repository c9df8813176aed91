import type { Database } from '../database/client.ts'
import {
  checkRequests,
  dropRequest,
  putFailure,
  putRequest,
  readRequest,
} from '../database/write-requests.ts'
import { VerificationError } from '../errors.ts'
import type { RecordToWrite } from '../pds/write.ts'
import { type RequestStore, referenceTo } from './request-store.ts'

const CHECK_TIMEOUT_MS = 5000
const MAX_TEXT_LENGTH = 4000

/**
 * Requests in the tables that our migration adds to the appview's database. Only the service role sees them; rows
 * are dropped when their records are written, and otherwise after 30 days.
 */
export function databaseRequests(database: Database, now: () => number = Date.now): RequestStore {
  return {
    async put(request, id) {
      const { did, records } = request
      await putRequest(database, { id, did, records: JSON.stringify(records) }, now)
      return referenceTo(request, id)
    },
    async get({ id }, did) {
      const text = await readRequest(database, { id, did })
      return text === undefined ? undefined : recordsOf(text, id)
    },
    drop: ({ id }, did) => dropRequest(database, { id, did }),
    keepFailure: ({ runId, did, run, failedAtMs, errorName, message, hint }) =>
      putFailure(database, {
        run_id: storable(runId),
        did: storable(did),
        run: run === undefined ? null : storable(run),
        error: storable(errorName),
        message: storable(message),
        hint: storable(hint),
        failed_at: new Date(failedAtMs).toISOString(),
      }),
    check: () => checkRequests(database, AbortSignal.timeout(CHECK_TIMEOUT_MS)),
  }
}

function recordsOf(text: string, id: string): readonly RecordToWrite[] {
  try {
    // What comes back is held against the digest, and then against the shape of a request.
    const records: unknown = JSON.parse(text)
    if (Array.isArray(records)) return records
  } catch (error) {
    if (!(error instanceof SyntaxError)) throw error
  }
  throw new VerificationError(`The stored records of request ${id} are no list.`, {
    hint: 'Look who else writes to write_requests, then run the command that sent them again.',
  })
}

/** An event's data and an error's text may hold what Postgres takes in no text: U+0000 and lone surrogates. */
function storable(text: string): string {
  return text.slice(0, MAX_TEXT_LENGTH).toWellFormed().replaceAll('\u0000', '\uFFFD')
}
