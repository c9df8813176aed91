import type { Database } from '../database/client.ts'
import { readReceipt, saveReceipt } from '../database/receipts.ts'
import type { CatchUpReceipt, OutcomeCounts } from '../events.ts'
import { type RelayReplayResult, receiptOf, replayRelay } from '../firehose/replay-relay.ts'
import { Indexer } from '../indexer/indexer.ts'
import type { RestoreContext } from './context.ts'
import { ranksAmong, readWithoutRecord } from './prune.ts'
import { assertHandled } from './replay.ts'

export interface ReplayFromRelayOptions {
  /** Relay or PDS, as `wss://bsky.network`. */
  service: string
  /** The window begins after this seq. */
  cursor: number
  /** The window's last seq. @defaultValue the newest that the relay has when the replay starts */
  until?: number
  /** Only these collections. @defaultValue all that the appview has a handler for */
  collections?: readonly string[]
  onPosition?: (seq: number, until: number | undefined) => void
  signal?: AbortSignal
}

export interface ReplayedFromRelay extends RelayReplayResult {
  counts: OutcomeCounts
  /**
   * What the index has reached, where the window proves it: it follows on what the index had reached before, or holds
   * the repo's beginning, without a gap. Undefined otherwise: then only a replay of the repo proves anything.
   */
  receipt?: CatchUpReceipt
}

/**
 * Replays an account's slice of a relay's firehose into the tables, without side effects. The index decides per
 * record by revision, so that a window of the past, with deletes in it, takes nothing that is newer; what it brings
 * and the repo has deleted since is deleted again at the end.
 *
 * @throws as `replayRelay`
 */
export async function replayAccountFromRelay(
  context: RestoreContext,
  did: string,
  options: ReplayFromRelayOptions,
): Promise<ReplayedFromRelay> {
  const { appview, production, logger, network } = context
  const { collections, ...window } = options
  assertHandled(context, collections)
  const rankOf = ranksAmong(context, collections)
  const indexer = new Indexer({ appview, database: production, logger })
  const ownSink = context.openSink?.()
  const withoutRecord = await readWithoutRecord(production, did)
  const result = await replayRelay({
    did,
    ...window,
    ...network,
    sink: ownSink ?? indexer,
    sparesPresent: ownSink !== undefined,
    dropsAbsent: true,
    exempt: new Set([...withoutRecord].map((uri) => uri.slice(`at://${did}/`.length))),
    isWanted: (collection) => rankOf(collection) !== undefined,
    logger,
  })
  const counts = ownSink === undefined ? indexer.counts : { ...indexer.counts, applied: result.records }
  const receipt =
    collections === undefined ? receiptOf(result, await readReceipt(production, did)) : undefined
  if (receipt === undefined) return { ...result, counts }
  return { ...result, counts, receipt: await keepNewer(production, receipt) }
}

/** A window of the past proves less than what the index may have reached since. @returns what it has reached */
async function keepNewer(production: Database, receipt: CatchUpReceipt): Promise<CatchUpReceipt> {
  // Read anew: live ingestion or another replay may have gone on meanwhile.
  const known = await readReceipt(production, receipt.did)
  if (known !== undefined && known.rev > receipt.rev) {
    const { did, rev, commit } = known
    return { did, rev, commit }
  }
  // The window has its own deletes; those before it are as well known as they were.
  await saveReceipt(production, { ...receipt, withDeletes: known?.withDeletes ?? false })
  return receipt
}
