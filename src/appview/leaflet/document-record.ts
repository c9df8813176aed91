import type { Json, RecordCandidates } from '../../events.ts'
import type { DefaultedObject } from './defaults.ts'
import { isObject } from './json.ts'
import { holdsPaidBlocks, pagesOf } from './pages.ts'
import { recordFrom } from './to-record.ts'

/**
 * A documents row back into its record. A post whose pages the app took out of a blob comes back with the pages
 * inline: the same text, not the same CID.
 *
 * Members-only posts with their paid text are refused: a record is public. Cutting them at the delimiter, as the
 * app does, would guess at the rest of what it changes.
 */
export function documentRecordFrom(
  data: Json | undefined,
  collection: string,
  defaults: readonly DefaultedObject[],
): RecordCandidates {
  if (isObject(data) && holdsPaidBlocks(pagesOf(data))) {
    return {
      ok: false,
      reason: 'the row holds members-only text after the delimiter, and a record would publish it',
    }
  }
  return recordFrom(data, collection, defaults)
}
