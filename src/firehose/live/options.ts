import type { EventSink, RecordEvent } from '../../events.ts'
import type { Logger } from '../../logger.ts'
import type { Identity } from '../../network/identity.ts'
import type { RecordPath } from './named-deletes.ts'
import type { LiveStatus } from './status.ts'

/** Where a repo's stream stopped making sense, and why. */
export interface BrokenRepo {
  did: string
  seq: number
  rev: string
  reason: string
  /**
   * Records that its frames name as deleted, those that wait behind this one included: unproven, and to be deleted
   * only where the repo lacks them. For whoever does not know by itself what the repo has no more.
   */
  deletes?: readonly RecordPath[]
}

/** Why frames were missed: */
export type GapReason =
  /** The relay no longer holds what came after the cursor (`OutdatedCursor`). */
  | 'outdated-cursor'
  /** The cursor is beyond the relay's last frame: it is another relay's, or the relay began to count anew. */
  | 'future-cursor'
  /** The relay went on much later than after the cursor, without a word. */
  | 'skipped'
  /** There is a cursor, but for another relay. */
  | 'other-relay'
  /** The connection broke before any frame had come that could be gone on from. */
  | 'no-position'
  /** The relay sent a message that is longer than `maxMessageBytes`, twice: nobody can say what is in it. */
  | 'too-long'

/** Frames that will never come: whatever they said is in the repos only. */
export interface Gap {
  /** The cursor that was gone on from; undefined: there was none. */
  from: number | undefined
  /** The first frame behind the gap, where one has come. */
  to: number | undefined
  reason: GapReason
}

/** What `#account` says: whether a host serves the account, and if not why. */
export interface AccountStatus {
  did: string
  seq: number
  active: boolean
  /** Such as `deleted`, `takendown`, `suspended`, `deactivated`; hosts may have words of their own. */
  status: string | undefined
}

/** Bytes of which nothing can be made, and which are to be kept for a person to look at. */
export interface Unreadable {
  /** The record, where it is one; undefined: a whole message of the firehose. */
  uri: string | undefined
  rev: string
  /** Of the frame that holds the record, or of the last frame before the message. */
  seq: number
  bytes: Uint8Array
  reason: string
}

export interface LiveOptions {
  /** Relay or PDS, as `wss://bsky.network`. */
  service: string
  sink: EventSink
  identity: Identity
  /** Whether anything is indexed from this collection. */
  isWanted: (collection: string) => boolean
  /** Where to go on; undefined: from now. */
  cursor: number | undefined
  /** Makes a cursor durable. Called after the sink's flush, never for what is not durable. */
  saveCursor: (seq: number) => Promise<void>
  /**
   * A repo whose frames cannot be trusted or are not complete: it must be replayed from its PDS. Resolves when that
   * is done or has been noted durably; only then does the cursor move on. `signal` aborts after `maxReplayMs`: the
   * repo is then to be noted, as one whose replay failed.
   */
  onBrokenRepo: (broken: BrokenRepo, signal: AbortSignal) => Promise<void>
  /**
   * Frames were missed for good: whichever repos may have changed meanwhile must be replayed. Called once the
   * connection stands, so that nothing falls between; live frames are handled at the same time, and the cursor is
   * saved only once this has resolved. Ends early, by rejecting, when `signal` aborts.
   *
   * @defaultValue the consumer ends with a RestoreError
   */
  onGap?: (gap: Gap, signal: AbortSignal) => Promise<void>
  /** A gap that is known before the first connection, as after a change of relay. */
  gap?: Gap
  /** An account was deleted, taken down, deactivated or came back. The cursor waits for it. @defaultValue only logged */
  onAccount?: (account: AccountStatus) => Promise<void>
  /**
   * Asked when a `#sync` announces an empty repo of which the consumer has seen nothing: true where the index holds
   * records of the account, which are gone then. @defaultValue no: an account that is new
   */
  holdsRecords?: (did: string) => Promise<boolean>
  /** An account's handle, keys or PDS may have changed; its cached identity has been dropped already. */
  onIdentity?: (identity: { did: string; seq: number }) => Promise<void>
  /**
   * Keeps an event that the sink rejected for a reason of that event's own, after `attempts`. Resolves when it is
   * durable. @defaultValue the consumer ends with the sink's error
   */
  onFailedEvent?: (event: RecordEvent, error: unknown) => Promise<void>
  /** Keeps what cannot be read at all. Resolves when it is durable. @defaultValue only logged */
  onUnreadable?: (unreadable: Unreadable) => Promise<void>
  /** Told of each frame once it and all before it are done with, in their order; for progress and tests. */
  onFrame?: (frame: { seq: number; did: string }) => void
  /** Told of each flush that made events durable: how many record events, and how long it took, in milliseconds. */
  onFlush?: (flush: { events: number; ms: number }) => void
  signal: AbortSignal
  /** How often the cursor is saved, in milliseconds. @defaultValue 1000 */
  saveEveryMs?: number
  /** Frames that may wait for their turn. @defaultValue 1000 */
  maxQueuedFrames?: number
  /** Bytes of frames that may wait for their turn. @defaultValue 64 MiB */
  maxQueuedBytes?: number
  /** Accounts whose frames are handled at one time. @defaultValue 64 */
  concurrency?: number
  /** Broken repos that are replayed at one time. @defaultValue 4 */
  maxReplays?: number
  /**
   * How long `onBrokenRepo` may take until its signal aborts, in milliseconds: as long as it runs the cursor stands,
   * and a busy relay has to wait at last. It has another five minutes to settle; then the consumer ends with an
   * UnavailableError, the cursor before the repo. @defaultValue 600000
   */
  maxReplayMs?: number
  /** Times that an event is given to the sink before it counts as failed. @defaultValue 5, over about three seconds */
  attempts?: number
  /**
   * A larger frame is not looked into; its repo is replayed. The sync specification (atproto.com/specs/sync) caps the
   * blocks of a commit at 2,000,000 bytes, so that no frame of a host that keeps to it comes near. @defaultValue 5 MiB
   */
  maxFrameBytes?: number
  /**
   * A longer message is refused before it is received. At the second attempt, too, it is passed over by going on from
   * now, as a gap. Above `maxFrameBytes`, so that a frame that is a little too large costs one replay and not all.
   *
   * @defaultValue twice `maxFrameBytes`
   */
  maxMessageBytes?: number
  /** A first frame further behind the cursor than this is a gap. @defaultValue 10000 */
  maxSkippedSeqs?: number
  /** How long a relay may take to answer a connection's handshake, in milliseconds. @defaultValue 30000 */
  handshakeTimeoutMs?: number
  /**
   * How long the end may take after the signal, in milliseconds: until frames under way are settled, what was handled
   * is durable and the cursor is saved. @defaultValue 10000
   */
  drainMs?: number
  /** Kept up to date for whoever reads it: health checks, metrics. */
  status?: LiveStatus
  logger?: Logger
}
