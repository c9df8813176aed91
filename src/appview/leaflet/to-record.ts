/**
 * A stored value back into the record it was made from. Filled-in defaults cannot be told from what the author
 * wrote, so every combination is a candidate; whoever knows the original CID picks.
 */

import type { Json, JsonObject, RecordCandidates } from '../../events.ts'
import type { DefaultedObject } from './defaults.ts'
import { isObject } from './json.ts'

/** Each candidate is encoded and hashed by its reader; eight default-valued fields make at most 2^8 combinations. */
const MAX_CANDIDATES = 1024

/** @param stored the row's record column; @param collection what its `$type` must be */
export function recordFrom(
  stored: Json | undefined,
  collection: string,
  defaults: readonly DefaultedObject[],
): RecordCandidates {
  if (!isObject(stored)) return { ok: false, reason: 'the row holds no record' }
  if (stored.$type !== collection) {
    const found = stored.$type === undefined ? 'no $type' : `$type ${JSON.stringify(stored.$type)}`
    return { ok: false, reason: `the stored record has ${found}, not ${collection}` }
  }
  // An object with an iterator of its own, so that the candidates can be gone through more than once.
  return { ok: true, candidates: { [Symbol.iterator]: () => withoutDefaults(stored, defaults) } }
}

/**
 * The value as stored, then with every default-valued field removed, then with each other subset of them removed.
 * Where an object is emptied by it, the candidate without that object follows.
 */
export function* withoutDefaults(
  stored: JsonObject,
  defaults: readonly DefaultedObject[],
  maxCount = MAX_CANDIDATES,
): Generator<JsonObject, undefined> {
  const fields = defaults.flatMap((object) => removableFields(stored, object))
  let count = 0
  for (const mask of masks(fields.length)) {
    const removed = fields.filter((_, index) => mask & (1 << index))
    for (const candidate of variants(stored, removed)) {
      if (count++ >= maxCount) return
      yield candidate
    }
  }
}

/** The value without any default-valued field, and without what is empty then: one form for all that were filled in. */
export function leanest(stored: JsonObject, defaults: readonly DefaultedObject[]): JsonObject {
  const lean = withoutFields(
    stored,
    defaults.flatMap((object) => removableFields(stored, object)),
  )
  return withoutKeys(lean, (key) => defaults.some((object) => object.key === key) && isBare(lean[key]))
}

/** True where nothing is left but the name of its type. */
function isBare(value: Json | undefined): boolean {
  return isObject(value) && Object.keys(value).every((key) => key === '$type')
}

type Path = readonly [object: string, field: string]

function removableFields(stored: JsonObject, { key, $type, fields }: DefaultedObject): Path[] {
  const object = stored[key]
  if (!isObject(object) || ($type !== undefined && object.$type !== $type)) return []
  return Object.keys(fields)
    .filter((field) => object[field] === fields[field])
    .map((field) => [key, field])
}

/** Bit sets over `length` fields: none, all, then the others. */
function* masks(length: number): Generator<number, undefined> {
  const all = 2 ** length - 1
  yield 0
  if (all > 0) yield all
  for (let mask = 1; mask < all; mask++) yield mask
}

function* variants(stored: JsonObject, removed: readonly Path[]): Generator<JsonObject, undefined> {
  const pruned = withoutFields(stored, removed)
  yield pruned
  const emptied = [...new Set(removed.map(([key]) => key))].filter((key) => isEmpty(pruned[key]))
  for (const mask of masks(emptied.length)) {
    if (mask > 0) yield withoutKeys(pruned, (key) => (mask & (1 << emptied.indexOf(key))) !== 0)
  }
}

function withoutFields(stored: JsonObject, removed: readonly Path[]): JsonObject {
  const pruned = { ...stored }
  for (const [key, field] of removed) {
    const { [field]: _, ...rest } = pruned[key] as JsonObject
    pruned[key] = rest
  }
  return pruned
}

function isEmpty(value: Json | undefined): boolean {
  return isObject(value) && Object.keys(value).length === 0
}

function withoutKeys(object: JsonObject, drop: (key: string) => boolean): JsonObject {
  return Object.fromEntries(Object.entries(object).filter(([key]) => !drop(key)))
}
