import type { Cid } from '@atproto/lex'
import { AtUri } from '@atproto/syntax'
import { messageOf, VerificationError } from '../errors.ts'
import type { CatchUpReceipt, EventSink, RecordUpsert } from '../events.ts'
import { type Logger, silentLogger } from '../logger.ts'
import type { Identity } from '../network/identity.ts'
import type { Xrpc } from '../network/xrpc.ts'
import { recordFromBytes } from '../repo/record.ts'
import { type RepoRecord, readVerifiedRepo, type VerifiedRepo } from '../repo/verified-repo.ts'

export interface ReplayOptions {
  did: string
  sink: EventSink
  identity: Identity
  xrpc: Xrpc
  /**
   * The order of collections, parents first; undefined: of no interest, left out. A repo's own order is
   * alphabetical, which puts `...document` before `...publication`.
   */
  rankOf: (collection: string) => number | undefined
  /** Told now and then how many records have been handed to the sink, of how many. */
  onProgress?: (done: number, total: number) => void
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
  /** Records of the repo that cannot be read as records; nothing can be indexed of them. */
  unreadable: { uri: string; reason: string }[]
}

const PROGRESS_EVERY = 100

/**
 * One account's repo, as its PDS has it now, through an EventSink, parents before children. When it resolves the
 * index has reached the receipt's rev: every record of the repo at that rev is durable, parked or a dead letter.
 *
 * @throws VerificationError when the repo does not stand up to its signature, its tree or its account: nothing is
 *   handed to the sink then. UnavailableError when the PDS or the database is away.
 */
export async function replayRepo(options: ReplayOptions): Promise<ReplayResult> {
  const { did, sink, rankOf, logger = silentLogger } = options
  const { pdsUrl, signingKey } = await options.identity.refresh(did)
  const repo = await readVerifiedRepo(await options.xrpc.getRepoStream(pdsUrl, did), { did, signingKey })
  const records = inRankOrder(repo, rankOf)
  const time = new Date().toISOString()
  const unreadable: ReplayResult['unreadable'] = []
  let done = 0
  for (const record of records) {
    const event = eventOf(repo, record, time)
    if (typeof event === 'string') {
      const uri = uriOf(did, record).toString()
      logger.error({ uri, reason: event }, 'record cannot be read')
      unreadable.push({ uri, reason: event })
    } else {
      await sink.handle(event)
    }
    if (++done % PROGRESS_EVERY === 0) options.onProgress?.(done, records.length)
  }
  await sink.flush()
  options.onProgress?.(records.length, records.length)
  const receipt = { did, rev: repo.rev, commit: repo.commit.toString() }
  const uris = new Set(records.map((record) => uriOf(did, record).toString()))
  return { receipt, records: records.length - unreadable.length, uris, commit: repo.commit, unreadable }
}

function inRankOrder(repo: VerifiedRepo, rankOf: (collection: string) => number | undefined): RepoRecord[] {
  return [...repo.records()]
    .map((record) => ({ record, rank: rankOf(record.collection) }))
    .filter((entry): entry is { record: RepoRecord; rank: number } => entry.rank !== undefined)
    .sort((a, b) => a.rank - b.rank)
    .map(({ record }) => record)
}

/** The record as a create, which every handler treats like an update; or why it cannot be read. */
function eventOf(repo: VerifiedRepo, record: RepoRecord, time: string): RecordUpsert | string {
  const { did, rev, commit } = repo
  const { collection, rkey, cid } = record
  try {
    return {
      event: 'create',
      source: 'repo',
      seq: 0,
      time,
      commit,
      rev,
      did,
      uri: uriOf(did, record),
      collection,
      rkey,
      cid,
      record: recordFromBytes(record.bytes),
    }
  } catch (error) {
    if (error instanceof VerificationError) return messageOf(error)
    throw error
  }
}

function uriOf(did: string, { collection, rkey }: RepoRecord): AtUri {
  return AtUri.make(did, collection, rkey)
}
