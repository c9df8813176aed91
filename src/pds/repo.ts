import type { Identity } from '../network/identity.ts'
import type { LatestCommit, Xrpc } from '../network/xrpc.ts'
import { readVerifiedRepo, type VerifiedRepo } from '../repo/verified-repo.ts'

export interface LiveRepo extends VerifiedRepo {
  pdsUrl: string
}

/** Where the repo stands, as its PDS says: one small request, and only its word. */
export async function latestCommit(
  did: string,
  { identity, xrpc }: { identity: Identity; xrpc: Xrpc },
): Promise<LatestCommit> {
  const { pdsUrl } = await identity.resolve(did)
  return xrpc.getLatestCommit(pdsUrl, did)
}

/**
 * The account's repo as its PDS has it now, checked whole.
 *
 * @throws VerificationError, UnavailableError, PdsError: see `readVerifiedRepo`, `Xrpc` and `Identity`
 */
export async function fetchRepo(did: string, network: { identity: Identity; xrpc: Xrpc }): Promise<LiveRepo> {
  const { pdsUrl, signingKey } = await network.identity.refresh(did)
  const car = await network.xrpc.getRepoStream(pdsUrl, did)
  const repo = await readVerifiedRepo(car, { did, signingKey })
  return Object.assign(repo, { pdsUrl })
}
