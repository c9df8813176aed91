import type { Handler, Json, JsonObject } from '../../events.ts'
import { encodeRecord } from '../../repo/record.ts'
import { asEvent } from '../as-event.ts'
import { type BlobRef, blobRefsOf, type RecordPath } from './refs.ts'

/**
 * A record without its references to these blobs, where the lexicon has them as optional pictures: the field that is
 * the reference goes, or the object that is there for its sake (a background image with its width). Undefined where
 * that cannot be done:
 * - An entry of a list stays: with an image block its place in the text would go.
 * - What is no picture stays: it may be the content itself, as pages in a blob are.
 * - What the lexicon does not know stays: nobody can say whether somebody's own format does without it.
 *
 * @param handler of the record's collection: knows whether a record is valid
 */
export function withoutBlobs(
  record: JsonObject,
  cids: ReadonlySet<string>,
  { uri, handler }: { uri: string; handler: Handler },
): JsonObject | undefined {
  const isValid = (candidate: JsonObject): boolean =>
    handler.rows(asEvent(uri, encodeRecord(candidate))).outcome !== 'invalid'
  if (!isValid(record)) return undefined
  let stripped = record
  for (;;) {
    const ref = blobRefsOf(stripped).find(({ cid }) => cids.has(cid))
    if (ref === undefined) return stripped
    const path = removable(stripped, ref, isValid)
    if (path === undefined) return undefined
    stripped = replaced(stripped, path, undefined)
  }
}

function removable(
  record: JsonObject,
  { mimeType, paths }: BlobRef,
  isValid: (record: JsonObject) => boolean,
): RecordPath | undefined {
  const [path] = paths
  if (path === undefined || !mimeType.startsWith('image/')) return undefined
  // A field that may hold anything is one that the lexicon does not know.
  if (isValid(replaced(record, path, 0))) return undefined
  return [path, path.slice(0, -1)].find(
    (candidate) => typeof candidate.at(-1) === 'string' && isValid(replaced(record, candidate, undefined)),
  )
}

/** A copy with another value at `path`; without the field for undefined. Shares what did not change. */
function replaced(record: JsonObject, path: RecordPath, value: Json | undefined): JsonObject {
  return replacedIn(record, path, value) as JsonObject
}

function replacedIn(
  at: Json | undefined,
  [step, ...rest]: RecordPath,
  value: Json | undefined,
): Json | undefined {
  if (step === undefined) return value
  if (Array.isArray(at))
    return at.map((item, index) => (index === step ? (replacedIn(item, rest, value) ?? item) : item))
  if (at === null || typeof at !== 'object') return at
  const { [step]: child, ...others } = at
  const next = replacedIn(child, rest, value)
  return next === undefined ? others : { ...at, [step]: next }
}
