import { PdsError, UnavailableError, VerificationError } from '../errors.ts'
import { bodyBytes, bodyChunks } from './body.ts'
import type { Fetch } from './fetch.ts'
import { retryAtMsOf } from './retry-after.ts'

export interface LatestCommit {
  /** CID of the commit, as text. */
  cid: string
  rev: string
}

/** What a host says of an account that it serves, or does not serve any more. */
export interface RepoStatus {
  active: boolean
  /** Why it is not active, as `deleted`, `takendown`, `suspended`, `deactivated`. */
  status: string | undefined
}

/**
 * Calls to any PDS that need no session. All of them throw {@link UnavailableError} when the host does not answer,
 * is broken or limits requests (with `retryAtMs` where it says until when), and {@link PdsError} with the XRPC error
 * name when it refuses (RepoNotFound, RepoTakendown, RepoSuspended, RepoDeactivated).
 */
export interface Xrpc {
  getLatestCommit(pdsUrl: string, did: string): Promise<LatestCommit>
  /**
   * The repository as a CAR, as it arrives; the call itself resolves when the first byte may be read.
   *
   * @param since rev: only what came after it, if the host can. Such a CAR is not a whole repository
   */
  getRepoStream(pdsUrl: string, did: string, since?: string): Promise<AsyncIterable<Uint8Array>>
  /** The CAR that proves that a record is there or is not; verifyRecordProof tells which. */
  getRecordProof(pdsUrl: string, did: string, collection: string, rkey: string): Promise<Uint8Array>
  /** Optional, as those below: who brings no such call knows less, and is asked for more. */
  getRepoStatus?(pdsUrl: string, did: string): Promise<RepoStatus>
  /** The collections of which the repo has records, as its PDS says: nothing proves it. */
  listCollections?(pdsUrl: string, did: string): Promise<string[]>
  /**
   * A page of the accounts that have records of a collection, as far as this relay or directory knows.
   *
   * @param cursor of the page before; undefined: the first page
   */
  listReposByCollection?(serviceUrl: string, collection: string, cursor?: string): Promise<RepoPage>
}

export interface RepoPage {
  dids: string[]
  /** Of the next page; undefined: this is the last. */
  cursor: string | undefined
}

export interface XrpcOptions {
  fetch: Fetch
  /** Size at which a repository is no longer read. @defaultValue 1 GiB */
  maxRepoBytes?: number
}

const DEFAULT_MAX_REPO_BYTES = 1024 ** 3
/** A record is at most 1 MiB and the nodes above it some kilobytes each. */
const MAX_PROOF_BYTES = 8 * 1024 ** 2
const MAX_JSON_BYTES = 64 * 1024
/** DIDs are at most 2 KiB, and mostly 32 bytes. */
const MAX_PAGE_BYTES = 4 * 1024 ** 2
/** The lexicon allows 2,000, and recommends a thousand or more. */
const REPOS_PER_PAGE = 1000

