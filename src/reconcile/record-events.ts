import { VerificationError } from '../errors.ts'
import type { JsonObject, RecordUpsert } from '../events.ts'
import { asEvent } from '../pds/as-event.ts'
import { recordNameOf } from '../pds/lost-record.ts'
import { encodeRecord, recordFromBytes } from '../repo/record.ts'
import type { RepoRecords } from './own-records.ts'

/** The event that a replay hands to the record's handler; undefined where the repo has no record that can be read. */
export function eventFromRepo(uri: string, repo: RepoRecords): RecordUpsert | undefined {
  const name = recordNameOf(uri)
  const found = name === undefined ? undefined : repo.get(name.collection, name.rkey)
  if (found === undefined) return undefined
  return unlessUnreadable(() => asEvent(uri, { cid: found.cid, record: recordFromBytes(found.bytes) }))
}

/** The same for a record as a row holds it. What is no record cannot be in a repo, so no replay gives its row back. */
export function eventFromRow(uri: string, json: string): RecordUpsert | undefined {
  const parsed: unknown = JSON.parse(json)
  if (parsed === null || typeof parsed !== 'object' || recordNameOf(uri) === undefined) return undefined
  return unlessUnreadable(() => asEvent(uri, encodeRecord(parsed as JsonObject)))
}

function unlessUnreadable(read: () => RecordUpsert): RecordUpsert | undefined {
  try {
    return read()
  } catch (error) {
    if (error instanceof VerificationError) return undefined
    throw error
  }
}
