import { saveReceipt } from '../database/receipts.ts'
import { readRecordStates } from '../database/record-state.ts'
import { ConfigError, RestoreError } from '../errors.ts'
import type { CatchUpReceipt, OutcomeCounts } from '../events.ts'
import { deleteAbsent } from '../firehose/absent-records.ts'
import { type ReplayResult, replayRepo } from '../firehose/replay.ts'
import type { RestoreContext } from './context.ts'
import { acceptOlderRev, assertNotGoneBack } from './older-rev.ts'
import {
  type AbsentRecord,
  absentFrom,
  type Indexed,
  ranksAmong,
  readIndexed,
  readOwnRows,
  readWithoutRecord,
  restingOnBackup,
  unchangedSince,
} from './prune.ts'
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
  /** With `prune`: URIs of records that the repo does not have and whose rows rest on the backup alone. They stay. */
  onBackupAlone: readonly string[]
}

/** How often the repo may move on underneath before we stop running after it. */
const MAX_ROUNDS = 3

export interface ReplayAccountOptions {
  /** A revision that the index must have reached at the end. */
  atLeastRev?: string
  /**
   * Also deletes what the index knows as standing and the repo no longer has: for a consumer that could not read the
   * events that said so. A replay that an operator asks for leaves such rows alone. A handler of the operator's own
   * keeps no record state: it is given deletes of the records whose rows the tables of the description hold.
   *
   * @defaultValue false
   */
  withDeletes?: boolean
  /**
   * Records that events named as deleted which could not be believed: with `withDeletes`, those that the repo lacks
   * are deleted too, whatever the index knows of them.
   */
  namedDeletes?: readonly { collection: string; rkey: string }[]
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
    if (replayed.isCaughtUp) {
      const { withDeletes = false } = options
      await saveReceipt(context.production, { ...replayed.receipt, withDeletes })
    }
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
  const before = await indexedBefore(context, did, options, ownSink !== undefined)
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
  // Where the time is over, each further question may cost minutes at a slow host.
  signal?.throwIfAborted()
  // An operator's own consumer keeps no record state: what is in it is not about its rows.
  if (ownSink === undefined) await assertNotGoneBack(context, did, receipt.rev)
  const absent = await absentRecords(context, result, { ...options, before, rankOf })
  const pruned = await deleteAbsent({
    did,
    records: absent,
    sink,
    network: {
      ...context.network,
      ...(maxRepoBytes === undefined ? {} : { maxRepoBytes }),
      ...(signal === undefined ? {} : { signal }),
    },
    known: knownOf(result),
    logger,
  })
  const counts = ownSink === undefined ? indexer.counts() : { ...indexer.counts(), applied: records }
  const onBackupAlone = options.prune && before ? restingOnBackup(before, result) : []
  const isCaughtUp = collections === undefined
  return { receipt, isCaughtUp, records, counts, unreadable, pruned, onBackupAlone }
}

/** What may have to be deleted; undefined where that is not asked for, or is to be looked up once it is. */
async function indexedBefore(
  context: RestoreContext,
  did: string,
  { prune, withDeletes = false }: ReplayAccountOptions,
  isOwnSink: boolean,
): Promise<Indexed | undefined> {
  if (prune !== undefined) return readIndexed(context, did)
  if (!(withDeletes && isOwnSink)) return undefined
  // Its rows only: of its records nothing else is known.
  const rows = await readOwnRows(context, did)
  const withoutRecord = await readWithoutRecord(context.production, did)
  const withRecord = [...rows].filter(([uri]) => !withoutRecord.has(uri))
  return { records: new Map(withRecord.map(([uri, table]) => [uri, { table }])) }
}

/** What is to be deleted, parents first: nothing, unless it was asked for. */
async function absentRecords(
  context: RestoreContext,
  { receipt: { did, rev }, uris }: ReplayResult,
  {
    before,
    prune,
    withDeletes,
    namedDeletes = [],
    rankOf,
  }: Pick<ReplayAccountOptions, 'prune' | 'withDeletes' | 'namedDeletes'> & {
    before: Indexed | undefined
    rankOf: (collection: string) => number | undefined
  },
): Promise<AbsentRecord[]> {
  if (withDeletes) {
    const known = before ?? (await readStanding(context, did))
    const namedUris = namedDeletes.map(({ collection, rkey }) => `at://${did}/${collection}/${rkey}`)
    const withoutRecord =
      namedUris.length === 0 ? new Set() : await readWithoutRecord(context.production, did)
    const named = namedUris.filter((uri) => !withoutRecord.has(uri)).map((uri): [string, object] => [uri, {}])
    return absentFrom({ records: new Map([...named, ...known.records]) }, { rev, uris }, rankOf)
  }
  if (before === undefined || prune === undefined) return []
  const absent = absentFrom(before, { rev, uris }, rankOf)
  if (absent.length === 0 || !(await prune(absent))) return []
  // Whoever was asked may have taken an hour to answer.
  return unchangedSince(absent, { before, now: await readIndexed(context, did) })
}

async function readStanding({ production }: RestoreContext, did: string): Promise<Indexed> {
  const states = await readRecordStates(production, did)
  const standing = [...states.values()].filter(({ deleted }) => !deleted)
  return { records: new Map(standing.map(({ uri, rev }) => [uri, { rev }])) }
}

function knownOf({ receipt: { did, rev }, commit, uris }: ReplayResult) {
  return { rev, commit, has: (path: string) => uris.has(`at://${did}/${path}`) }
}
