/** What the two publication collections have in common: their rows. */

import type { JsonObject, RecordUpsert, RowMutation } from '../../events.ts'
import { ensureIdentity } from './identity-row.ts'
import { PUBLICATIONS } from './tables.ts'

export function publicationMutations(event: RecordUpsert, name: string, record: JsonObject): RowMutation[] {
  const row = { uri: event.uri.toString(), identity_did: event.did, name, record }
  return [ensureIdentity(event.did), { kind: 'upsert', into: PUBLICATIONS, row }]
}
