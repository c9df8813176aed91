import type { Identity } from '../../network/identity.ts'
import { BlobFinder } from './finder.ts'
import type { BlobNetwork } from './http-source.ts'
import { pdsSources } from './pds-sources.ts'
import { type ServedBlobs, servedBlobs } from './served.ts'
import type { BlobSource } from './source.ts'

/** What is known of one account's blobs: which its PDS serves now, and where the others may be had. */
export interface BlobSupply {
  isServed: ServedBlobs
  finder: BlobFinder
}

/** Looks an account's PDS up and opens the sources of its blobs. */
export type BlobSupplier = (did: string) => Promise<BlobSupply>

export interface BlobSupplierOptions {
  identity: Identity
  plcUrl: string
  network: BlobNetwork
  /** Asked in this order, before the account's PDS and its earlier ones. @defaultValue none */
  sources?: readonly BlobSource[]
}

/** @throws of the supplier: UnavailableError, VerificationError when the account's PDS cannot be found */
export function blobSupplier(options: BlobSupplierOptions): BlobSupplier {
  return async (did) => {
    const { pdsUrl } = await options.identity.resolve(did)
    return {
      isServed: servedBlobs(pdsUrl, did, options.network),
      finder: new BlobFinder(did, await accountSources(did, options)),
    }
  }
}

/** All sources of one account's blobs, in the order in which they are asked. @throws as the supplier does */
export async function accountSources(
  did: string,
  { identity, plcUrl, network, sources = [] }: BlobSupplierOptions,
): Promise<BlobSource[]> {
  const { pdsUrl } = await identity.resolve(did)
  return [...sources, ...(await pdsSources(did, { pdsUrl, plcUrl, network }))]
}
