import { packBatches } from '../pds/batches.ts'
import type { WriteRequest } from './request.ts'

/** What Inngest's free plan takes, 256 KiB. */
export const MAX_EVENT_BYTES = 256 * 1024

/** With a store, what is longer than this goes there: events are stored, logged and sent with every call of a run. */
export const MAX_INLINE_BYTES = 64 * 1024

/** A stored request: loaded by every step in a process that has not met it, and a row of the appview's database. */
const MAX_STORED_BYTES = 4_000_000
const MAX_STORED_RECORDS = 1000

/** For what the SDK and the server add to an event: times, ids, trace context. */
const RESERVE_BYTES = 4096

/** Length of an event with this request, with some to spare. */
function eventBytes(request: WriteRequest): number {
  return Buffer.byteLength(JSON.stringify(request)) + RESERVE_BYTES
}

/**
 * Cuts a request into several that each fit an event, in order; a record above the limit gets one of its own.
 *
 * @param maxBytes of the whole event
 */
export function splitRequest(request: WriteRequest, maxBytes = MAX_EVENT_BYTES): WriteRequest[] {
  return cut(request, maxBytes - eventBytes({ ...request, records: [] }), Number.POSITIVE_INFINITY)
}

/** Cuts a request into several that a store takes. */
export function splitForStore(request: WriteRequest): WriteRequest[] {
  return cut(request, MAX_STORED_BYTES, MAX_STORED_RECORDS)
}

function cut(request: WriteRequest, maxBytes: number, maxItems: number): WriteRequest[] {
  const sized = request.records.map((record) => ({
    record,
    jsonBytes: Buffer.byteLength(JSON.stringify(record)) + 1,
  }))
  return packBatches(sized, maxBytes, maxItems).map((batch) => ({
    ...request,
    records: batch.map(({ record }) => record),
  }))
}
