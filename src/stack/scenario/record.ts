import type { JsonObject } from '../../events.ts'
import { tidOf } from './tid.ts'

/** A record of somebody's repo, as it was written. */
export interface WrittenRecord {
  did: string
  collection: string
  rkey: string
  uri: string
  /** When its author wrote it, in milliseconds since 1970: months ago, although the PDS gets it today. */
  atMs: number
  record: JsonObject
  /** It breaks its lexicon: no indexer takes it, its rows are the app's own. */
  isBroken: boolean
}

export const DAY_MS = 24 * 60 * 60 * 1000

/** @param key the rkey where it is not the TID of `atMs` */
export function writtenRecord(did: string, atMs: number, record: JsonObject, key?: string): WrittenRecord {
  const collection = String(record.$type)
  const rkey = key ?? tidOf(atMs)
  return { did, collection, rkey, uri: `at://${did}/${collection}/${rkey}`, atMs, record, isBroken: false }
}

export function isoOf(atMs: number): string {
  return new Date(atMs).toISOString()
}

export function ofCollection(records: readonly WrittenRecord[], ...collections: string[]): WrittenRecord[] {
  return records.filter(({ collection }) => collections.includes(collection))
}
