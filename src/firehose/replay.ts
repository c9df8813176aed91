import type { Cid } from '@atproto/lex'
import { messageOf, UnavailableError, VerificationError } from '../errors.ts'
import type { CatchUpReceipt, EventSink } from '../events.ts'
import { type Logger, silentLogger } from '../logger.ts'
import { createFetch } from '../network/fetch.ts'
import { createIdentity, type Identity } from '../network/identity.ts'
import { createXrpc, type Xrpc } from '../network/xrpc.ts'
import { openRepo, type RepoChanges, type SpooledRepo } from '../repo/verified-repo.ts'
import { deleteOf, type RevisionOf, upsertOf } from './repo-events.ts'
import { abortable } from './repo-head.ts'
import { type ReplayTarget, sinkOf } from './target.ts'

export type ReplayOptions = ReplayTarget & {
  did: string
  /** @defaultValue createIdentity() */
  identity?: Identity
  /** @defaultValue one over createFetch(), with this limit on repositories */
  xrpc?: Xrpc
  /**
   * The order of collections, parents first; undefined: of no interest, left out. A repo's own order is
   * alphabetical, which puts `...document` before `...publication`. @defaultValue all, in the repo's order
   */
  rankOf?: (collection: string) => number | undefined
  /** Only these, of those that have a rank. @defaultValue all */
  collections?: readonly string[]
  /** Size of the repository's CAR at which reading stops. @defaultValue 1 GiB */
  maxRepoBytes?: number
  /** Size beyond which the CAR is kept in a temporary file. @defaultValue 32 MiB */
  memoryBytes?: number
  /** How often the replay follows a repo that moves on underneath. @defaultValue 3 */
  maxTopUps?: number
  /** Told now and then how many records have been handed to the sink, of how many. */
  onProgress?: (done: number, total: number) => void
  signal?: AbortSignal
  logger?: Logger
}

export interface ReplayResult {
  receipt: CatchUpReceipt
  /** Records handed to the sink. */
  records: number
  /** AT-URIs of all records of the replayed collections that the repo has. */
  uris: ReadonlySet<string>
  /** CID of the commit that was replayed. */
  commit: Cid
  /** Times that the repo had moved on when its records had been handed over. */
  topUps: number
  /** Records of the repo that cannot be read as records; nothing can be indexed of them. */
  unreadable: { uri: string; reason: string }[]
}

const PROGRESS_EVERY = 100
const DEFAULT_MAX_TOP_UPS = 3

/**
 * One account's repo, as its PDS has it now, through an EventSink or the handler of @atproto/sync's Firehose, parents
 * before children. When it resolves the index has reached the receipt's rev: every record of the repo at that rev (of
 * the collections of interest) is durable, parked or a dead letter.
 *
 * Where the repo has moved on meanwhile, what changed is fetched and handed over too, deletes of what this replay had
 * handed over included; records that were gone before it are none of its business.
 *
 * At least once: who runs it again, or retries what a handler threw, is given records again; and while live ingestion
 * goes on in the same process or another, a handler may see a record's older version after its newer one. Our Indexer
 * decides by revision. A handler of one's own that keeps no revisions must compare `rev` itself, or let nothing else
 * write the account's rows until the replay has ended.
 *
 * Memory holds one block at a time beside the list of records, and the whole CAR while it is small.
 *
 * @throws VerificationError when the repo does not stand up to its signature, its tree, its account or the size limit:
 *   nothing is handed to the sink then. UnavailableError when the PDS or the database is away. The signal's reason
 */
export async function replayRepo(options: ReplayOptions): Promise<ReplayResult> {
  const { did } = options
  const network = networkOf(options)
  const rankOf = wantedRanks(options)
  const { pdsUrl, signingKey } = await network.identity.refresh(did)
  const chunks = await network.xrpc.getRepoStream(pdsUrl, did)
  const repo = await openRepo(abortable(chunks, options.signal), {
    did,
    signingKey,
    isWanted: (collection) => rankOf(collection) !== undefined,
    ...(options.maxRepoBytes === undefined ? {} : { maxBytes: options.maxRepoBytes }),
    ...(options.memoryBytes === undefined ? {} : { memoryBytes: options.memoryBytes }),
  })
  try {
    const replay = new RepoReplay(repo, options, rankOf)
    await replay.handOver({ upserts: [...repo.paths()], deletes: [] })
    const topUps = await followHead(repo, replay, options, network)
    return replay.result(topUps)
  } finally {
    repo.close()
  }
}

interface Network {
  identity: Identity
  xrpc: Xrpc
}

function networkOf({ identity, xrpc, maxRepoBytes }: ReplayOptions): Network {
  const limits = maxRepoBytes === undefined ? {} : { maxRepoBytes }
  return {
    identity: identity ?? createIdentity(),
    xrpc: xrpc ?? createXrpc({ fetch: createFetch(), ...limits }),
  }
}

function wantedRanks({ rankOf = () => 0, collections }: ReplayOptions) {
  if (collections === undefined) return rankOf
  const wanted = new Set(collections)
  return (collection: string) => (wanted.has(collection) ? rankOf(collection) : undefined)
}

