import { ConfigError, ReplayError } from '../../errors.ts'
import { cidOfBytes } from '../../repo/blob-cid.ts'
import type { BlobSource } from './source.ts'

export interface FoundBlob {
  /** Name of the source. */
  source: string
  /** They have the CID that was asked for. */
  bytes: Uint8Array
}

export interface LostBlob {
  /** What each source that did not simply lack it said. */
  reasons: readonly string[]
  /** A source could not be asked: it may have the blob, later. */
  mayComeLater: boolean
}

/** A source that failed so often in a row is not asked again: a host that is gone would cost a timeout per blob. */
const FAILURES_IN_A_ROW = 3
/** Enough for the pictures of some hundred posts between plan and upload; what does not fit is fetched again. */
const CACHE_BYTES = 64 * 1024 ** 2

/** Looks for an account's blobs in its sources, in order. The first whose bytes have the CID wins. */
export class BlobFinder {
  readonly #did: string
  readonly #sources: { source: BlobSource; failuresInARow: number; lastFailure: string }[]
  readonly #cache = new Map<string, FoundBlob>()
  #cachedBytes = 0

  constructor(did: string, sources: readonly BlobSource[]) {
    this.#did = did
    this.#sources = sources.map((source) => ({ source, failuresInARow: 0, lastFailure: '' }))
  }

  /** @throws ConfigError of a source: it would say of every blob that it has none. */
  async find(cid: string): Promise<FoundBlob | LostBlob> {
    const cached = this.#cache.get(cid)
    if (cached !== undefined) return cached
    const reasons: string[] = []
    let mayComeLater = false
    for (const state of this.#sources) {
      const { name } = state.source
      if (state.failuresInARow >= FAILURES_IN_A_ROW) {
        reasons.push(`${name} is not asked any more: ${state.lastFailure}`)
        mayComeLater = true
        continue
      }
      try {
        const bytes = await state.source.fetch(cid, this.#did)
        state.failuresInARow = 0
        if (bytes === undefined) continue
        if (cidOfBytes(bytes) === cid) return this.#kept(cid, { source: name, bytes })
        reasons.push(`${name} has other bytes under this CID`)
      } catch (error) {
        if (!(error instanceof ReplayError) || error instanceof ConfigError) throw error
        reasons.push(`${name}: ${error.message}`)
        if (!error.shouldRetry()) continue
        mayComeLater = true
        state.failuresInARow++
        state.lastFailure = error.message
      }
    }
    return { reasons, mayComeLater }
  }

  #kept(cid: string, found: FoundBlob): FoundBlob {
    if (this.#cachedBytes + found.bytes.length <= CACHE_BYTES && !this.#cache.has(cid)) {
      this.#cache.set(cid, found)
      this.#cachedBytes += found.bytes.length
    }
    return found
  }
}
