import type { BlobSupplier } from '../pds/blobs/supply.ts'
import type { PointLimits } from '../pds/budget.ts'
import type { SessionProvider } from '../pds/session.ts'
import { pause } from './follow.ts'
import { keepBlobs } from './kept-blobs.ts'
import { keepBudgets } from './kept-budgets.ts'
import { keepSessions } from './kept-sessions.ts'
import { type Network, runWrite, type Wait } from './run-write.ts'
import { addSummaries, type WriteSummary } from './summary.ts'
import { requestOf, type WriteJob } from './write-job.ts'

export interface LocalWrite extends WriteJob {
  sessionProvider: SessionProvider
  network: Network
  /** Where blobs that the PDS does not serve come from. @defaultValue none are uploaded */
  blobs?: BlobSupplier
  /** What the PDS allows an account. @defaultValue 5,000 points an hour and 35,000 a day */
  pointLimits?: PointLimits
  /** Told when the rate limit asks for a wait. */
  onWait?: (wait: Wait) => void
  /** @defaultValue the system's */
  clock?: Clock
}

export interface Clock {
  /** In milliseconds since 1970. */
  now(): number
  /** Ends early in the signal's reason. */
  waitUntil(ms: number, signal?: AbortSignal): Promise<void>
}

/**
 * The steps of the durable function, in this process: nothing is retried but what `writeRecords` retries itself, and
 * a call that threw is repeated to go on where it stopped. Where the rate limit asks for it, it waits, for hours too.
 *
 * @throws SessionError, UnavailableError, PdsError, VerificationError
 */
export async function writeLocally(options: LocalWrite): Promise<WriteSummary> {
  const { signal, onProgress, sessionProvider, network, blobs, clock = systemClock, onWait } = options
  const request = requestOf(options)
  if (request === undefined) return addSummaries([])
  const recordCount = request.records.length
  let recordsDone = 0
  const advance = (count: number) => {
    recordsDone += count
    onProgress?.({ recordsDone, recordCount })
    signal?.throwIfAborted()
  }
  const summary = await runWrite(
    {
      run: (_, body) => {
        signal?.throwIfAborted()
        return body()
      },
      waitUntil: (_, untilMs) => clock.waitUntil(untilMs, signal),
    },
    { did: request.did, load: async () => request },
    {
      sessions: keepSessions(sessionProvider),
      budgets: keepBudgets(options.pointLimits),
      now: () => clock.now(),
      network,
      stepBudgetMs: Number.POSITIVE_INFINITY,
      ...(blobs === undefined ? {} : { blobs: keepBlobs(blobs) }),
      onPlan: ({ batches }) =>
        advance(recordCount - batches.reduce((sum, { records }) => sum + records.length, 0)),
      onCommit: advance,
      ...(onWait === undefined ? {} : { onWait }),
    },
  )
  // Records that landed with a lost answer, or were refused one by one, came with no commit to count.
  if (recordsDone < recordCount) onProgress?.({ recordsDone: recordCount, recordCount })
  return summary
}

/** Cut into pieces, since a computer that slept must not sleep on, and a timer holds no more than 24 days. */
const LONGEST_TIMER_MS = 60_000

const systemClock: Clock = {
  now: () => Date.now(),
  async waitUntil(untilMs, signal) {
    for (let leftMs = untilMs - Date.now(); leftMs > 0; leftMs = untilMs - Date.now()) {
      await pause(Math.min(leftMs, LONGEST_TIMER_MS), signal)
    }
    signal?.throwIfAborted()
  },
}
