import type { PdsError } from '../errors.ts'
import { blobRefsOf } from './blobs/refs.ts'
import type { BlobSupply } from './blobs/supply.ts'
import { type BlobRefusal, BlobUploads, type UploadLimit, type UploadOptions } from './blobs/upload.ts'
import type { Pending } from './pending.ts'
import type { Call } from './write-call.ts'

/** How a host refuses a batch for the blobs of one of its records, which only the first names: by the blob's CID. */
const BLOB_REFUSALS = new Set(['BlobNotFound', 'InvalidMimeType', 'InvalidSize'])

export interface BlobsAndCall {
  /** Undefined: nothing goes now. */
  call: Call | undefined
  /** The queue without the refused. */
  rest: readonly Pending[]
  refused: BlobRefusal<Pending>[]
  /** What the first of the rest waits for, where it is its blobs. */
  limited?: UploadLimit
  /** The time was over before all blobs were there. */
  isCut?: true
}

/** The blobs of a run's records: with the host before the call, and again if it turns out not to have them. */
export class WriteBlobs {
  readonly #uploads: BlobUploads
  /** Uploaded again already. */
  readonly #renewed = new Set<string>()

  constructor(supply: BlobSupply, options: Pick<UploadOptions, 'session' | 'budget' | 'onBudget' | 'now'>) {
    this.#uploads = new BlobUploads({ ...supply, ...options })
  }

  get uploaded(): { count: number; bytes: number } {
    return this.#uploads.uploaded
  }

  /**
   * The first call of the queue, with its blobs at the host. Without the records that are refused for a blob it is
   * another call; behind one whose blobs have to wait nothing goes, since it may be somebody's parent.
   *
   * @param choose the call that the first of these make
   * @param isLate no further upload is to begin, but for the first record's
   * @throws as `BlobUploads.prepare` does
   */
  async next(
    queue: readonly Pending[],
    choose: (queue: readonly Pending[]) => Call | undefined,
    isLate: () => boolean,
  ): Promise<BlobsAndCall> {
    const refused: BlobRefusal<Pending>[] = []
    for (let rest = queue; ; ) {
      const call = choose(rest)
      if (call === undefined) return { call, rest, refused }
      const batch = await this.#uploads.prepare(call.items, isLate)
      const gone = new Set(batch.refused.map(({ record }) => record))
      rest = rest.filter((item) => !gone.has(item))
      refused.push(...batch.refused)
      const { ready, limited, isCut } = batch
      if (limited !== undefined || isCut) {
        const reason = { ...(limited && { limited }), ...(isCut && { isCut }) }
        return ready.length === 0
          ? { call: undefined, rest, refused, ...reason }
          : { call: choose(ready), rest, refused }
      }
      if (gone.size === 0) return { call, rest, refused }
    }
  }

  closeUntil(untilMs: number): void {
    this.#uploads.closeUntil(untilMs)
  }

  /**
   * A host that does not know them any more has let them expire, or someone has deleted the record that kept them.
   *
   * @returns whether that is worth another try: each blob is renewed only once
   */
  renew(items: readonly Pending[]): boolean {
    const cids = items.flatMap(cidsOf).filter((cid) => !this.#renewed.has(cid))
    for (const cid of cids) this.#renewed.add(cid)
    this.#uploads.forget(cids)
    return cids.length > 0
  }
}

export function isBlobRefusal({ error }: PdsError): boolean {
  return BLOB_REFUSALS.has(error)
}

/** Those that refer to the blob which the host names. None: it names none. */
export function blamedIn(items: readonly Pending[], refusal: PdsError): Pending[] {
  return items.filter((item) => cidsOf(item).some((cid) => refusal.message.includes(cid)))
}

function cidsOf({ record }: Pending): string[] {
  return blobRefsOf(record).map(({ cid }) => cid)
}
