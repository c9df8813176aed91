import { LiveConsumer } from './live/consumer.ts'
import type { LiveOptions } from './live/options.ts'

export type {
  AccountStatus,
  BrokenRepo,
  Gap,
  GapReason,
  LiveOptions,
  Unreadable,
} from './live/options.ts'
export { FRAME_OUTCOMES, type FrameOutcome, type LiveStatus, newLiveStatus } from './live/status.ts'

/**
 * Live ingestion: a relay's or PDS's firehose, verified, into an EventSink. Frames of one account are handled in
 * order, those of different accounts at the same time; what waits is bounded by `maxQueuedFrames` and
 * `maxQueuedBytes`, and a full queue pauses the socket. Runs until the signal aborts; then what is under way is
 * finished, flushed, and the cursor saved.
 *
 * The cursor moves only past what is durable, parked or a dead letter: a restart goes on there, and may meet again
 * what was handled after it.
 *
 * @throws UnavailableError when the database or the PLC directory stays away: the cursor then stands before what is
 *   not durable. RestoreError when frames are missing for good and there is no `onGap`. Whatever `sink`, `saveCursor`,
 *   `onBrokenRepo` or `onGap` reject with
 */
export function consumeFirehose(options: LiveOptions): Promise<void> {
  return new LiveConsumer(options).run()
}
