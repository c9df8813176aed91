import { PdsError, UnavailableError } from '../../errors.ts'
import type { JsonObject } from '../../events.ts'
import { concurrently } from './concurrently.ts'
import type { BlobFinder, LostBlob } from './finder.ts'
import { type BlobRef, blobRefsOf, pathText } from './refs.ts'
import type { ServedBlobs } from './served.ts'
import { type UploadedBlob, Uploader, type UploaderOptions } from './uploader.ts'

export type { UploadedBlob, UploadSession } from './uploader.ts'

export interface UploadOptions extends UploaderOptions {
  isServed: ServedBlobs
  finder: BlobFinder
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
  /**
   * The host takes no more for now: of the records those above are what comes before the first that waits for it, so
   * that what was uploaded is written before it is gone again.
   */
  limited?: UploadLimit
  /** The time was over, and the same holds: above is what comes before the first whose blobs are not all there. */
  isCut?: true
}

export interface UploadLimit {
  /** With `retryAtMs`. */
  error: UnavailableError
  /** That the first of the waiting records needs. */
  uploads: number
}

/** How far it came. */
interface Preparation {
  /** Undefined: not known, where nothing is referred to or a limit came first. */
  served: ReadonlySet<string> | undefined
  limit: UnavailableError | undefined
  isCut: boolean
}

const UPLOADS_AT_ONCE = 4
/** A host keeps what no record refers to for about an hour; what is half as old is uploaded again. */
const KEPT_MS = 30 * 60 * 1000

/** Brings the blobs of a batch to the account's PDS, just before the batch itself. One for all batches of a run. */
export class BlobUploads {
  readonly #options: UploadOptions
  readonly #now: () => number
  readonly #uploader: Uploader
  /** By CID: what this run has uploaded and when, or why it could not. */
  readonly #results = new Map<string, { blob: UploadedBlob; atMs: number } | string>()

  constructor(options: UploadOptions) {
    this.#options = options
    this.#now = options.now ?? Date.now
    this.#uploader = new Uploader(options)
  }

  /** What this run has uploaded so far. */
  get uploaded(): { count: number; bytes: number } {
    return this.#uploader.sent
  }

  /** Nothing is uploaded before then. */
  closeUntil(untilMs: number): void {
    this.#uploader.closeUntil(untilMs)
  }

  /** What the host turned out not to have after all goes up again when it is needed. */
  forget(cids: Iterable<string>): void {
    for (const cid of cids) this.#results.delete(cid)
  }

