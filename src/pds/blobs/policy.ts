import { RestoreError, UnavailableError } from '../../errors.ts'
import type { AppView } from '../../events.ts'
import { encodeRecord } from '../../repo/record.ts'
import type { LostRecord, RefusedRecord } from '../lost-record.ts'
import type { BlobPlan, LackingBlob } from './plan.ts'
import { withoutBlobs } from './strip.ts'

export const MISSING_BLOB_POLICIES = ['refuse-record', 'strip', 'fail'] as const
/** What to do with a record that refers to a blob which cannot be had. */
export type MissingBlobPolicy = (typeof MISSING_BLOB_POLICIES)[number]

export interface BlobPolicyOptions {
  /** @defaultValue 'refuse-record' */
  policy?: MissingBlobPolicy
  /** Its handlers say what a record may go without. */
  appview: AppView
}

/**
 * The records as they are to be written, given what can be had of their blobs. Records of which the plan says nothing
 * stay as they are.
 *
 * A blob that only cannot be asked for now is never stripped: it would be lost for a host that was down.
 *
 * @throws RestoreError with policy `fail`, or UnavailableError where all that is missing may yet come
 */
export function applyMissingBlobs(
  records: readonly (LostRecord | RefusedRecord)[],
  plan: BlobPlan,
  { policy = 'refuse-record', appview }: BlobPolicyOptions,
): (LostRecord | RefusedRecord)[] {
  const lackingByUri = new Map(
    plan.records.filter(({ lacking }) => lacking.length > 0).map(({ uri, lacking }) => [uri, lacking]),
  )
  if (policy === 'fail' && lackingByUri.size > 0) throw failure(lackingByUri)
  return records.map((record) => {
    const lacking = lackingByUri.get(record.uri)
    if (lacking === undefined || 'refusal' in record) return record
    return (policy === 'strip' ? stripped(record, lacking, appview) : undefined) ?? refused(record, lacking)
  })
}

function failure(lackingByUri: ReadonlyMap<string, readonly LackingBlob[]>): RestoreError | UnavailableError {
  const [uri = '', first = []] = [...lackingByUri][0] ?? []
  const message = `${lackingByUri.size} records refer to blobs that cannot be had, as ${uri}: ${reasonOf(first)}`
  const mayComeLater = [...lackingByUri.values()].flat().every((blob) => blob.mayComeLater)
  if (mayComeLater)
    return new UnavailableError(message, { uri, hint: 'Nothing was written. Try again later.' })
  return new RestoreError(message, {
    uri,
    hint: 'Nothing was written. Name a further source of blobs, or choose --missing-blobs refuse-record or strip.',
  })
}

function refused({ uri, originalCid }: LostRecord, lacking: readonly LackingBlob[]): RefusedRecord {
  return { uri, refusal: 'blob-missing', reason: reasonOf(lacking), originalCid }
}

function reasonOf(lacking: readonly LackingBlob[]): string {
  return lacking
    .map(({ cid, mimeType, paths, reason }) => `blob ${cid} (${mimeType}) at ${paths.join(', ')}: ${reason}`)
    .join('; ')
}

/** Without its pictures a record is another one, whatever was known of it before. */
function stripped(
  lost: LostRecord,
  lacking: readonly LackingBlob[],
  { handlers }: AppView,
): LostRecord | undefined {
  const handler = handlers.find(({ collection }) => collection === lost.collection)
  if (handler === undefined || lacking.some(({ mayComeLater }) => mayComeLater)) return undefined
  const cids = new Set(lacking.map(({ cid }) => cid))
  const record = withoutBlobs(lost.record, cids, { uri: lost.uri, handler })
  if (record === undefined) return undefined
  const { cid, bytes } = encodeRecord(record)
  const { provenBy: _, doubt: __, ...rest } = lost
  const differs = `without what cannot be had: ${reasonOf(lacking)}`
  return { ...rest, record, cid: cid.toString(), bytes: bytes.length, proof: 'different', differs }
}
