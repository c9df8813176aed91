import { saveReceipt } from '../database/receipts.ts'
import { readRecordStates } from '../database/record-state.ts'
import { ConfigError, RestoreError } from '../errors.ts'
import type { CatchUpReceipt, EventSink, OutcomeCounts } from '../events.ts'
import { type ReplayResult, replayRepo } from '../firehose/replay.ts'
import { deleteOf } from '../firehose/repo-events.ts'
import type { RestoreContext } from './context.ts'
import { acceptOlderRev, assertNotGoneBack } from './older-rev.ts'
import { type AbsentRecord, absentFrom, type Indexed, ranksAmong, readIndexed } from './prune.ts'
import { replayIndexer } from './replay-indexer.ts'

export interface Replayed {
  /**
   * What the index has reached. Kept, for `reconcile` to rely on, when all collections of the appview were replayed;
   * of a part it says only how new that part is.
   */
  receipt: CatchUpReceipt
  /** Whether the receipt was kept. */
  isCaughtUp: boolean
  /** Records handed to the indexer. */
  records: number
  /** A sink of the operator's own says no more than that it took them: all count as applied. */
  counts: OutcomeCounts
  unreadable: { uri: string; reason: string }[]
  /** Records that were deleted because the repo no longer has them. */
  pruned: AbsentRecord[]
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
  /** Only these collections. @defaultValue all that the appview has a handler for */
  collections?: readonly string[]
  /**
   * Asked, with the records that the tables hold and the repo no longer has, whether to delete them. Rows of all
   * origins are meant, not only those that our record state knows. @defaultValue they stay
   */
  prune?: (absent: readonly AbsentRecord[]) => Promise<boolean>
  /** Believes a repo that has gone back; see older-rev. @defaultValue false */
  acceptOlderRev?: boolean
  /** Size of the repository's CAR at which reading stops. @defaultValue 1 GiB */
  maxRepoBytes?: number
  onProgress?: (done: number, total: number) => void
  signal?: AbortSignal
}

/**
 * Replays an account's repo into the tables through the indexer, without side effects, and remembers the receipt.
 *
 * The newer revision wins, per record: a repo that has gone back changes nothing that the index knows from later.
 *
 * @throws RestoreError when the repo stays behind `atLeastRev`, or has gone back; what could be applied has been
 * @throws ConfigError for a collection without a handler, before anything is fetched
 */
export async function replayAccount(
  context: RestoreContext,
  did: string,
  options: ReplayAccountOptions = {},
): Promise<Replayed> {
  assertHandled(context, options.collections)
  if (options.acceptOlderRev) await setBack(context, did)
  for (let round = 1; round <= MAX_ROUNDS; round++) {
    const replayed = await replayOnce(context, did, options)
    const { rev } = replayed.receipt
    if (replayed.isCaughtUp) await saveReceipt(context.production, replayed.receipt)
    if (options.atLeastRev === undefined || rev >= options.atLeastRev) return replayed
  }
  throw new RestoreError(
    `The repo of ${did} is still behind revision ${options.atLeastRev}, which was written to it.`,
    {
      did,
      hint: 'Check that the DID document names the PDS that was written to, then run the same command again.',
    },
  )
}

/** @throws ConfigError */
export function assertHandled(
  { appview }: Pick<RestoreContext, 'appview'>,
  collections: readonly string[] | undefined,
): void {
  const known = appview.handlers.map(({ collection }) => collection)
  const unknown = collections?.filter((collection) => !known.includes(collection)) ?? []
  if (unknown.length === 0) return
  throw new ConfigError(`The appview ${appview.name} indexes nothing from ${unknown.join(', ')}.`, {
    hint: `It has handlers for ${known.join(', ')}.`,
  })
}

async function setBack({ production, network, logger }: RestoreContext, did: string): Promise<void> {
  const { pdsUrl } = await network.identity.refresh(did)
  const { rev } = await network.xrpc.getLatestCommit(pdsUrl, did)
  const count = await acceptOlderRev(production, did, rev)
  if (count > 0) logger.warn({ did, rev, count }, 'states later than the repo are set back to it')
}

async function replayOnce(
  context: RestoreContext,
  did: string,
  options: ReplayAccountOptions,
): Promise<Replayed> {
  const { logger } = context
  const { collections, maxRepoBytes, onProgress, signal } = options
  const indexer = replayIndexer(context)
  const ownSink = context.openSink?.()
  const sink = ownSink ?? indexer.sink
  const rankOf = ranksAmong(context, collections)
  // Before the repo is read: what is written meanwhile cannot be taken for what the repo no longer has.
  const indexed = options.prune === undefined ? undefined : await readIndexed(context, did)
  const result = await replayRepo({
    did,
    sink,
    rankOf,
    logger,
    ...context.network,
    ...(maxRepoBytes === undefined ? {} : { maxRepoBytes }),
    ...(onProgress === undefined ? {} : { onProgress }),
    ...(signal === undefined ? {} : { signal }),
  })
  const { receipt, records, unreadable } = result
  // An operator's own consumer keeps no record state: what is in it is not about its rows.
  if (ownSink === undefined) await assertNotGoneBack(context, did, receipt.rev)
  const absent = await absentRecords(context, did, result, { ...options, indexed, rankOf })
  await deleteAll(sink, result, absent)
  const counts = ownSink === undefined ? indexer.counts() : { ...indexer.counts(), applied: records }
  return { receipt, isCaughtUp: collections === undefined, records, counts, unreadable, pruned: absent }
}

/** What is to be deleted: nothing, unless it was asked for. */
async function absentRecords(
  { production }: RestoreContext,
  did: string,
  { receipt: { rev }, uris }: ReplayResult,
  {
    indexed,
    prune,
    withDeletes,
    rankOf,
  }: Pick<ReplayAccountOptions, 'prune' | 'withDeletes'> & {
    indexed: Indexed | undefined
    rankOf: (collection: string) => number | undefined
  },
): Promise<AbsentRecord[]> {
  if (withDeletes) {
    const states = await readRecordStates(production, did)
    const standing = [...states.values()].filter(({ deleted }) => !deleted)
    const records = new Map(standing.map((state) => [state.uri, { rev: state.rev }]))
    return absentFrom({ records }, { rev, uris }, rankOf)
  }
  if (indexed === undefined || prune === undefined) return []
  const absent = absentFrom(indexed, { rev, uris }, rankOf)
  return absent.length > 0 && (await prune(absent)) ? absent : []
}

/** At the replayed revision: what the index has learnt later than that is newer, and stays. */
async function deleteAll(
  sink: EventSink,
  { receipt: { did, rev }, commit }: ReplayResult,
  absent: readonly AbsentRecord[],
): Promise<void> {
  if (absent.length === 0) return
  const revision = { did, rev, commit, time: new Date().toISOString() }
  for (const record of absent.toReversed()) await sink.handle(deleteOf(revision, record))
  await sink.flush()
}
