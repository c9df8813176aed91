import type { CommitEvt } from '@atproto/sync'
import type { EventSink } from '../events.ts'
import { handlerSink } from './sync-event.ts'

/** Where a replay delivers to: a sink, or the function that serves as `handleEvent` of @atproto/sync's Firehose. */
export type ReplayTarget =
  | { sink: EventSink; handleEvent?: never }
  | { handleEvent: (event: CommitEvt) => Promise<void> | void; sink?: never }

export function sinkOf(target: ReplayTarget): EventSink {
  return target.sink ?? handlerSink(target.handleEvent)
}
