import { PdsError } from '../errors.ts'
import type { Identity } from '../network/identity.ts'
import type { Xrpc } from '../network/xrpc.ts'
import { openRepo, type SpooledRepo } from '../repo/verified-repo.ts'

export interface HeadNetwork {
  identity: Identity
  xrpc: Xrpc
  /** Size of the repository's CAR at which reading stops. @defaultValue 1 GiB */
  maxRepoBytes?: number
  /** Ends the reading of a repo that comes slowly, and asks nothing further. */
  signal?: AbortSignal
}

/**
 * The newest revision of the account's repo, as its PDS says.
 *
 * @throws as Xrpc.getLatestCommit and Identity.refresh; the signal's reason
 */
export async function headRev(did: string, { identity, xrpc, signal }: HeadNetwork): Promise<string> {
  signal?.throwIfAborted()
  const { pdsUrl } = await identity.refresh(did)
  return (await xrpc.getLatestCommit(pdsUrl, did)).rev
}

/**
 * The account's whole repo as its PDS serves it now, verified, for as long as `use` takes; undefined: the PDS has no
 * such account.
 *
 * @throws as openRepo, Xrpc.getRepoStream and Identity.refresh: where the repo cannot be had, nothing is known; the
 *   signal's reason
 */
export async function withHead<T>(
  did: string,
  { identity, xrpc, maxRepoBytes: maxBytes, signal }: HeadNetwork,
  use: (repo: SpooledRepo | undefined) => T | Promise<T>,
): Promise<T> {
  signal?.throwIfAborted()
  const { pdsUrl, signingKey } = await identity.refresh(did)
  let repo: SpooledRepo
  try {
    const chunks = abortable(await xrpc.getRepoStream(pdsUrl, did), signal)
    repo = await openRepo(chunks, { did, signingKey, ...(maxBytes === undefined ? {} : { maxBytes }) })
  } catch (error) {
    if (error instanceof PdsError && error.error === 'RepoNotFound') return use(undefined)
    throw error
  }
  try {
    return await use(repo)
  } finally {
    repo.close()
  }
}

/** @throws the signal's reason, instead of the next item */
export async function* abortable<T>(
  items: AsyncIterable<T>,
  signal: AbortSignal | undefined,
): AsyncGenerator<T> {
  for await (const item of items) {
    signal?.throwIfAborted()
    yield item
  }
}

export const pathOf = ({ collection, rkey }: { collection: string; rkey: string }): string =>
  `${collection}/${rkey}`
