import type { Json, JsonObject, RecordCandidates } from '../../events.ts'
import type { DefaultedObject } from './defaults.ts'
import { isObject } from './json.ts'
import { leafletContent, publishedCopy } from './pages.ts'
import { whyPerhapsPaid } from './paid-text.ts'
import { recordFrom } from './to-record.ts'

/** JSON of the pages of a site.standard.document above which the app keeps them in a blob. */
const MAX_INLINE_PAGES_BYTES = 100 * 1024

/**
 * A documents row back into its record: as the app publishes it, so cut at the delimiter where the post is for
 * members only. Pictures after the delimiter, which are no blobs but addresses in the app's storage, go with it.
 *
 * What may be paid text although the app's own rule does not cut it is only written as it was proven to have been.
 * The whole text of a members-only post is no candidate at all: nobody's proof is to publish it.
 */
export function documentRecordFrom(
  data: Json | undefined,
  collection: string,
  defaults: readonly DefaultedObject[],
): RecordCandidates {
  const published = isObject(data) ? publishedCopy(data) : data
  const rebuilt = recordFrom(published, collection, defaults)
  if (!rebuilt.ok || !isObject(published)) return rebuilt
  const onlyIfProven = whyPerhapsPaid(published)
  const mayDiffer = whyPerhapsInBlob(published)
  return { ...rebuilt, ...(onlyIfProven && { onlyIfProven }), ...(mayDiffer && { mayDiffer }) }
}

/** A blob's CID depends on the order of its keys, which jsonb does not keep: such a record cannot come back as it was. */
function whyPerhapsInBlob(published: JsonObject): string | undefined {
  const pages = leafletContent(published)?.pages
  if (pages === undefined || mostJsonBytes(pages) <= MAX_INLINE_PAGES_BYTES) return undefined
  const bytes = Buffer.byteLength(JSON.stringify(pages))
  if (bytes <= MAX_INLINE_PAGES_BYTES) return undefined
  const kib = Math.round(bytes / 1024)
  return `its pages come to ${kib} KiB, which the app keeps in a blob; they are written into the record instead`
}

/** An escape such as \u0007 is six bytes for one character; none takes more. */
const MOST_BYTES_PER_CHARACTER = 6
/** Of any number, true, false or null, and of the marks around a value or key. */
const MOST_BYTES_PER_VALUE = 32

/** What the JSON of a value cannot exceed: a look at its lengths, where printing each post would take far longer. */
function mostJsonBytes(value: Json): number {
  if (typeof value === 'string') return value.length * MOST_BYTES_PER_CHARACTER + MOST_BYTES_PER_VALUE
  if (value === null || typeof value !== 'object') return MOST_BYTES_PER_VALUE
  let bytes = MOST_BYTES_PER_VALUE
  if (Array.isArray(value)) for (const item of value) bytes += mostJsonBytes(item)
  else {
    for (const key in value) {
      const item = value[key]
      if (item !== undefined) bytes += mostJsonBytes(key) + mostJsonBytes(item)
    }
  }
  return bytes
}
