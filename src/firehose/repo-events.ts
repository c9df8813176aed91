import type { Cid } from '@atproto/lex'
import { AtUri } from '@atproto/syntax'
import { messageOf, VerificationError } from '../errors.ts'
import type { RecordDelete, RecordEvent, RecordUpsert } from '../events.ts'
import { recordFromBytes } from '../repo/record.ts'
import type { RepoRecord } from '../repo/verified-repo.ts'

/** What all events of one replayed revision have in common. */
export interface RevisionOf {
  did: string
  rev: string
  commit: Cid
  /** When it was fetched, ISO 8601. */
  time: string
}

/** The record as a create, which every handler treats like an update; or why it cannot be read. */
export function upsertOf(revision: RevisionOf, record: RepoRecord): RecordUpsert | { reason: string } {
  try {
    return {
      ...baseOf(revision, record),
      event: 'create',
      cid: record.cid,
      record: recordFromBytes(record.bytes),
    }
  } catch (error) {
    if (error instanceof VerificationError) return { reason: messageOf(error) }
    throw error
  }
}

/** A record that the repo no longer has at this revision. @param cid what it was, where that is known */
export function deleteOf(
  revision: RevisionOf,
  record: { collection: string; rkey: string; cid?: Cid },
): RecordDelete {
  const prev = record.cid === undefined ? {} : { prev: record.cid }
  return { ...baseOf(revision, record), ...prev, event: 'delete' }
}

function baseOf({ did, rev, commit, time }: RevisionOf, { collection, rkey }: Path) {
  const uri = AtUri.make(did, collection, rkey)
  return { source: 'repo', seq: 0, time, commit, rev, did, uri, collection, rkey } as const satisfies Omit<
    RecordEvent,
    'event' | 'cid' | 'record'
  >
}

interface Path {
  collection: string
  rkey: string
}
