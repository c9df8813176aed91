import type { Cid } from '@atproto/lex'
import { messageOf, PdsError, shouldRetry } from '../errors.ts'
import type { EventSink, RecordUpsert } from '../events.ts'
import type { Logger } from '../logger.ts'
import { deleteOf, upsertOf } from './repo-events.ts'
import { type HeadNetwork, headRev, pathOf, withHead } from './repo-head.ts'

export interface Revision {
  rev: string
  commit: Cid
}

/** A revision of the repo, with what it holds. */
export interface KnownRevision extends Revision {
  has(path: string): boolean
}

export interface HeadOptions {
  did: string
  network: HeadNetwork
  /** A revision that has been read already: as good as another look while it is the head. */
  known?: KnownRevision
  /** Stands for the head where the PDS has no such account, and so none of its records. @defaultValue it is refused */
  lastKnown?: Revision
}

export interface AbsentRecordsOptions<R extends RecordPath> extends HeadOptions {
  /** Parents first. */
  records: readonly R[]
  sink: EventSink
  /** The head, where the caller has looked at it right before. @defaultValue lookAtHead(options) */
  head?: KnownRevision
  logger: Logger
}

interface RecordPath {
  collection: string
  rkey: string
}

/** How often a repo that moves on while records are deleted is looked at again. */
const MAX_LOOKS = 3

/**
 * Deletes those of the records that the account's repo lacks at its head, looked at right before: what was written
 * again since somebody drew up the list stays. The deletes have the head's revision, by which the index decides in
 * the same transaction: what it has learnt of a record at a later one stays, too. Where the repo has moved on once
 * they are durable, those that came back meanwhile are handed over, for a sink that cannot tell what is newer.
 *
 * @returns those that were deleted, in the order of `records`
 * @throws what the PDS or the sink say: which are gone is not known then, and the same call may be made again
 */
export async function deleteAbsent<R extends RecordPath>(options: AbsentRecordsOptions<R>): Promise<R[]> {
  const { records, did, sink } = options
  if (records.length === 0) return []
  const { rev, commit, has } = options.head ?? (await lookAtHead(options))
  const gone = new Set(records.filter((record) => !has(pathOf(record))))
  if (gone.size === 0) return []
  const revision = { did, rev, commit, time: new Date().toISOString() }
  // Children first.
  for (const record of [...gone].reverse()) await sink.handle(deleteOf(revision, record))
  await sink.flush()
  let seen = rev
  for (let look = 0; look < MAX_LOOKS && gone.size > 0; look++) {
    const news = await newsSince(options, seen, gone)
    if (news === undefined) break
    seen = news.rev
    for (const [record, event] of news.back) {
      await sink.handle(event)
      gone.delete(record)
    }
    await sink.flush()
  }
  return [...gone]
}

/** What the account's repo has now. @throws as withHead, and PdsError where the PDS has no such account */
export async function lookAtHead({ did, network, known, lastKnown }: HeadOptions): Promise<KnownRevision> {
  if (known !== undefined && (await headRev(did, network)) === known.rev) return known
  return withHead(did, network, (repo) => {
    if (repo !== undefined) {
      const paths = new Set([...repo.paths()].map(pathOf))
      return { rev: repo.rev, commit: repo.commit, has: (path: string) => paths.has(path) }
    }
    if (lastKnown !== undefined) return { ...lastKnown, has: () => false }
    throw new PdsError(`The PDS of ${did} has no such account any more`, {
      did,
      error: 'RepoNotFound',
      hint: 'Nothing was deleted. Look at what became of the account, then run the same command again.',
    })
  })
}

/** Those that the repo has again, with their events; undefined: it is where it was, or cannot be asked. */
async function newsSince<R extends RecordPath>(
  { did, network, logger }: AbsentRecordsOptions<R>,
  rev: string,
  gone: ReadonlySet<R>,
): Promise<{ rev: string; back: Map<R, RecordUpsert> } | undefined> {
  try {
    if ((await headRev(did, network)) <= rev) return undefined
    return await withHead(did, network, (repo) => {
      if (repo === undefined) return undefined
      const revision = { did, rev: repo.rev, commit: repo.commit, time: new Date().toISOString() }
      const back = new Map<R, RecordUpsert>()
      for (const record of gone) {
        const found = repo.get(record.collection, record.rkey)
        const event = found === undefined ? undefined : upsertOf(revision, found)
        if (event !== undefined && !('reason' in event)) back.set(record, event)
      }
      return { rev: repo.rev, back }
    })
  } catch (error) {
    if (!(error instanceof PdsError || shouldRetry(error))) throw error
    // The index decided by revision all the same; only a sink without a memory could be behind now.
    logger.warn({ did, error: messageOf(error) }, 'whether the repo has moved on is not known')
    return undefined
  }
}
