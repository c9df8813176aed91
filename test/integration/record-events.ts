import { TID } from '@atproto/common-web'
import { AtUri } from '@atproto/syntax'
import type { JsonObject, RecordDelete, RecordUpsert } from '../../src/events.ts'
import { encodeRecord } from '../../src/repo/record.ts'

/** A record as it is at one time; undefined: deleted. */
export interface Version {
  uri: string
  record: JsonObject | undefined
}

let clock = 0

/** An event that is newer than every one made before it. */
export function put(uri: string, record: JsonObject): RecordUpsert {
  const { cid, record: lex } = encodeRecord(record)
  return { ...next(uri), event: 'create', cid, record: lex }
}

/** @param prev the record that is deleted, where the source says so */
export function remove(uri: string, prev?: JsonObject): RecordDelete {
  const named = prev === undefined ? {} : { prev: encodeRecord(prev).cid }
  return { ...next(uri), ...named, event: 'delete' }
}

function next(text: string) {
  const uri = new AtUri(text)
  const rev = TID.fromTime(1_700_000_000_000_000 + ++clock, 0).toString()
  const { host: did, collection, rkey } = uri
  const commit = encodeRecord({ rev }).cid
  return { source: 'firehose' as const, seq: clock, time: '', commit, rev, uri, did, collection, rkey }
}