  /**
   * Asks afresh what the host serves: an overwrite in the batch before may have taken the last reference to a blob.
   *
   * @param records in the order in which they are to be written
   * @param isLate asked before each upload: true, and no further one begins, but for the blobs of the first record,
   *   without which a caller with little time would never get on. @defaultValue never
   * @throws UnavailableError when the host does not answer, and for a source that cannot be asked now: the record is
   *   not refused for that; SessionError
   */
  async prepare<T extends { record: JsonObject }>(
    records: readonly T[],
    isLate: () => boolean = () => false,
  ): Promise<PreparedBatch<T>> {
    const refsOf = new Map(records.map((item) => [item, blobRefsOf(item.record)]))
    const mimeTypes = mimeTypesOf([...refsOf.values()].flat())
    this.#forgetStale()
    let served: ReadonlySet<string> | undefined
    let limit: UnavailableError | undefined
    const untilLimit = async (work: () => Promise<void>): Promise<void> => {
      try {
        if (limit === undefined) await work()
      } catch (error) {
        if (!isLimit(error)) throw error
        limit = error
      }
    }
    if (mimeTypes.size > 0) {
      await untilLimit(async () => {
        served = await this.#options.isServed(mimeTypes.keys())
      })
    }
    const toUpload = [...mimeTypes].filter(([cid]) => !served?.has(cid) && !this.#results.has(cid))
    const first = new Set(
      records
        .slice(0, 1)
        .flatMap((item) => refsOf.get(item) ?? [])
        .map(({ cid }) => cid),
    )
    let isCut = false
    await concurrently(toUpload, UPLOADS_AT_ONCE, async ([cid, mimeType]) => {
      isCut ||= isLate()
      if (!isCut || first.has(cid)) await untilLimit(() => this.#upload(cid, mimeType))
    })
    return this.#sorted(refsOf, { served, limit, isCut })
  }

  #sorted<T>(
    refsOf: ReadonlyMap<T, readonly BlobRef[]>,
    { served, limit, isCut }: Preparation,
  ): PreparedBatch<T> {
    const isEnded = limit !== undefined || isCut
    const batch: PreparedBatch<T> = { ready: [], refused: [] }
    for (const [record, all] of refsOf) {
      const refs = all.filter((ref) => ref.isLegacy || !served?.has(ref.cid))
      const wanted = new Set(refs.filter(isUploadable).map(({ cid }) => cid))
      const open = [...wanted].filter((cid) => isEnded && !this.#results.has(cid))
      const decided = refs.filter(({ cid, isLegacy }) => isLegacy || !open.includes(cid))
      const tooMany = served === undefined ? [] : this.#tooMany(wanted.size)
      const reasons = [...tooMany, ...decided.flatMap((ref) => this.#refusal(ref))]
      if (reasons.length > 0) batch.refused.push({ record, reason: reasons.join('; ') })
      else if (open.length === 0) batch.ready.push(record)
      else if (limit === undefined) return { ...batch, isCut: true }
      else return { ...batch, limited: { error: limit, uploads: open.length } }
    }
    return batch
  }

  #forgetStale(): void {
    const nowMs = this.#now()
    for (const [cid, result] of this.#results)
      if (typeof result === 'object' && nowMs >= result.atMs + KEPT_MS) this.#results.delete(cid)
  }

  async #upload(cid: string, mimeType: string): Promise<void> {
    const found = await this.#options.finder.find(cid)
    if (!('bytes' in found)) {
      this.#results.set(cid, this.#absent(cid, found))
      return
    }
    try {
      const blob = await this.#uploader.send(found.bytes, mimeType)
      this.#results.set(cid, { blob, atMs: this.#now() })
    } catch (error) {
      if (!(error instanceof PdsError)) throw error
      this.#results.set(cid, error.message)
    }
  }

  #absent(cid: string, { reasons, mayComeLater }: LostBlob): string {
    const reason = reasons.length > 0 ? reasons.join('; ') : 'no source has it'
    if (!mayComeLater) return reason
    const { did } = this.#options.session
    throw new UnavailableError(`The blob ${cid} cannot be had now: ${reason}`, {
      did,
      hint: 'Run the same command again later; it goes on where it stopped.',
    })
  }

  #refusal(ref: BlobRef): string[] {
    const reason = whyUnfit(ref, this.#results.get(ref.cid))
    if (reason === undefined) return []
    return [`blob ${ref.cid} (${ref.mimeType}) at ${ref.paths.map(pathText).join(', ')}: ${reason}`]
  }

  /** The first would be gone again before the last could follow. */
  #tooMany(uploads: number): string[] {
    const most = this.#uploader.mostInAWindow
    return uploads > most ? [`it needs ${uploads} blobs, and the PDS takes ${most} in a day`] : []
  }
}

/** A limit says until when; what else a host or a source cannot do now ends the run. */
function isLimit(error: unknown): error is UnavailableError {
  return error instanceof UnavailableError && error.retryAtMs !== undefined
}

function isUploadable({ isLegacy }: BlobRef): boolean {
  return !isLegacy
}

/** By CID, in the order of the records: as the first of them says. */
function mimeTypesOf(refs: readonly BlobRef[]): Map<string, string> {
  const mimeTypes = new Map<string, string>()
  for (const { cid, mimeType } of refs.filter(isUploadable))
    if (!mimeTypes.has(cid)) mimeTypes.set(cid, mimeType)
  return mimeTypes
}

/** A host compares each reference with what it has, and refuses the whole batch for one that differs. */
function whyUnfit(
  { cid, mimeType, size, isLegacy }: BlobRef,
  result: { blob: UploadedBlob } | string | undefined,
): string | undefined {
  if (isLegacy) return 'a host takes no new reference of this old form ({ cid, mimeType })'
  if (result === undefined) return 'it was not uploaded'
  if (typeof result === 'string') return result
  const { blob } = result
  if (blob.cid !== cid) return `the PDS has it as ${blob.cid}`
  if (blob.mimeType !== mimeType) return `the PDS finds it to be ${blob.mimeType}`
  if (blob.size !== size) return `it has ${blob.size} bytes, and the record says ${size ?? 'nothing of it'}`
  return undefined
}
