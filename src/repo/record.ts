import { type Cid, isPlainObject, type LexMap } from '@atproto/lex'
import { isValidNsid, isValidRecordKey } from '@atproto/syntax'
import { VerificationError } from '../errors.ts'
import type { JsonObject } from '../events.ts'
import { cidOfBlock, decodeBlock, encodeBlock } from './dag-cbor.ts'
import { assertSurvivesJson, jsonToLex, lexToJson } from './data-model.ts'

export { jsonToLex, lexToJson }

export interface EncodedRecord {
  cid: Cid
  bytes: Uint8Array
  record: LexMap
}

/**
 * A record's JSON as the block a repository stores, with its CID.
 *
 * @throws {@link VerificationError} naming the JSON path of what cannot be part of a record
 */
export function encodeRecord(json: JsonObject): EncodedRecord {
  const record = jsonToLex(json)
  if (!isPlainObject(record)) throw new VerificationError('$: a record is an object')
  const bytes = encodeBlock(record)
  return { cid: cidOfBlock(bytes), bytes, record: record as LexMap }
}

/** CID, as text, that a repository gives this record. @throws {@link VerificationError} as encodeRecord does */
export function cidOfRecord(json: JsonObject): string {
  return encodeRecord(json).cid.toString()
}

/**
 * The record in a repository's block. Accepted only when it comes back from its JSON form as it was: a record that
 * loses something on the way could never be restored with its CID.
 *
 * @throws {@link VerificationError} naming the JSON path where there is one
 */
export function recordFromBytes(bytes: Uint8Array): LexMap {
  const record = decodeBlock(bytes, 'record')
  assertSurvivesJson(record)
  return record
}

/**
 * As encodeRecord, or why this JSON cannot be written under this collection and key, in words and with a JSON path.
 * Whether the record fits its Lexicon is another question, and not asked here.
 */
export function encodeFor(
  json: JsonObject,
  { collection, rkey }: { collection: string; rkey: string },
): EncodedRecord | { reason: string } {
  if (!isValidNsid(collection))
    return { reason: `the collection ${JSON.stringify(collection)} is not an NSID` }
  if (!isValidRecordKey(rkey)) return { reason: `the record key ${JSON.stringify(rkey)} is not valid` }
  try {
    const encoded = encodeRecord(json)
    const reason = typeReason(json.$type, collection)
    return reason === null ? encoded : { reason }
  } catch (error) {
    if (error instanceof VerificationError) return { reason: error.message }
    throw error
  }
}

function typeReason(type: unknown, collection: string): string | null {
  if (type === undefined) return `$.$type: missing; the collection is ${collection}`
  if (type !== collection) return `$.$type: ${JSON.stringify(type)} is not the collection ${collection}`
  return null
}
