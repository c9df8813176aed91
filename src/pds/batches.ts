/** com.atproto.repo.applyWrites takes no more operations than this (reference PDS, `applyWrites.ts`). */
export const MAX_WRITES = 200

/**
 * Length of one request's JSON. The reference PDS takes 1,000,000 bytes; the rest is for the envelope and for what
 * the commit's own blocks add. (Hosts before pds 0.4.226 take 150 KB and answer 413: see `writeRecords`.)
 */
export const MAX_REQUEST_BYTES = 900_000

export interface Sized {
  /** Length of its operation as JSON, in bytes. */
  jsonBytes: number
}

/** Cuts into runs that keep both limits, in order; one item above the byte limit stands alone. */
export function packBatches<T extends Sized>(
  items: readonly T[],
  maxBytes = MAX_REQUEST_BYTES,
  maxItems = MAX_WRITES,
): T[][] {
  const batches: T[][] = []
  let current: T[] = []
  let size = 0
  for (const item of items) {
    if (current.length > 0 && (current.length >= maxItems || size + item.jsonBytes > maxBytes)) {
      batches.push(current)
      current = []
      size = 0
    }
    current.push(item)
    size += item.jsonBytes
  }
  if (current.length > 0) batches.push(current)
  return batches
}
