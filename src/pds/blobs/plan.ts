import type { JsonObject } from '../../events.ts'
import { concurrently } from './concurrently.ts'
import type { BlobFinder } from './finder.ts'
import { type BlobRef, blobRefsOf, pathText } from './refs.ts'
import type { ServedBlobs } from './served.ts'

/**
 * com.atproto.repo.uploadBlob takes no more in a day (reference PDS, `uploadBlob.ts`). Its limit names no key of its own,
 * and without one the PDS counts by IP address: what other accounts upload from this machine counts as well, and the
 * same account from another machine does not.
 */
export const UPLOADS_PER_DAY = 1000

export interface PlannedBlob {
  cid: string
  /** As the first record that refers to it says. */
  mimeType: string
  status: 'served' | 'upload' | 'missing'
  /** Of what is to be uploaded: its size, and where it is. */
  bytes?: number
  source?: string
  /** Why it is missing, where there is more to say than that no source has it. */
  reason?: string
  /** A source could not be asked: a later run may find it. */
  mayComeLater?: true
}

/** A blob that a record refers to and that cannot be had, or not as the record says. */
export interface LackingBlob {
  cid: string
  mimeType: string
  /** JSON paths in the record. */
  paths: string[]
  reason: string
  mayComeLater?: true
}

/** A record that refers to blobs. */
export interface RecordBlobs {
  uri: string
  cids: string[]
  /** Empty when the record can be written. */
  lacking: LackingBlob[]
}

/** What the blobs of a write need: names, CIDs, sizes; no bytes. */
export interface BlobPlan {
  blobs: PlannedBlob[]
  records: RecordBlobs[]
  counts: Record<PlannedBlob['status'], number>
  /** To be uploaded. */
  uploadBytes: number
  /** Days that the uploads take, at the host's 1,000 a day: 1 when all of them fit into one. */
  uploadDays: number
}

/** A blob that keeps records from being written as they were. */
export interface MissingBlob {
  cid: string
  mimeType: string
  reason: string
  /** A source could not be asked: a later run may find it. */
  mayComeLater?: true
  /** The records that refer to it. */
  uris: string[]
}

/** What a write plan says of its blobs. */
export interface BlobsOfWrite extends Pick<BlobPlan, 'counts' | 'uploadBytes' | 'uploadDays'> {
  /** Those that cannot be had, or not as a record says. */
  missing: MissingBlob[]
}

export interface RecordWithBlobs {
  uri: string
  record: JsonObject
}

export interface BlobPlanOptions {
  isServed: ServedBlobs
  finder: BlobFinder
  /** Told of each blob that was found, once, with bytes that have its CID. */
  onFound?: (cid: string, bytes: Uint8Array, source: string) => Promise<void>
  onProgress?: (done: number, total: number) => void
}

/** Blobs looked for at once. As many are in memory at most, beside what the finder keeps. */
const SEARCHES_AT_ONCE = 8

/**
 * @param records those that are to be written: what is in the repo already needs no blob
 * @throws ConfigError, UnavailableError, PdsError: the PDS does not say what it serves, or a source was named wrongly.
 *   A source that fails is no error: its blobs are missing, and `mayComeLater` says that they may not stay so
 */
export async function planBlobs(
  records: readonly RecordWithBlobs[],
  options: BlobPlanOptions,
): Promise<BlobPlan> {
  const refsByUri = new Map(records.map(({ uri, record }) => [uri, blobRefsOf(record)]))
  const mimeTypes = new Map<string, string>()
  for (const { cid, mimeType } of [...refsByUri.values()].flat()) {
    if (!mimeTypes.has(cid)) mimeTypes.set(cid, mimeType)
  }
  const served = await options.isServed(mimeTypes.keys())
  const blobs = new Map<string, PlannedBlob>()
  // Set beforehand, so that the plan lists them in the order of the records and not of the answers.
  for (const [cid, mimeType] of mimeTypes) blobs.set(cid, { cid, mimeType, status: 'served' })
  const { finder, onFound, onProgress } = options
  let done = 0
  await concurrently([...blobs.values()], SEARCHES_AT_ONCE, async ({ cid, mimeType }) => {
    if (!served.has(cid)) blobs.set(cid, { cid, mimeType, ...(await look(cid, finder, onFound)) })
    onProgress?.(++done, blobs.size)
  })
  return planOf(refsByUri, blobs)
}

async function look(
  cid: string,
  finder: BlobFinder,
  onFound: BlobPlanOptions['onFound'],
): Promise<Omit<PlannedBlob, 'cid' | 'mimeType'>> {
  const found = await finder.find(cid)
  if ('bytes' in found) {
    await onFound?.(cid, found.bytes, found.source)
    return { status: 'upload', bytes: found.bytes.length, source: found.source }
  }
  return {
    status: 'missing',
    ...(found.reasons.length > 0 ? { reason: found.reasons.join('; ') } : {}),
    ...(found.mayComeLater ? { mayComeLater: true } : {}),
  }
}

function planOf(
  refsByUri: ReadonlyMap<string, readonly BlobRef[]>,
  blobs: ReadonlyMap<string, PlannedBlob>,
): BlobPlan {
  const counts = { served: 0, upload: 0, missing: 0 }
  let uploadBytes = 0
  for (const { status, bytes = 0 } of blobs.values()) {
    counts[status]++
    if (status === 'upload') uploadBytes += bytes
  }
  const records = [...refsByUri]
    .filter(([, refs]) => refs.length > 0)
    .map(([uri, refs]) => ({
      uri,
      cids: [...new Set(refs.map(({ cid }) => cid))],
      lacking: refs.flatMap((ref) => lackingOf(ref, blobs.get(ref.cid))),
    }))
  const uploadDays = Math.ceil(counts.upload / UPLOADS_PER_DAY)
  return { blobs: [...blobs.values()], records, counts, uploadBytes, uploadDays }
}

function lackingOf(ref: BlobRef, blob: PlannedBlob | undefined): LackingBlob[] {
  const because = whyLacking(ref, blob)
  if (because === undefined) return []
  const { cid, mimeType, paths } = ref
  return [{ cid, mimeType, paths: paths.map(pathText), ...because }]
}

/** What a host would refuse in the reference itself is found out here, before the record's batch is. */
function whyLacking(
  { size, isLegacy }: BlobRef,
  blob: PlannedBlob | undefined,
): Pick<LackingBlob, 'reason' | 'mayComeLater'> | undefined {
  if (isLegacy) return { reason: 'a host takes no new reference of this old form ({ cid, mimeType })' }
  if (blob === undefined || blob.status === 'missing') {
    const { reason, mayComeLater } = blob ?? {}
    return { reason: reason ?? 'no source has it', ...(mayComeLater && { mayComeLater }) }
  }
  // Of what it serves already, a host compares nothing with the reference.
  if (blob.status === 'served' || blob.bytes === size) return undefined
  return { reason: `the blob has ${blob.bytes} bytes, and the record says ${size ?? 'nothing of its size'}` }
}

export function blobsOfWrite({ counts, uploadBytes, uploadDays, records }: BlobPlan): BlobsOfWrite {
  const missing = new Map<string, MissingBlob>()
  for (const { uri, lacking } of records) {
    for (const { paths: _, ...blob } of lacking) {
      const id = JSON.stringify([blob.cid, blob.mimeType, blob.reason])
      const known = missing.get(id)
      if (known === undefined) missing.set(id, { ...blob, uris: [uri] })
      else known.uris.push(uri)
    }
  }
  return { counts, uploadBytes, uploadDays, missing: [...missing.values()] }
}
