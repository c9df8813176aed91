import { isCid, isPlainObject, type LexMap, type LexValue, parseCidSafe } from '@atproto/lex'
import { lexToJson as libraryLexToJson, parseLexBytes } from '@atproto/lex-json'
import { messageOf, VerificationError } from '../errors.ts'
import type { Json } from '../events.ts'

/**
 * Levels of arrays and objects a record may have. The encoder recurses and gives out at some 1,000; nothing real
 * comes near this.
 */
const MAX_DEPTH = 256

/**
 * JSON into the data model of atproto, refusing what the model has no place for. The library's own strict mode
 * names no path, lets lone surrogates become U+FFFD, and drops undefined.
 *
 * @throws {@link VerificationError} naming the JSON path, as `$.content.blocks[2].size`
 */
export function jsonToLex(json: unknown): LexValue {
  return convert(json, undefined, 0)
}

/**
 * The data model as JSON: CIDs as `$link`, bytes as `$bytes`.
 *
 * @throws {@link VerificationError} when the value cannot be written as JSON (an integer beyond 64-bit floats)
 */
export function lexToJson(value: LexValue): Json {
  try {
    return libraryLexToJson(value) as Json
  } catch (cause) {
    throw new VerificationError(`The value has no JSON form: ${messageOf(cause)}`, { cause })
  }
}

/**
 * Refuses what jsonToLex would refuse or change of a value's JSON form: what passes comes back as it was from JSON.
 * The same without making the JSON and the value again, which takes most of the time that reading a record takes.
 *
 * @throws {@link VerificationError} naming the JSON path
 */
export function assertSurvivesJson(value: LexValue): void {
  survive(value, undefined, 0)
}

function survive(value: LexValue | undefined, path: Path, depth: number): void {
  if (depth > MAX_DEPTH) throw refuse(path, `nested more than ${MAX_DEPTH} levels deep`)
  if (value === null || typeof value === 'boolean') return
  if (typeof value === 'string') {
    checkedString(value, path)
    return
  }
  if (typeof value === 'number') {
    checkedNumber(value, path)
    return
  }
  if (Array.isArray(value)) {
    for (const [index, item] of value.entries()) survive(item, { parent: path, key: index }, depth + 1)
    return
  }
  if (isPlainObject(value)) {
    surviveMap(value as LexMap, path, depth)
    return
  }
  if (!(value instanceof Uint8Array) && !isCid(value)) throw refuse(path, 'it has no JSON form')
}

function surviveMap(map: LexMap, path: Path, depth: number): void {
  for (const key in map) {
    if (key === '$link' || key === '$bytes' || key === '__proto__') {
      throw refuse(path, `a map with the key ${key} would be something else in JSON`)
    }
    // Most values are texts, and most texts are well-formed.
    const value = map[key]
    if (typeof value === 'string' ? value.isWellFormed() : value === null || typeof value === 'boolean') {
      checkedString(key, path)
    } else {
      survive(value, { parent: path, key: checkedString(key, path) }, depth + 1)
    }
  }
  checkType(map, path)
}

/** Where a value stands: printed only when it is refused, since most never are. Undefined: the record itself. */
type Path = { parent: Path; key: string | number } | undefined

function refuse(path: Path, reason: string): VerificationError {
  return new VerificationError(`${printed(path)}: ${reason}`, {
    hint: 'The value cannot be part of an atproto record. Correct it where it is stored, or leave the record out.',
  })
}

function convert(json: unknown, path: Path, depth: number): LexValue {
  if (depth > MAX_DEPTH) throw refuse(path, `nested more than ${MAX_DEPTH} levels deep`)
  if (json === null || typeof json === 'boolean') return json
  if (typeof json === 'string') return checkedString(json, path)
  if (typeof json === 'number') return checkedNumber(json, path)
  if (Array.isArray(json)) {
    return Array.from(json, (item, index) => convert(item, { parent: path, key: index }, depth + 1))
  }
  if (isPlainObject(json)) return convertObject(json, path, depth)
  throw refuse(path, json === undefined ? 'undefined is not a value' : `a ${typeof json} is not a JSON value`)
}

function checkedString(text: string, path: Path): string {
  if (!text.isWellFormed()) throw refuse(path, 'the text holds a lone surrogate, which UTF-8 cannot carry')
  return text
}

function checkedNumber(value: number, path: Path): number {
  if (Number.isSafeInteger(value)) return value
  const reason = Number.isInteger(value) ? 'is outside the safe integer range' : 'is not an integer'
  throw refuse(path, `${value} ${reason}; records hold only integers of at most 53 bits`)
}

function convertObject(json: Record<string, unknown>, path: Path, depth: number): LexValue {
  if (Object.hasOwn(json, '$link')) return convertLink(json, path)
  if (Object.hasOwn(json, '$bytes')) return convertBytes(json, path)
  if (isRawJson(json)) throw refuse(path, `${String(json.rawJSON)} is a number that a record cannot hold`)
  const map: LexMap = {}
  for (const [key, value] of Object.entries(json)) {
    const keyPath = { parent: path, key }
    // A map with this key would set the prototype of whatever object it is copied into.
    if (key === '__proto__') throw refuse(keyPath, 'this key is not allowed')
    map[checkedString(key, keyPath)] = convert(value, keyPath, depth + 1)
  }
  checkType(map, path)
  return map
}

/** Numbers whose digits a double would lose arrive as `JSON.rawJSON` objects from exact reads. */
function isRawJson(json: Record<string, unknown>): boolean {
  return Object.getPrototypeOf(json) === null && Object.isFrozen(json) && Object.hasOwn(json, 'rawJSON')
}

function convertLink(json: Record<string, unknown>, path: Path): LexValue {
  const link = json.$link
  const cid = typeof link === 'string' && Object.keys(json).length === 1 ? parseCidSafe(link) : null
  if (cid === null) throw refuse(path, '$link is not a CID, or not alone in its object')
  return cid
}

function convertBytes(json: Record<string, unknown>, path: Path): LexValue {
  const bytes = parseLexBytes(json)
  if (bytes === undefined) throw refuse(path, '$bytes is not base64, or not alone in its object')
  return bytes
}

function checkType(map: LexMap, path: Path): void {
  if (!Object.hasOwn(map, '$type')) return
  if (typeof map.$type !== 'string' || map.$type === '') throw refuse(path, '$type is not a name')
  if (map.$type === 'blob') checkBlob(map, path)
}

/**
 * Refuses less than the library's strict check: hosts accept blob references with a CID of another codec, a size
 * of -1 (unknown, from the first form of blobs) or further keys, so such records exist and must come back.
 */
function checkBlob(blob: LexMap, path: Path): void {
  if (!isCid(blob.ref)) throw refuse({ parent: path, key: 'ref' }, 'the blob reference names no CID')
  if (typeof blob.mimeType !== 'string')
    throw refuse({ parent: path, key: 'mimeType' }, 'the blob has no MIME type')
  if (typeof blob.size !== 'number' || blob.size < -1)
    throw refuse({ parent: path, key: 'size' }, 'the blob has no size')
}

function printed(path: Path): string {
  if (path === undefined) return '$'
  const { parent, key } = path
  if (typeof key === 'number') return `${printed(parent)}[${key}]`
  return /^[$A-Za-z_][$\w]*$/.test(key)
    ? `${printed(parent)}.${key}`
    : `${printed(parent)}[${JSON.stringify(key)}]`
}
