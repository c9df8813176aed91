import type { JsonObject } from '../events.ts'
import { encodeFor } from '../repo/record.ts'

/** What a record comes to in a repository and in a request. */
export interface Measured {
  cid: string
  /** Length of its block. */
  blockBytes: number
  /** Length of its JSON. */
  jsonBytes: number
}

const known = new WeakMap<JsonObject, { path: string; result: Measured | { reason: string } }>()

/**
 * Encodes a record, once for each object: on its way from the row to the request the same one is asked for its CID
 * and its sizes by the plan, by the batches and by the call, and encoding is most of what these cost. Hence records
 * are values: who wants another one makes another object.
 *
 * @returns or why it cannot be written under this name, with a JSON path
 */
export function measure(
  record: JsonObject,
  { collection, rkey }: { collection: string; rkey: string },
): Measured | { reason: string } {
  const path = `${collection}/${rkey}`
  const found = known.get(record)
  if (found?.path === path) return found.result
  const encoded = encodeFor(record, { collection, rkey })
  const result =
    'reason' in encoded
      ? encoded
      : {
          cid: encoded.cid.toString(),
          blockBytes: encoded.bytes.length,
          jsonBytes: Buffer.byteLength(JSON.stringify(record)),
        }
  known.set(record, { path, result })
  return result
}
