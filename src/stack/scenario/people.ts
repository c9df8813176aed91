/** What the app writes before any record of it is indexed. */

import type { StackDatabase } from '../index.ts'
import { isoOf, type WrittenRecord } from './record.ts'
import { insertRows } from './rows.ts'

export interface Person {
  did: string
  handle: string
  email: string
}

/** People log in before they write anything here; that makes their identity and fetches their profile. */
export async function registerPeople(database: StackDatabase, people: readonly Person[]): Promise<void> {
  const since = Date.UTC(2023, 3, 1, 10, 30)
  const at = (index: number): string => pastTimestamp(since + index * 3_600_000, `${index}`)
  // home_page is left to its default, which makes a document for each new identity.
  await insertRows(
    database,
    'identities',
    people.map(({ did, email }, index) => ({ atp_did: did, email, created_at: at(index) })),
  )
  await insertRows(
    database,
    'bsky_profiles',
    people.map(({ did, handle }, index) => ({
      did,
      handle,
      record: { $type: 'app.bsky.actor.profile', displayName: displayNameOf(handle) },
      indexed_at: at(index),
    })),
  )
}

export function displayNameOf(handle: string): string {
  const [name = ''] = handle.split('.')
  return name.charAt(0).toUpperCase() + name.slice(1).replaceAll('-', ' ')
}

/** The app writes a post's row when it publishes; for a record that no indexer takes nobody else ever does. */
export async function writeBrokenRow(database: StackDatabase, { uri, record }: WrittenRecord): Promise<void> {
  await insertRows(database, 'documents', [{ uri, data: record }])
}

/** A moment with microseconds, as a database has them and a Date has not. @param name decides the microseconds */
export function pastTimestamp(atMs: number, name: string): string {
  let micros = 7
  for (const character of name) micros = (micros * 31 + (character.codePointAt(0) ?? 0)) % 999
  return isoOf(atMs).replace('Z', `${String(micros + 1).padStart(3, '0')}Z`)
}
