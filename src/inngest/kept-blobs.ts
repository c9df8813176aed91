import type { BlobSupplier, BlobSupply } from '../pds/blobs/supply.ts'

/** A supply keeps up to 64 MB of found bytes. */
const MAX_ACCOUNTS = 4
/** An account may have moved meanwhile, and a source that was away be back. */
const MAX_AGE_MS = 30 * 60 * 1000

/** One blob supply per account in this process, so that bytes which were found stay found over steps. */
export function keepBlobs(supplier: BlobSupplier, now: () => number = Date.now): BlobSupplier {
  const kept = new Map<string, { supply: Promise<BlobSupply>; openedAtMs: number }>()
  const open = (did: string) => {
    const entry = { supply: supplier(did), openedAtMs: now() }
    entry.supply.catch(() => {
      if (kept.get(did) === entry) kept.delete(did)
    })
    return entry
  }
  return (did) => {
    const found = kept.get(did)
    const entry = found !== undefined && now() - found.openedAtMs < MAX_AGE_MS ? found : open(did)
    // Put in again, so that the first is the one that was not used for longest.
    kept.delete(did)
    kept.set(did, entry)
    const [oldest] = kept.keys()
    if (kept.size > MAX_ACCOUNTS && oldest !== undefined) kept.delete(oldest)
    return entry.supply
  }
}
