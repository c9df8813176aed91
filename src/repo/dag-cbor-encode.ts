import { isCid, type LexMap, type LexValue } from '@atproto/lex'
import { encode } from '@atproto/lex-cbor'

/**
 * The DAG-CBOR block of a value, as the library encodes it, in a third of the time: encoding is most of what a write
 * plan and a replay compute. Whatever is not plain (floats, integers beyond 53 bits, undefined, foreign objects) goes
 * to the library, which encodes it or says what is wrong with it.
 *
 * Format: https://ipld.io/specs/codecs/dag-cbor/spec/, map keys by length, then by bytes.
 */
export function encodeBlock(value: LexValue): Uint8Array {
  length = 0
  return write(value) ? new Uint8Array(block.subarray(0, length)) : encode(value)
}

const UNSIGNED = 0x00
const NEGATIVE = 0x20
const BYTES = 0x40
const TEXT = 0x60
const ARRAY = 0x80
const MAP = 0xa0
const FALSE = 0xf4
const TRUE = 0xf5
const NULL = 0xf6
/** Tag 42: a CID, in bytes that begin with 0 (the identity multibase). */
const CID_TAG = [0xd8, 0x2a] as const

/** Longest head: a byte, and a length of eight. */
const HEAD_BYTES = 9
/** UTF-8 has at most three bytes for each of JavaScript's 16-bit units. */
const MOST_BYTES_PER_UNIT = 3

// One value is encoded at a time, and copied out: nothing of it stays here.
let block: Buffer = Buffer.allocUnsafe(64 * 1024)
let length = 0

/** @returns false for what is left to the library; what was written until then is of no use */
function write(value: LexValue | undefined): boolean {
  switch (typeof value) {
    case 'string':
      writeText(value)
      return true
    case 'number':
      return writeInteger(value)
    case 'boolean':
      writeByte(value ? TRUE : FALSE)
      return true
    case 'object':
      break
    default:
      return false
  }
  if (value === null) {
    writeByte(NULL)
    return true
  }
  if (Array.isArray(value)) {
    writeHead(ARRAY, value.length)
    return value.every(write)
  }
  const prototype: unknown = Object.getPrototypeOf(value)
  if (prototype === Object.prototype || prototype === null) return writeMap(value as LexMap)
  if (value instanceof Uint8Array) {
    writeHead(BYTES, value.length)
    writeBytes(value)
    return true
  }
  if (!isCid(value)) return false
  const { bytes } = value
  for (const byte of CID_TAG) writeByte(byte)
  writeHead(BYTES, bytes.length + 1)
  writeByte(0)
  writeBytes(bytes)
  return true
}

function writeInteger(value: number): boolean {
  if (!Number.isSafeInteger(value) || Object.is(value, -0)) return false
  if (value < 0) writeHead(NEGATIVE, -1 - value)
  else writeHead(UNSIGNED, value)
  return true
}

function writeMap(map: LexMap): boolean {
  const keys = Object.keys(map).map(keyOf).sort(compareKeys)
  writeHead(MAP, keys.length)
  for (const { text, bytes } of keys) {
    writeBytes(bytes)
    if (!write(map[text])) return false
  }
  return true
}

function writeText(text: string): void {
  reserve(HEAD_BYTES + text.length * MOST_BYTES_PER_UNIT)
  const byteCount = Buffer.byteLength(text)
  writeHead(TEXT, byteCount)
  length += block.write(text, length)
}

/** A key as it is encoded, its length before it. */
interface Key {
  text: string
  bytes: Uint8Array
  /** Its text sorts as its bytes do. */
  isAscii: boolean
}

/** Records of one kind have the same few keys. Bounded, since strangers choose the keys of theirs. */
const known = new Map<string, Key>()
const MAX_KNOWN_KEYS = 4096

function keyOf(text: string): Key {
  const found = known.get(text)
  if (found !== undefined) return found
  const start = length
  writeText(text)
  const bytes = new Uint8Array(block.subarray(start, length))
  length = start
  const key = { text, bytes, isAscii: Buffer.byteLength(text) === text.length }
  if (known.size < MAX_KNOWN_KEYS) known.set(text, key)
  return key
}

function compareKeys(a: Key, b: Key): number {
  if (a.bytes.length !== b.bytes.length) return a.bytes.length - b.bytes.length
  if (a.isAscii && b.isAscii) return a.text < b.text ? -1 : 1
  return Buffer.compare(a.bytes, b.bytes)
}

function writeHead(major: number, count: number): void {
  reserve(HEAD_BYTES)
  if (count < 24) block[length++] = major + count
  else if (count < 2 ** 8) {
    block[length++] = major + 24
    block[length++] = count
  } else if (count < 2 ** 16) {
    block[length++] = major + 25
    length = block.writeUInt16BE(count, length)
  } else if (count < 2 ** 32) {
    block[length++] = major + 26
    length = block.writeUInt32BE(count, length)
  } else {
    block[length++] = major + 27
    length = block.writeUInt32BE(Math.floor(count / 2 ** 32), length)
    length = block.writeUInt32BE(count % 2 ** 32, length)
  }
}

function writeByte(byte: number): void {
  reserve(1)
  block[length++] = byte
}

function writeBytes(bytes: Uint8Array): void {
  reserve(bytes.length)
  block.set(bytes, length)
  length += bytes.length
}

function reserve(byteCount: number): void {
  if (length + byteCount <= block.length) return
  const larger = Buffer.allocUnsafe(Math.max(block.length * 2, length + byteCount))
  block.copy(larger, 0, 0, length)
  block = larger
}
