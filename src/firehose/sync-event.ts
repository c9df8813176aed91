import { BlockMap } from '@atproto/repo'
import type { CommitEvt } from '@atproto/sync'
import type { DidString } from '@atproto/syntax'
import type { EventSink, FlushResult, RecordEvent } from '../events.ts'

/** The event as @atproto/sync's Firehose would hand it to its `handleEvent`. Blocks are not kept: the map is empty. */
export function toSyncEvent(event: RecordEvent): CommitEvt {
  const { seq, time, commit, rev, uri, collection, rkey } = event
  const meta = {
    seq,
    time,
    commit,
    blocks: new BlockMap(),
    rev,
    uri,
    did: event.did as DidString,
    collection,
    rkey,
  }
  return event.event === 'delete'
    ? { ...meta, event: 'delete' }
    : { ...meta, event: event.event, record: event.record, cid: event.cid }
}

/**
 * A sink for an appview with handlers of its own: each event goes to the same function that serves as `handleEvent`
 * of @atproto/sync's Firehose, one after the other. It is on that function to throw what it could not store.
 */
export function handlerSink(handleEvent: (event: CommitEvt) => Promise<void> | void): EventSink {
  let cursor: number | undefined
  return {
    async handle(event: RecordEvent): Promise<void> {
      await handleEvent(toSyncEvent(event))
      cursor = event.seq || cursor
    },
    flush: (): Promise<FlushResult> => Promise.resolve({ cursor }),
  }
}
