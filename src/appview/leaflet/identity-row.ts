import type { EnsureRow } from '../../events.ts'

/**
 * The account's row, which DID-keyed tables refer to. Never an upsert: the default of `home_page` makes a document
 * of its own, and Postgres evaluates it even where a conflict turns the insert into an update.
 */
export function ensureIdentity(did: string): EnsureRow {
  return { kind: 'ensure', table: 'identities', key: ['atp_did'], row: { atp_did: did } }
}
