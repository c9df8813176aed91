import { AtUri } from '@atproto/syntax'
import type { RecordUpsert } from '../events.ts'

/** A record as its handler is asked about it (valid, skipped): nothing of the answer is stored. */
export function asEvent(uri: string, { cid, record }: Pick<RecordUpsert, 'cid' | 'record'>): RecordUpsert {
  const at = new AtUri(uri)
  return {
    event: 'create',
    seq: 0,
    time: new Date(0).toISOString(),
    commit: cid,
    rev: '',
    uri: at,
    did: at.host,
    collection: at.collection,
    rkey: at.rkey,
    source: 'repo',
    cid,
    record,
  }
}
