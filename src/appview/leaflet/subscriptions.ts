/**
 * What the two subscription collections have in common: their rows.
 *
 * Departures from the appview's indexer, each needed for rows that are a function of the current records:
 * - Of an account's several records for one publication the one with the greatest rkey holds the row. The indexer
 *   lets the write that came last have it; a TID rkey grows with time, so both agree on records in their order.
 * - When the holder is deleted the next one takes its place. The indexer unsubscribes the account.
 * - A subscription whose publication is not there yet waits for it. The indexer drops it.
 */

import type { JsonObject, RecordUpsert, RowMutation } from '../../events.ts'
import { ensureIdentity } from './identity-row.ts'
import { SUBSCRIPTIONS } from './tables.ts'

export function subscriptionMutations(
  event: RecordUpsert,
  publication: string,
  record: JsonObject,
): RowMutation[] {
  return [
    ensureIdentity(event.did),
    {
      kind: 'upsert',
      into: SUBSCRIPTIONS,
      row: { uri: event.uri.toString(), identity: event.did, publication, record },
    },
  ]
}
