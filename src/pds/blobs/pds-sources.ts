import { type BlobNetwork, pdsSource } from './http-source.ts'
import { pdsHistory } from './pds-history.ts'
import type { BlobSource } from './source.ts'

/**
 * The account's PDS, then the earlier ones in the history of its DID, newest first: a host may go on serving what
 * the account took with it, and what was deleted since.
 *
 * @throws UnavailableError, VerificationError: see `pdsHistory`
 */
export async function pdsSources(
  did: string,
  { pdsUrl, plcUrl, network }: { pdsUrl: string; plcUrl: string; network: BlobNetwork },
): Promise<BlobSource[]> {
  const earlier = await pdsHistory(did, { plcUrl, fetch: network.fetch })
  const hosts = new Set([new URL(pdsUrl).origin, ...earlier])
  return [...hosts].map((host) => pdsSource(host, network))
}
