/**
 * What the two recommend collections have in common: their rows.
 *
 * Departures from the appview's indexer, each needed for rows that are a function of the current records:
 * - Of an account's several records for one document the one with the smallest rkey holds the row. The indexer lets
 *   whichever came first have it; a TID rkey grows with time, so both agree on records in their order.
 * - When the holder is deleted the next one takes its place. The indexer has lost it.
 * - A recommend whose document is not there yet waits for it. The indexer drops it.
 */

import type { JsonObject, RecordUpsert, RowMutation } from '../../events.ts'
import { ensureIdentity } from './identity-row.ts'
import { RECOMMENDS } from './tables.ts'

export function recommendMutations(event: RecordUpsert, document: string, record: JsonObject): RowMutation[] {
  return [
    ensureIdentity(event.did),
    {
      kind: 'upsert',
      into: RECOMMENDS,
      row: { uri: event.uri.toString(), recommender_did: event.did, document, record },
    },
  ]
}
