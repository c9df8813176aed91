/**
 * What the two document collections have in common: their rows.
 *
 * Departures from the appview's indexer, each needed for rows that are a function of the current records:
 * - The link is exactly what the record names now. The indexer keeps old links when a record stops naming a
 *   publication or names another account's, so its rows depend on what the record said before.
 * - A link whose publication is not there yet waits for it. The indexer deletes the document's other links even
 *   when it could not write the new one.
 * - A members-only post is written only where no row exists. The indexer decides by whether a draft points at the
 *   document and by what the stored copy holds after the delimiter; neither is in the record, and the stored copy
 *   may be the only full text.
 */

import type { JsonObject, RecordUpsert, RowMutation, UpsertRow } from '../../events.ts'
import { isMembersOnly, pagesOf } from './pages.ts'
import { DOCUMENTS, LINKS } from './tables.ts'

/** @param publication what the record names: an AT-URI, an https address, or nothing */
export function documentMutations(
  event: RecordUpsert,
  data: JsonObject,
  publication: string | undefined,
): RowMutation[] {
  const uri = event.uri.toString()
  return [
    documentRow({ uri, data }),
    {
      kind: 'replace-children',
      into: LINKS,
      parent: { document: uri },
      rows: isOwn(publication, event.did) ? [{ publication, document: uri }] : [],
    },
  ]
}

function documentRow(row: { uri: string; data: JsonObject }): UpsertRow {
  const upsert: UpsertRow = { kind: 'upsert', into: DOCUMENTS, row }
  return isMembersOnly(pagesOf(row.data)) ? { ...upsert, onlyIfAbsent: true } : upsert
}

/** Compared as text, as the appview does: a URI with the account's handle in place of its DID is not its own. */
function isOwn(publication: string | undefined, did: string): publication is string {
  const authority = publication?.startsWith('at://') ? publication.split('/')[2] : undefined
  return authority === did
}
