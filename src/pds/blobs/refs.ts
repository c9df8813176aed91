import type { Json, JsonObject } from '../../events.ts'
import { canonicalCid } from '../../repo/blob-cid.ts'

/** Keys and indexes from the record down to a value. */
export type RecordPath = readonly (string | number)[]

/** A blob that a record refers to. */
export interface BlobRef {
  cid: string
  /** What the record says the blob is; a PDS compares it with what it finds the bytes to be. */
  mimeType: string
  /** What the record says, in bytes. Undefined in the old form, and for the -1 that conversions of it leave. */
  size: number | undefined
  /** The old form `{ cid, mimeType }`: a PDS serves the blob, but takes no new record that refers to it so. */
  isLegacy: boolean
  /** Every place in the record where it is referred to. */
  paths: RecordPath[]
}

/** What identifies a blob here, and all that a caller may compare between two records. */
type Reference = Omit<BlobRef, 'paths'>

/**
 * The blobs that a record refers to, wherever in it: fields that no lexicon knows count, as they do for a PDS. One
 * entry per CID, except where the record contradicts itself on type or size.
 */
export function blobRefsOf(record: JsonObject): BlobRef[] {
  const refs = new Map<string, BlobRef>()
  // A stack of our own, and paths only of what is found: how deep a record is nested is up to whoever wrote it.
  const open: Place[] = [{ value: record }]
  for (let place = open.pop(); place !== undefined; place = open.pop()) {
    const { value } = place
    if (value === null || typeof value !== 'object') continue
    const found = Array.isArray(value) ? undefined : referenceOf(value)
    if (found !== undefined) add(refs, found, pathOf(place))
    else for (const [step, child] of childrenOf(value)) open.push({ value: child, step, parent: place })
  }
  return [...refs.values()]
}

interface Place {
  value: Json
  /** Undefined for the record itself. */
  step?: string | number
  parent?: Place
}

function pathOf(place: Place): RecordPath {
  const path: (string | number)[] = []
  for (let at: Place | undefined = place; at?.step !== undefined; at = at.parent) path.push(at.step)
  return path.reverse()
}

function add(refs: Map<string, BlobRef>, found: Reference, path: RecordPath): void {
  const id = JSON.stringify(found)
  const known = refs.get(id)
  if (known === undefined) refs.set(id, { ...found, paths: [path] })
  else known.paths.push(path)
}

/** Last first, because the stack turns them round: references then come in the order of the record. */
function childrenOf(value: Json[] | JsonObject): [string | number, Json][] {
  const children: [string | number, Json][] = Array.isArray(value)
    ? value.map((child, index) => [index, child])
    : Object.entries(value)
  return children.reverse()
}

function referenceOf(value: JsonObject): Reference | undefined {
  return value.$type === 'blob' ? typedReference(value) : legacyReference(value)
}

/**
 * What a PDS takes for a reference, no more and no less: any codec of CID, but no further keys. (It looks inside what
 * it does not take for one, and so do we.)
 */
function typedReference({ $type, ref, mimeType, size, ...others }: JsonObject): Reference | undefined {
  const cid = isObject(ref) && typeof ref.$link === 'string' ? canonicalCid(ref.$link) : undefined
  if (cid === undefined || typeof mimeType !== 'string' || !mimeType.includes('/')) return undefined
  if (typeof size !== 'number' || Object.keys(others).length > 0) return undefined
  return { cid, mimeType, size: size < 0 ? undefined : size, isLegacy: false }
}

function legacyReference({ cid: text, mimeType, ...others }: JsonObject): Reference | undefined {
  const cid = typeof text === 'string' ? canonicalCid(text) : undefined
  if (cid === undefined || typeof mimeType !== 'string' || mimeType === '') return undefined
  if (cid !== text || Object.keys(others).length > 0) return undefined
  return { cid, mimeType, size: undefined, isLegacy: true }
}

function isObject(value: Json | undefined): value is JsonObject {
  return value !== null && typeof value === 'object' && !Array.isArray(value)
}

/** As `$.content.pages[0].blocks[2].block.image`. */
export function pathText(path: RecordPath): string {
  return `$${path.map(stepText).join('')}`
}

function stepText(step: string | number): string {
  return typeof step === 'string' && /^[$A-Za-z_][$\w]*$/.test(step)
    ? `.${step}`
    : `[${JSON.stringify(step)}]`
}