/** Follows a repo that moved on while it was replayed. @returns how often */
async function followHead(
  repo: SpooledRepo,
  replay: RepoReplay,
  options: ReplayOptions,
  network: Network,
): Promise<number> {
  const { did, maxTopUps = DEFAULT_MAX_TOP_UPS, logger = silentLogger } = options
  for (let round = 0; ; round++) {
    await replay.flush()
    if (round >= maxTopUps) return round
    let changes: RepoChanges | undefined
    try {
      changes = await changesOf(repo, options, network)
    } catch (error) {
      if (!(error instanceof UnavailableError)) throw error
      // What was replayed stands; whoever needs the newest revision compares the receipt with the repo's.
      logger.warn({ did, error: messageOf(error) }, 'whether the repo has moved on is not known')
    }
    if (changes === undefined) return round
    await replay.handOver(changes)
  }
}

/** What the repo has become meanwhile; undefined when it is as it was. */
async function changesOf(
  repo: SpooledRepo,
  { did, signal, logger = silentLogger }: ReplayOptions,
  { identity, xrpc }: Network,
): Promise<RepoChanges | undefined> {
  // Both afresh: an account that moves takes its repo and its key along.
  const { pdsUrl, signingKey } = await identity.refresh(did)
  const { rev } = await xrpc.getLatestCommit(pdsUrl, did)
  if (rev <= repo.rev) return undefined
  logger.info({ did, from: repo.rev, to: rev }, 'the repo has moved on; fetching what changed')
  const fetchSince = async (since?: string) =>
    repo.topUp(abortable(await xrpc.getRepoStream(pdsUrl, did, since), signal), { did, signingKey })
  return changesSince(fetchSince, repo.rev, logger)
}

/** A host may have lost what `since` asks it to tell apart; all of it is as good, and only larger. */
async function changesSince(
  fetchSince: (since?: string) => Promise<RepoChanges>,
  rev: string,
  logger: Logger,
): Promise<RepoChanges> {
  try {
    return await fetchSince(rev)
  } catch (error) {
    if (!(error instanceof VerificationError)) throw error
    logger.warn({ rev, error: messageOf(error) }, 'what changed since is not enough; fetching the whole repo')
    return fetchSince()
  }
}

type Path = RepoChanges['upserts'][number]

class RepoReplay {
  readonly #repo: SpooledRepo
  readonly #options: ReplayOptions
  readonly #sink: EventSink
  readonly #rankOf: (collection: string) => number | undefined
  readonly #logger: Logger
  readonly #unreadable = new Map<string, string>()
  #done = 0
  #total = 0

  constructor(repo: SpooledRepo, options: ReplayOptions, rankOf: (collection: string) => number | undefined) {
    this.#repo = repo
    this.#options = options
    this.#sink = sinkOf(options)
    this.#rankOf = rankOf
    this.#logger = options.logger ?? silentLogger
  }

  /** Children are deleted before their parents, and written after them. */
  async handOver({ upserts, deletes }: RepoChanges): Promise<void> {
    const { did, rev, commit } = this.#repo
    const revision = { did, rev, commit, time: new Date().toISOString() }
    this.#total += upserts.length + deletes.length
    for (const gone of this.#inRankOrder(deletes).reverse()) {
      await this.#sink.handle(deleteOf(revision, gone))
      this.#advance()
    }
    for (const path of this.#inRankOrder(upserts)) {
      await this.#upsert(revision, path)
      this.#advance()
    }
  }

  async flush(): Promise<void> {
    await this.#sink.flush()
    this.#options.onProgress?.(this.#done, this.#total)
  }

  result(topUps: number): ReplayResult {
    const { did, rev, commit } = this.#repo
    const uris = new Set<string>()
    for (const { collection, rkey } of this.#repo.paths()) uris.add(`at://${did}/${collection}/${rkey}`)
    return {
      receipt: { did, rev, commit: commit.toString() },
      records: this.#done - this.#unreadable.size,
      uris,
      commit,
      topUps,
      unreadable: [...this.#unreadable].map(([uri, reason]) => ({ uri, reason })),
    }
  }

  #inRankOrder<P extends Path>(paths: readonly P[]): P[] {
    return paths.toSorted((a, b) => (this.#rankOf(a.collection) ?? 0) - (this.#rankOf(b.collection) ?? 0))
  }

  async #upsert(revision: RevisionOf, { collection, rkey }: Path): Promise<void> {
    const record = this.#repo.get(collection, rkey)
    if (record === undefined) throw new Error('A repository has no record under one of its own paths.')
    const event = upsertOf(revision, record)
    if (!('reason' in event)) return this.#sink.handle(event)
    const uri = `at://${revision.did}/${collection}/${rkey}`
    this.#logger.error({ uri, reason: event.reason }, 'record cannot be read')
    this.#unreadable.set(uri, event.reason)
  }

  #advance(): void {
    this.#options.signal?.throwIfAborted()
    if (++this.#done % PROGRESS_EVERY === 0) this.#options.onProgress?.(this.#done, this.#total)
  }
}