export function createXrpc({ fetch, maxRepoBytes = DEFAULT_MAX_REPO_BYTES }: XrpcOptions): Xrpc {
  const get = (pdsUrl: string, method: string, params: Params) => xrpcGet(fetch, pdsUrl, method, params)
  return {
    async getLatestCommit(pdsUrl, did) {
      const { response, host } = await get(pdsUrl, 'com.atproto.sync.getLatestCommit', { did })
      const body = await jsonBody(response, host)
      if (typeof body?.cid !== 'string' || typeof body.rev !== 'string') throw notXrpc(host, did)
      return { cid: body.cid, rev: body.rev }
    },
    async getRepoStream(pdsUrl, did, since) {
      const params = since === undefined ? { did } : { did, since }
      const { response, host } = await get(pdsUrl, 'com.atproto.sync.getRepo', params)
      return bodyChunks(response, host, { maxBytes: maxRepoBytes })
    },
    async getRecordProof(pdsUrl, did, collection, rkey) {
      const params = { did, collection, rkey }
      const { response, host } = await get(pdsUrl, 'com.atproto.sync.getRecord', params)
      return bodyBytes(response, host, { maxBytes: MAX_PROOF_BYTES })
    },
    async getRepoStatus(pdsUrl, did) {
      const { response, host } = await get(pdsUrl, 'com.atproto.sync.getRepoStatus', { did })
      const body = await jsonBody(response, host)
      if (body?.did !== did || typeof body.active !== 'boolean') throw notXrpc(host, did)
      return { active: body.active, status: typeof body.status === 'string' ? body.status : undefined }
    },
    async listCollections(pdsUrl, did) {
      const { response, host } = await get(pdsUrl, 'com.atproto.repo.describeRepo', { repo: did })
      const body = await jsonBody(response, host)
      const collections: unknown = body?.collections
      if (body?.did !== did || !isTexts(collections)) throw notXrpc(host, did)
      return collections
    },
    async listReposByCollection(serviceUrl, collection, cursor) {
      const base = { collection, limit: String(REPOS_PER_PAGE) }
      const params = cursor === undefined ? base : { ...base, cursor }
      const { response, host } = await get(serviceUrl, 'com.atproto.sync.listReposByCollection', params)
      const body = await jsonBody(response, host, MAX_PAGE_BYTES)
      const repos: unknown = body?.repos
      const dids: unknown = Array.isArray(repos) ? repos.map((repo) => repo?.did) : undefined
      if (!isTexts(dids)) throw notXrpc(host)
      return { dids, cursor: typeof body?.cursor === 'string' ? body.cursor : undefined }
    },
  }
}

function isTexts(value: unknown): value is string[] {
  return Array.isArray(value) && value.every((item) => typeof item === 'string')
}

type Params = Record<string, string>

async function xrpcGet(
  fetch: Fetch,
  pdsUrl: string,
  method: string,
  params: Params,
): Promise<{ response: Response; host: string }> {
  const url = new URL(`/xrpc/${method}`, pdsUrl)
  url.search = new URLSearchParams(params).toString()
  const response = await fetch(url)
  if (response.ok) return { response, host: url.host }
  throw await refusal(response, url.host, params.did ?? params.repo)
}

async function refusal(response: Response, host: string, did: string | undefined): Promise<Error> {
  const { status, headers } = response
  const about = did === undefined ? {} : { did }
  const body = await jsonBody(response, host)
  if (status === 429 || status >= 500) {
    return new UnavailableError(`${host} answered ${status}${status === 429 ? ' (too many requests)' : ''}`, {
      ...about,
      hint: `Try again later; ${host} ${status === 429 ? 'limits requests' : 'is overloaded or broken'}.`,
      ...retryAtMsOf(headers),
    })
  }
  const error = typeof body?.error === 'string' ? body.error : `HTTP ${status}`
  const message = typeof body?.message === 'string' ? `: ${body.message}` : ''
  return new PdsError(`${host} answered ${error}${message}`, { ...about, error, hint: hintFor(error, host) })
}

const HINTS: Readonly<Record<string, string>> = {
  RepoNotFound: 'The account is not on this host: resolve its DID again, it may have moved.',
  RepoDeactivated: 'The owner has deactivated the account; it must be activated again first.',
  RepoTakendown: 'The host has taken the account down; its operator must lift that first.',
  RepoSuspended: 'The host has suspended the account; its operator must lift that first.',
}

function hintFor(error: string, host: string): string {
  return HINTS[error] ?? `Check that ${host} is the PDS of this account and speaks XRPC.`
}

/** undefined when the body is no JSON object: an error page of a proxy, as likely as not. */
async function jsonBody(
  response: Response,
  host: string,
  maxBytes = MAX_JSON_BYTES,
): Promise<Record<string, unknown> | undefined> {
  const bytes = await bodyBytes(response, host, { maxBytes })
  try {
    const body: unknown = JSON.parse(Buffer.from(bytes).toString())
    return typeof body === 'object' && body !== null ? { ...body } : undefined
  } catch (error) {
    if (error instanceof SyntaxError) return undefined
    throw error
  }
}

function notXrpc(host: string, did?: string): VerificationError {
  return new VerificationError(`${host} answered with something that is not an XRPC answer`, {
    ...(did === undefined ? {} : { did }),
    hint: hintFor('', host),
  })
}
