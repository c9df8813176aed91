import { PdsError, UnavailableError } from '../../errors.ts'
import type { JsonObject } from '../../events.ts'
import { concurrently } from './concurrently.ts'
import type { BlobFinder } from './finder.ts'
import { UPLOADS_PER_DAY } from './plan.ts'
import { type BlobRef, blobRefsOf, pathText } from './refs.ts'
import type { ServedBlobs } from './served.ts'

/** What a host made of an upload. */
export interface UploadedBlob {
  cid: string
  /** By the host's own look at the bytes: what was sent counts only where it recognises nothing. */
  mimeType: string
  size: number
}

/** The part of a session that uploads need. */
export interface UploadSession {
  did: string
  /** @throws PdsError: refused for good (too large, taken down); SessionError; UnavailableError */
  uploadBlob(bytes: Uint8Array, mimeType: string): Promise<UploadedBlob>
}

export interface UploadOptions {
  session: UploadSession
  isServed: ServedBlobs
  finder: BlobFinder
  /** Uploads that the host has counted already in the day that began at `sinceMs`. @defaultValue none */
  uploadedBefore?: { count: number; sinceMs: number }
  /** @defaultValue 1000 */
  uploadsPerDay?: number
}

/** A record that cannot be written because of a blob. */
export interface BlobRefusal<T> {
  record: T
  reason: string
}

export interface PreparedBatch<T> {
  /** Their blobs are with the host: to be written soon, since what no record refers to is temporary there. */
  ready: T[]
  refused: BlobRefusal<T>[]
}

const DAY_MS = 24 * 60 * 60 * 1000
const UPLOADS_AT_ONCE = 4

/** Brings the blobs of a batch to the account's PDS, just before the batch itself. One for all batches of a run. */
export class BlobUploads {
  readonly #options: UploadOptions
  /** What this run has uploaded, by CID; or why it could not. */
  readonly #results = new Map<string, UploadedBlob | string>()
  #count: number
  #sinceMs: number | undefined
  #sentBytes = 0
  #sent = 0

  constructor(options: UploadOptions) {
    this.#options = options
    this.#count = options.uploadedBefore?.count ?? 0
    this.#sinceMs = options.uploadedBefore?.sinceMs
  }

  /** What this run has uploaded so far. */
  get uploaded(): { count: number; bytes: number } {
    return { count: this.#sent, bytes: this.#sentBytes }
  }

  /**
   * Asks afresh what the host serves: an overwrite in the batch before may have taken the last reference to a blob.
   *
   * @throws UnavailableError with `retryAtMs` when the day's uploads are used up, and for a source that cannot be
   *   asked now: the record is not refused for that; SessionError
   */
  async prepare<T extends { record: JsonObject }>(records: readonly T[]): Promise<PreparedBatch<T>> {
    const refsOf = new Map(records.map((item) => [item, blobRefsOf(item.record)]))
    const refs = [...refsOf.values()].flat().filter(({ isLegacy }) => !isLegacy)
    const mimeTypes = new Map(refs.map(({ cid, mimeType }) => [cid, mimeType]))
    const served = await this.#options.isServed(mimeTypes.keys())
    const toUpload = [...mimeTypes].filter(([cid]) => !served.has(cid) && !this.#results.has(cid))
    await concurrently(toUpload, UPLOADS_AT_ONCE, async ([cid, mimeType]) => {
      this.#results.set(cid, await this.#upload(cid, mimeType))
    })
    const batch: PreparedBatch<T> = { ready: [], refused: [] }
    for (const [record, refs] of refsOf) {
      const reasons = refs.flatMap((ref) => this.#refusal(ref, served.has(ref.cid)) ?? [])
      if (reasons.length === 0) batch.ready.push(record)
      else batch.refused.push({ record, reason: reasons.join('; ') })
    }
    return batch
  }

  async #upload(cid: string, mimeType: string): Promise<UploadedBlob | string> {
    const found = await this.#options.finder.find(cid)
    if (!('bytes' in found)) return this.#absent(cid, found.reasons, found.mayComeLater)
    this.#spend()
    try {
      const uploaded = await this.#options.session.uploadBlob(found.bytes, mimeType)
      this.#sent++
      this.#sentBytes += found.bytes.length
      return uploaded
    } catch (error) {
      if (error instanceof PdsError) return error.message
      throw error
    }
  }

  #absent(cid: string, reasons: readonly string[], mayComeLater: boolean): string {
    const reason = reasons.length > 0 ? reasons.join('; ') : 'no source has it'
    if (!mayComeLater) return reason
    const { did } = this.#options.session
    throw new UnavailableError(`The blob ${cid} cannot be had now: ${reason}`, {
      did,
      hint: 'Run the same command again later; it goes on where it stopped.',
    })
  }

  /** Before the call, since a refused upload counts as well. */
  #spend(): void {
    const { uploadsPerDay = UPLOADS_PER_DAY, session } = this.#options
    const nowMs = Date.now()
    if (this.#sinceMs === undefined || nowMs >= this.#sinceMs + DAY_MS) {
      this.#sinceMs = nowMs
      this.#count = 0
    }
    if (this.#count >= uploadsPerDay) {
      throw new UnavailableError(`The PDS takes ${uploadsPerDay} blobs of an account in a day.`, {
        did: session.did,
        hint: 'Run the same command again when the day is over; it goes on where it stopped.',
        retryAtMs: this.#sinceMs + DAY_MS,
      })
    }
    this.#count++
  }

  #refusal(ref: BlobRef, isServed: boolean): string | undefined {
    const reason = isServed && !ref.isLegacy ? undefined : whyUnfit(ref, this.#results.get(ref.cid))
    return reason && `blob ${ref.cid} (${ref.mimeType}) at ${ref.paths.map(pathText).join(', ')}: ${reason}`
  }
}

/** A host compares each reference with what it has, and refuses the whole batch for one that differs. */
function whyUnfit(
  { cid, mimeType, size, isLegacy }: BlobRef,
  result: UploadedBlob | string | undefined,
): string | undefined {
  if (isLegacy) return 'a host takes no new reference of this old form ({ cid, mimeType })'
  if (result === undefined) return 'it was not uploaded'
  if (typeof result === 'string') return result
  if (result.cid !== cid) return `the PDS has it as ${result.cid}`
  if (result.mimeType !== mimeType) return `the PDS finds it to be ${result.mimeType}`
  if (result.size !== size)
    return `it has ${result.size} bytes, and the record says ${size ?? 'nothing of it'}`
  return undefined
}
