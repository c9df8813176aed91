import { AtUri } from '@atproto/syntax'
import { VerificationError } from '../errors.ts'
import type { AppView, JsonObject, Proof, Refusal } from '../events.ts'
import { cidOfRecord } from '../repo/record.ts'
import { type Measured, measure } from './measured.ts'

/** A record of the snapshot as it would be written back. */
export interface LostRecord {
  uri: string
  collection: string
  rkey: string
  /** CID of `record`. */
  cid: string
  /** Length of the record's block, in bytes. */
  bytes: number
  record: JsonObject
  /** The record's CID as known from outside the snapshot, if it is. */
  originalCid: string | undefined
  proof: Proof
}

export interface RefusedRecord {
  uri: string
  refusal: Refusal
  reason: string
  originalCid: string | undefined
}

/** A root row of the snapshot: its AT-URI and its columns, JSON ones parsed. */
export interface RootRow {
  uri: string
  recordColumn: string
  row: JsonObject
}

/**
 * Turns a stored row back into the record it was made from. Of the candidates the one with the original CID is
 * taken; without one that fits, the likeliest.
 */
export function lostRecordOf(
  { uri, recordColumn, row }: RootRow,
  appview: AppView,
  originalCid: string | undefined,
): LostRecord | RefusedRecord {
  const { collection, rkey } = new AtUri(uri)
  const handler = appview.handlers.find((candidate) => candidate.collection === collection)
  const rebuilt = handler?.toRecord?.(row) ?? { ok: true, candidates: [row[recordColumn]] }
  if (!rebuilt.ok) return { uri, refusal: 'unencodable', reason: rebuilt.reason, originalCid }

  let first: (Measured & { record: JsonObject }) | undefined
  for (const record of rebuilt.candidates) {
    if (!isObject(record)) continue
    if (first === undefined) {
      const measured = measure(record, { collection, rkey })
      if ('reason' in measured) return { uri, refusal: 'unencodable', reason: measured.reason, originalCid }
      first = { ...measured, record }
    }
    if (originalCid === undefined) break
    if (first.record === record ? first.cid === originalCid : cidOfRecord(record) === originalCid)
      return lostRecord(uri, record, originalCid, 'proven')
  }
  if (first === undefined) {
    return { uri, refusal: 'unencodable', reason: `the row's ${recordColumn} holds no record`, originalCid }
  }
  return lostRecord(
    uri,
    first.record,
    originalCid,
    originalCid === undefined ? 'self-consistent' : 'different',
  )
}

function lostRecord(
  uri: string,
  record: JsonObject,
  originalCid: string | undefined,
  proof: Proof,
): LostRecord | RefusedRecord {
  const { collection, rkey } = new AtUri(uri)
  const measured = measure(record, { collection, rkey })
  if ('reason' in measured) return { uri, refusal: 'unencodable', reason: measured.reason, originalCid }
  const { cid, blockBytes: bytes } = measured
  return { uri, collection, rkey, cid, bytes, record, originalCid, proof }
}

function isObject(value: unknown): value is JsonObject {
  return value !== null && typeof value === 'object' && !Array.isArray(value)
}

/** The account that a snapshot's rows must belong to. @throws VerificationError for a URI of another one */
export function assertOwn(uri: string, did: string): void {
  if (new AtUri(uri).host !== did)
    throw new VerificationError(`${uri} is not a record of ${did}.`, { did, uri })
}
