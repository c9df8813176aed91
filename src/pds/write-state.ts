import type { RecordOutcome, Refusal } from '../events.ts'
import type { VerifiedRepo } from '../repo/verified-repo.ts'
import { MAX_REQUEST_BYTES } from './batches.ts'
import type { BlobSupply } from './blobs/supply.ts'
import { type Budget, newBudget } from './budget.ts'
import type { RecordName, RecordToWrite } from './pending.ts'
import type { ConflictPolicy } from './plan.ts'
import type { Session } from './session.ts'
import type { Way } from './way.ts'

/** Where a repo stands: what a commit follows. */
export interface Head {
  commit: string
  rev: string
}

/** What a run has learned and the next call of it goes on from: plain JSON, so that durable steps can carry it. */
export interface WriteState {
  budget: Budget
  /**
   * Where the repo stood when it was found that all that is left is to be written: the next call then goes without
   * reading the repo, and fails if it stands elsewhere. Undefined: the repo is read first.
   */
  head?: Head
  /** Lower once the host has refused a request as too large. */
  maxRequestBytes: number
  /** Someone else writes to this repo as well: no call depends on the commit before it any more. */
  isBusy: boolean
  /** Refusals by rate limit since the last call that was not refused. */
  refusals: number
}

export function newWriteState(budget: Budget = newBudget()): WriteState {
  return { budget, maxRequestBytes: MAX_REQUEST_BYTES, isBusy: false, refusals: 0 }
}

export interface WrittenRecord extends RecordName {
  outcome: RecordOutcome
  /** Of outcome `refused`, where it is one of these. */
  refusal?: Refusal
  reason?: string
}

export interface WriteResult {
  /** Those whose outcome is known. */
  records: WrittenRecord[]
  /** Those that are still to be written because the rate limit says so, in their order. */
  left: RecordToWrite[]
  /** When `left` can go on, in milliseconds since 1970, and how many points it was waiting for. */
  wait?: { untilMs: number; points: number }
  /** Commits made. */
  commits: number
  /** Points that the calls cost, refused ones included. */
  points: number
  state: WriteState
}

export interface WriteOptions {
  session: Session
  /** Reads the account's repo afresh: asked when the state is not what was thought. */
  readRepo(): Promise<VerifiedRepo>
  /** @defaultValue 'overwrite' */
  onConflict?: ConflictPolicy
  /** Brings the blobs of a batch to the host just before it. @defaultValue none are needed */
  blobs?: BlobSupply
  /** @defaultValue 'applyWrites' */
  way?: Way
  /** From the call before this one. @defaultValue a new one, with the points of a day untouched */
  state?: WriteState
  /** In milliseconds since 1970. @defaultValue Date.now */
  now?: () => number
  /** Told after each commit. */
  onCommit?: (records: number) => void
  /** Told whenever points were spent, so that they count even if the call throws. */
  onBudget?: (budget: Budget) => void
}
