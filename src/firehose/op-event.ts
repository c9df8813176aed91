import { AtUri } from '@atproto/syntax'
import { messageOf, VerificationError } from '../errors.ts'
import type { EventSource, RecordEvent } from '../events.ts'
import type { VerifiedOp } from '../repo/commit-frame.ts'
import { recordFromBytes } from '../repo/record.ts'
import type { CommitFrame } from './frame.ts'

/** A verified record of which no event can be made. */
export interface UnreadableRecord {
  uri: string
  bytes: Uint8Array
  reason: string
}

/** What a verified op of a frame says, as an event. */
export function eventOf(
  { seq, time, commit, rev, repo: did }: CommitFrame,
  op: VerifiedOp,
  source: EventSource,
): RecordEvent | UnreadableRecord {
  const { collection, rkey } = op
  const uri = AtUri.make(did, collection, rkey)
  const prev = op.prev === undefined ? {} : { prev: op.prev }
  const base = { source, seq, time, commit, rev, uri, did, collection, rkey, ...prev } as const
  if (op.action === 'delete') return { ...base, event: 'delete' }
  try {
    return { ...base, event: op.action, cid: op.cid, record: recordFromBytes(op.bytes) }
  } catch (error) {
    if (!(error instanceof VerificationError)) throw error
    return { uri: uri.toString(), bytes: op.bytes, reason: messageOf(error) }
  }
}
