import type { Identity } from '../network/identity.ts'
import type { Xrpc } from '../network/xrpc.ts'
import { readVerifiedRepo, type VerifiedRepo } from '../repo/verified-repo.ts'

export interface LiveRepo extends VerifiedRepo {
  pdsUrl: string
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
