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
  /** Uploads of blobs that the host still takes, at a point each. Undefined: a new day's. */
  uploads?: Budget
  /**
   * Where the repo stood when it was found that all that is left is to be written: the next call then goes without
   * reading the repo, and fails if it stands elsewhere. Undefined: the repo is read first.
   */
  head?: Head
  /** Lower once the host has refused a request as too large. */
  maxRequestBytes: number
  /** Lower once records were refused, or someone else made some of the same. Undefined: as many as a host takes. */
  maxItems?: number
  /**
   * Someone else writes to this repo as well: no call depends on the commit before it any more. A refused swap costs
   * the whole batch its points, and a create without one fails only where a record is there already: of 1,000 creates
   * beside a commit a second, plain ones took 5 calls and 3,000 points, those with swapCommit 9 and 5,400 (14 and
   * 6,300 with batches halved after each refusal); beside four commits a second the latter never got through
   * (scripts/bench/contention.ts).
   */
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

export interface WriteWait {
  /** In milliseconds since 1970. */
  untilMs: number
  /** That the next call needs. */
  points: number
  /** Blobs that the first record still needs: set where it waits for the host to take more of them. */
  uploads?: number
}

export interface WriteResult {
  /** Those whose outcome is known. */
  records: WrittenRecord[]
  /** Those that are still to be written because a limit of the host says so, or the deadline; in their order, what failed last. */
  left: RecordToWrite[]
  /** When `left` can go on. Undefined where some are left: at once, the deadline has passed. */
  wait?: WriteWait
  /** Commits made. */
  commits: number
  /** Points that the calls cost, refused ones included. */
  points: number
  /** Blobs that the host took, where any were to be brought. */
  uploaded?: { count: number; bytes: number }
  state: WriteState
}

export interface WriteOptions {
  session: Session
  /** Reads the account's repo afresh: asked when the state is not what was thought. */
  readRepo(): Promise<VerifiedRepo>
  /** @defaultValue 'overwrite' */
  onConflict?: ConflictPolicy
  /** Of the records' blobs, which are brought to the host just before the batch that needs them. @defaultValue none is brought */
  blobs?: BlobSupply
  /** @defaultValue 'applyWrites' */
  way?: Way
  /** From the call before this one. @defaultValue a new one, with the points of a day untouched */
  state?: WriteState
  /** In milliseconds since 1970. @defaultValue Date.now */
  now?: () => number
  /**
   * In milliseconds since 1970, by `now`. Looked at between calls and between uploads: when it has passed no further
   * one is begun, once the outcome of one record at least is known. Records whose blobs are at the host by then are
   * written, so that a step that is ended by force after this loses nothing. @defaultValue none
   */
  deadlineMs?: number
  /** Told after each commit. */
  onCommit?: (records: number) => void
  /** Told whenever points were spent, so that they count even if the call throws. */
  onBudget?: (budget: Budget) => void
  /** The same for uploads of blobs. */
  onUploads?: (uploads: Budget) => void
}
