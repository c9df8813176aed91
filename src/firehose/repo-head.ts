import { PdsError } from '../errors.ts'
import type { Identity } from '../network/identity.ts'
import type { Xrpc } from '../network/xrpc.ts'
import { openRepo, type SpooledRepo } from '../repo/verified-repo.ts'

export interface HeadNetwork {
  identity: Identity
  xrpc: Xrpc
}

/** The newest revision of the account's repo, as its PDS says. @throws as Xrpc.getLatestCommit, Identity.refresh */
export async function headRev(did: string, { identity, xrpc }: HeadNetwork): Promise<string> {
  const { pdsUrl } = await identity.refresh(did)
  return (await xrpc.getLatestCommit(pdsUrl, did)).rev
}

/**
 * The account's whole repo as its PDS serves it now, verified, for as long as `use` takes; undefined: the PDS has no
 * such account.
 *
 * @throws as openRepo, Xrpc.getRepoStream and Identity.refresh: where the repo cannot be had, nothing is known
 */
export async function withHead<T>(
  did: string,
  { identity, xrpc }: HeadNetwork,
  use: (repo: SpooledRepo | undefined) => T | Promise<T>,
): Promise<T> {
  const { pdsUrl, signingKey } = await identity.refresh(did)
  let repo: SpooledRepo
  try {
    repo = await openRepo(await xrpc.getRepoStream(pdsUrl, did), { did, signingKey })
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

export const pathOf = ({ collection, rkey }: { collection: string; rkey: string }): string =>
  `${collection}/${rkey}`
