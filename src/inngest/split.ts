import { packBatches } from '../pds/batches.ts'
import type { WriteRequest } from './request.ts'

/**
 * Length of the records in one event. Inngest's free plan takes events of 256 KiB (262,144 bytes); the rest is for
 * the envelope.
 */
export const MAX_EVENT_BYTES = 240_000

/** Cuts a request into several that each fit an event, in order; a record above the limit gets one of its own. */
export function splitRequest(request: WriteRequest, maxBytes = MAX_EVENT_BYTES): WriteRequest[] {
  const sized = request.records.map((record) => ({
    record,
    jsonBytes: Buffer.byteLength(JSON.stringify(record)) + 1,
  }))
  return packBatches(sized, maxBytes, Number.POSITIVE_INFINITY).map((batch) => ({
    ...request,
    records: batch.map(({ record }) => record),
  }))
}
