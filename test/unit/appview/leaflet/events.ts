import { type JsonValue, jsonToLex, type LexMap, parseCid } from '@atproto/lex'
import { AtUri } from '@atproto/syntax'
import { leaflet } from '../../../../src/appview/leaflet/index.ts'
import type { Handler, HandlerResult, JsonObject, RecordUpsert, RowMutation } from '../../../../src/events.ts'
import { handlersOf } from '../../../../src/indexer/batch.ts'

export const DID = 'did:plc:ewvi7nxzyoun6zhxrhs64oiz'
export const OTHER_DID = 'did:plc:44ybard66vv44zksje25o7dz'
export const RKEY = '3lhqvxm2cks2e'
export const BLOB_CID = 'bafkreihdwdcefgh4dqkjv67uzcmw7ojee6xedzdetojuzjevtenxquvyku'
export const RECORD_CID = 'bafyreie5737gdxlw5i64vzichcalba3z2v5n6icifvx5xytvske7mr3hpm'
export const NOW = '2026-02-14T09:30:00.000Z'

export const uriOf = (collection: string, did = DID, rkey = RKEY) => `at://${did}/${collection}/${rkey}`

export const blob = (mimeType = 'image/png', size = 1234): JsonObject => ({
  $type: 'blob',
  ref: { $link: BLOB_CID },
  mimeType,
  size,
})

const handlers = handlersOf(leaflet)

export function handlerFor(collection: string): Handler {
  const handler = handlers.get(collection)
  if (handler === undefined) throw new Error(`no handler for ${collection}`)
  return handler
}

/** An event that carries `record`; `collection` is the record's `$type` unless told. */
export function eventOf(record: JsonObject, collection = String(record.$type)): RecordUpsert {
  return {
    event: 'create',
    seq: 7,
    time: NOW,
    commit: parseCid(RECORD_CID),
    rev: '3lhqvxm2cks2f',
    uri: new AtUri(uriOf(collection)),
    did: DID,
    collection,
    rkey: RKEY,
    source: 'firehose',
    cid: parseCid(RECORD_CID),
    record: jsonToLex(record as JsonValue) as LexMap,
  }
}

export function resultOf(record: JsonObject, collection = String(record.$type)): HandlerResult {
  return handlerFor(collection).rows(eventOf(record, collection))
}

export function mutationsOf(record: JsonObject): readonly RowMutation[] {
  const result = resultOf(record)
  if (result.outcome !== 'rows') throw new Error(`${result.outcome}: ${result.reason}`)
  return result.mutations
}

/** The row of the record's own table. */
export function rowOf(record: JsonObject): JsonObject {
  const [{ table }] = handlerFor(String(record.$type)).derives
  for (const mutation of mutationsOf(record)) {
    if (mutation.kind === 'upsert' && mutation.into.table === table) return mutation.row
  }
  throw new Error(`no row for ${table}`)
}
