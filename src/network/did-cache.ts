import type { CacheResult, DidCache, DidDocument } from '@atproto/identity'

const HOUR_MS = 60 * 60 * 1000

export interface DidCacheOptions {
  /** Past this a document is fetched again, while the one at hand still serves. @defaultValue an hour */
  staleMs?: number
  /** Past this it no longer serves. @defaultValue a day */
  maxAgeMs?: number
  /** The documents used longest ago go first. @defaultValue 50000, of one or two kilobytes each */
  maxEntries?: number
}

interface Entry {
  doc: DidDocument
  updatedAt: number
}

/**
 * DID documents in memory, in place of the library's own cache, which only grows and lets a lookup fail when the
 * document at hand is stale and the directory is away.
 */
export function createDidCache(options: DidCacheOptions = {}): DidCache {
  const { staleMs = HOUR_MS, maxAgeMs = 24 * HOUR_MS, maxEntries = 50_000 } = options
  const entries = new Map<string, Entry>()
  const refreshing = new Set<string>()
  const put = (did: string, doc: DidDocument): void => {
    entries.delete(did)
    entries.set(did, { doc, updatedAt: Date.now() })
    const oldest = entries.keys().next().value
    if (entries.size > maxEntries && oldest !== undefined) entries.delete(oldest)
  }
  return {
    async cacheDid(did, doc) {
      put(did, doc)
    },
    async checkCache(did): Promise<CacheResult | null> {
      const entry = entries.get(did)
      if (entry === undefined) return null
      entries.delete(did)
      entries.set(did, entry)
      const ageMs = Date.now() - entry.updatedAt
      return { did, ...entry, stale: ageMs > staleMs, expired: ageMs > maxAgeMs }
    },
    // Not awaited: the document at hand serves until it expires. A key that changed meanwhile shows in a signature
    // that does not fit, and leads to a lookup past the cache.
    async refreshCache(did, getDoc) {
      if (refreshing.has(did)) return
      refreshing.add(did)
      void getDoc()
        .then((doc) => {
          if (doc !== null) put(did, doc)
          else entries.delete(did)
        })
        // Tried again with the next lookup, which fails in its turn once the document has expired.
        .catch(() => undefined)
        .finally(() => refreshing.delete(did))
    },
    async clearEntry(did) {
      entries.delete(did)
    },
    async clear() {
      entries.clear()
    },
  }
}
