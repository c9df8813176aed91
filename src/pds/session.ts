import { Agent, type ComAtprotoRepoApplyWrites } from '@atproto/api'
import { UnavailableError } from '../errors.ts'
import type { JsonObject } from '../events.ts'
import type { RateLimit } from './budget.ts'
import type { AuthenticatedFetch, SessionProvider } from './sessions/authenticated-fetch.ts'
import { deadSession, failureOf, openFailureOf } from './sessions/failure.ts'
import { headersOf, rateLimitIn } from './sessions/rate-limits.ts'
import { missingScopes, type Needs } from './sessions/scopes.ts'

export type { AuthenticatedFetch, SessionProvider } from './sessions/authenticated-fetch.ts'

/** One operation on one record, as com.atproto.repo.applyWrites takes it. */
export type WriteOp = ComAtprotoRepoApplyWrites.InputSchema['writes'][number]

/** What the host said of its rate limits with an answer. `rateLimitOf` has that of an error. */
export interface Limited {
  limits?: RateLimit
}

export interface Commit {
  commit: string
  rev: string
}

export interface Stored {
  /** CIDs that the host gave the records, in the order of the operations. Undefined: it did not say. */
  cids?: string[]
}

export interface PutRecord {
  collection: string
  rkey: string
  record: JsonObject
  /** CID of the record that this one replaces; null: there must be none. Another one there is an InvalidSwap. */
  swapRecord: string | null
}

/**
 * A session that may write one account's repo. Lexicon validation is off: what is restored was there before.
 *
 * All calls throw SessionError when the session is dead or was not granted this, UnavailableError when the host did
 * not answer, limits us (with `retryAtMs`) or left the outcome unknown, and PdsError when it refused for good.
 */
export interface Session {
  readonly did: string
  /**
   * Asks the PDS, with one call that costs no points, whether the session is alive, is of this account and may write
   * what is needed.
   *
   * @param needs checked where the session's scope is known. @defaultValue none
   */
  verify(needs?: Needs): Promise<void>
  /**
   * One atomic commit with these operations.
   *
   * @param swapCommit CID of the commit this is to follow; another one in between is a PdsError `InvalidSwap`
   */
  applyWrites(writes: WriteOp[], swapCommit?: string): Promise<Commit & Limited & Stored>
  /** One record. No commit comes back when it is there already, exactly so. */
  putRecord(put: PutRecord): Promise<Partial<Commit> & Limited & { cid: string }>
  /** The host's CID, media type (by its own look at the bytes) and size. Kept for about an hour unless a record refers to it. */
  uploadBlob(
    bytes: Uint8Array,
    mimeType: string,
  ): Promise<Limited & { cid: string; mimeType: string; size: number }>
}

/** @throws SessionError when the provider has none for this account, UnavailableError when it cannot be reached */
export async function openSession(did: string, provider: SessionProvider): Promise<Session> {
  try {
    return sessionOf(did, await provider(did))
  } catch (error) {
    throw openFailureOf({ did }, error)
  }
}

function sessionOf(did: string, fetch: AuthenticatedFetch): Session {
  const { scope, renewHint } = fetch
  const owner = { did, renewHint }
  const agent = new Agent((path, init) => fetch(path, init))
  const { server, repo } = agent.com.atproto
  const attempt = async <T>(call: () => Promise<T>): Promise<T> => {
    try {
      return await call()
    } catch (error) {
      throw failureOf(owner, error)
    }
  }
  return {
    did,
    async verify(needs = {}) {
      const missing = scope === undefined ? [] : missingScopes(scope, needs)
      if (missing.length > 0) throw deadSession(owner, `it was not granted ${missing.join(', ')}`)
      const { data } = await attempt(() => server.getSession())
      if (data.did !== did) throw deadSession(owner, `this one is of ${data.did}`)
      if (data.active === false) throw deadSession(owner, `the account is ${data.status ?? 'not active'}`)
    },
    async applyWrites(writes, swapCommit) {
      const swap = swapCommit === undefined ? {} : { swapCommit }
      // As bytes: of an object the client would look through every value for what is not JSON yet.
      const body = Buffer.from(JSON.stringify({ repo: did, validate: false, writes, ...swap }))
      const { data: output, headers } = await attempt(() =>
        agent.call('com.atproto.repo.applyWrites', {}, body, { encoding: 'application/json' }),
      )
      const data: ComAtprotoRepoApplyWrites.OutputSchema = output
      if (data.commit === undefined) {
        throw new UnavailableError('The PDS took the writes but named no commit.', { did })
      }
      const cids = data.results?.flatMap((result) => ('cid' in result ? [String(result.cid)] : []))
      return {
        commit: data.commit.cid,
        rev: data.commit.rev,
        ...(cids?.length === writes.length ? { cids } : {}),
        ...limitsIn(headers),
      }
    },
    async putRecord(put) {
      const { data, headers } = await attempt(() => repo.putRecord({ repo: did, validate: false, ...put }))
      const commit = data.commit === undefined ? {} : { commit: data.commit.cid, rev: data.commit.rev }
      return { cid: data.cid, ...commit, ...limitsIn(headers) }
    },
    async uploadBlob(bytes, mimeType) {
      const { data, headers } = await attempt(() => repo.uploadBlob(bytes, { encoding: mimeType }))
      const { ref, mimeType: seenAs, size } = data.blob
      return { cid: ref.toString(), mimeType: seenAs, size, ...limitsIn(headers) }
    },
  }
}

function limitsIn(headers: Record<string, string | undefined>): Limited {
  const limits = rateLimitIn(headersOf({ headers }))
  return limits === undefined ? {} : { limits }
}
