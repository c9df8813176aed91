import { readAccounts } from '../database/accounts.ts'
import { readReceipt } from '../database/receipts.ts'
import type { RestoreContext } from './context.ts'
import { replayAccount } from './replay.ts'

export interface ReplayKnownOptions {
  /** Told of an account that could not be replayed; resolves when that is noted. It does not stop the others. */
  onFailed: (did: string, error: unknown) => Promise<void>
  onProgress?: (done: number) => void
  /** Begins no further account. */
  signal: AbortSignal
  /** Accounts replayed at one time. @defaultValue 4 */
  concurrency?: number
}

export interface ReplayedKnown {
  replayed: number
  /** At the revision of their last replay still. */
  unchanged: number
  failed: number
}

/**
 * Replays every account that the index knows, deletes included: the answer to frames that were missed, where nobody
 * can say any more whose they were. An account whose repo stands where its last replay left it costs one question, so
 * that a run which was interrupted goes on quickly.
 *
 * @throws the signal's reason when it aborts; what the database says
 */
export async function replayKnownAccounts(
  context: RestoreContext,
  options: ReplayKnownOptions,
): Promise<ReplayedKnown> {
  const { signal, concurrency = 4 } = options
  const counts: ReplayedKnown = { replayed: 0, unchanged: 0, failed: 0 }
  let done = 0
  for await (const page of readAccounts(context.production)) {
    const rest = page.values()
    const work = async (): Promise<void> => {
      for (const did of rest) {
        signal.throwIfAborted()
        counts[await replayOne(context, did, options)]++
        options.onProgress?.(++done)
      }
    }
    await Promise.all(Array.from({ length: concurrency }, work))
  }
  return counts
}

async function replayOne(
  context: RestoreContext,
  did: string,
  { onFailed, signal }: ReplayKnownOptions,
): Promise<keyof ReplayedKnown> {
  try {
    if (await isUnchanged(context, did)) return 'unchanged'
    await replayAccount(context, did, { withDeletes: true, signal })
    return 'replayed'
  } catch (error) {
    signal.throwIfAborted()
    await onFailed(did, error)
    return 'failed'
  }
}

async function isUnchanged({ production, network }: RestoreContext, did: string): Promise<boolean> {
  const receipt = await readReceipt(production, did)
  if (receipt === undefined) return false
  const { pdsUrl } = await network.identity.refresh(did)
  const latest = await network.xrpc.getLatestCommit(pdsUrl, did)
  return latest.rev === receipt.rev && latest.cid === receipt.commit
}
