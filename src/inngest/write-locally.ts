import type { SessionProvider } from '../pds/session.ts'
import { keepSessions } from './kept-sessions.ts'
import { type Network, runWrite } from './run-write.ts'
import { addSummaries, type WriteSummary } from './summary.ts'
import { requestOf, type WriteJob } from './write-job.ts'

export interface LocalWrite extends WriteJob {
  sessionProvider: SessionProvider
  network: Network
}

/**
 * The steps of the durable function, in this process: nothing is retried but what `writeRecords` retries itself, and
 * a call that threw is repeated to go on where it stopped.
 *
 * @throws SessionError, UnavailableError, PdsError, VerificationError
 */
export async function writeLocally(options: LocalWrite): Promise<WriteSummary> {
  const { signal, onProgress, sessionProvider, network } = options
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
    },
    request,
    {
      sessions: keepSessions(sessionProvider),
      network,
      batchesPerStep: Number.POSITIVE_INFINITY,
      onPlan: ({ batches }) =>
        advance(recordCount - batches.reduce((sum, { records }) => sum + records.length, 0)),
      onCommit: advance,
    },
  )
  // Records that landed with a lost answer, or were refused one by one, came with no commit to count.
  if (recordsDone < recordCount) onProgress?.({ recordsDone: recordCount, recordCount })
  return summary
}
