import { AtUri } from '@atproto/syntax'
import { saveReceipt } from '../database/receipts.ts'
import { readRecordStates } from '../database/record-state.ts'
import { RestoreError } from '../errors.ts'
import type { CatchUpReceipt, EventSink, OutcomeCounts, RecordEvent } from '../events.ts'
import { replayRepo } from '../firehose/replay.ts'
import { Indexer } from '../indexer/indexer.ts'
import type { RestoreContext } from './context.ts'
import { ranksOf } from './write.ts'

export interface Replayed {
  receipt: CatchUpReceipt
  /** Records handed to the indexer. */
  records: number
  /** A sink of the operator's own says no more than that it took them: all count as applied. */
  counts: OutcomeCounts
  unreadable: { uri: string; reason: string }[]
}

/** How often the repo may move on underneath before we stop running after it. */
const MAX_ROUNDS = 3

export interface ReplayAccountOptions {
  /** A revision that the index must have reached at the end. */
  atLeastRev?: string
  /**
   * Also deletes what the index knows as standing and the repo no longer has: for a consumer that could not read the
   * events that said so. A replay that an operator asks for leaves such rows alone. @defaultValue false
   */
  withDeletes?: boolean
  onProgress?: (done: number, total: number) => void
}

/**
 * Replays an account's repo into the tables through the indexer, without side effects, and remembers the receipt.
 *
 * @param atLeastRev a revision that the index must have reached at the end; the PDS may serve an older copy for a
 *   moment, then the replay is repeated
 * @throws RestoreError when the repo stays behind that revision
 */
export async function replayAccount(
  context: RestoreContext,
  did: string,
  options: ReplayAccountOptions = {},
): Promise<Replayed> {
  const { appview, production, logger } = context
  for (let round = 1; round <= MAX_ROUNDS; round++) {
    const indexer = new Indexer({ appview, database: production, logger })
    const ownSink = context.openSink?.()
    const sink = ownSink ?? indexer
    const { receipt, records, uris, commit, unreadable } = await replayRepo({
      did,
      sink,
      rankOf: ranksOf(context),
      logger,
      ...context.network,
      ...(options.onProgress === undefined ? {} : { onProgress: options.onProgress }),
    })
    if (options.withDeletes) await replayDeletes(context, sink, { receipt, uris, commit })
    await saveReceipt(production, receipt)
    if (options.atLeastRev === undefined || receipt.rev >= options.atLeastRev) {
      const counts = ownSink === undefined ? indexer.counts : { ...indexer.counts, applied: records }
      return { receipt, records, counts, unreadable }
    }
  }
  throw new RestoreError(
    `The repo of ${did} is still behind revision ${options.atLeastRev}, which was written to it.`,
    {
      did,
      hint: 'Check that the DID document names the PDS that was written to, then run the same command again.',
    },
  )
}

/** Deletes at the replayed revision: what the index has learnt later than that is newer, and stays. */
async function replayDeletes(
  { production }: RestoreContext,
  sink: EventSink,
  {
    receipt,
    uris,
    commit,
  }: { receipt: CatchUpReceipt; uris: ReadonlySet<string>; commit: RecordEvent['commit'] },
): Promise<void> {
  const { did, rev } = receipt
  const time = new Date().toISOString()
  for (const state of (await readRecordStates(production, did)).values()) {
    if (state.deleted || uris.has(state.uri)) continue
    const uri = new AtUri(state.uri)
    const { collection, rkey } = uri
    await sink.handle({
      event: 'delete',
      source: 'repo',
      seq: 0,
      time,
      commit,
      rev,
      uri,
      did,
      collection,
      rkey,
    })
  }
  await sink.flush()
}
