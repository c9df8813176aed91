import { hash } from 'node:crypto'
import { type Cid, createCid, isPlainObject, type LexMap, type LexValue } from '@atproto/lex'
import { decode } from '@atproto/lex-cbor'
import { messageOf } from '../errors.ts'
import { encodeBlock } from './dag-cbor-encode.ts'
import { brokenRepo } from './repo-errors.ts'

export { encodeBlock }

const DAG_CBOR = 0x71
const SHA2_256 = 0x12

/** CID of a DAG-CBOR block. */
export function cidOfBlock(bytes: Uint8Array): Cid {
  return createCid(DAG_CBOR, SHA2_256, hash('sha256', bytes, 'buffer'))
}

/**
 * Decodes a block that holds a map, and accepts it only in its canonical encoding: the decoder is lenient (key
 * order, floats, undefined, invalid UTF-8), and two encodings of one value would have two CIDs.
 *
 * @param what names the block in errors, as `commit` or `record`
 * @throws {@link VerificationError}
 */
export function decodeBlock(bytes: Uint8Array, what: string): LexMap {
  let value: LexValue
  let again: Uint8Array
  try {
    value = decode(bytes)
    again = encodeBlock(value)
  } catch (cause) {
    throw brokenRepo(`The ${what} is not DAG-CBOR: ${messageOf(cause)}`, { cause })
  }
  if (!isPlainObject(value)) throw brokenRepo(`The ${what} is not a map`)
  if (Buffer.compare(again, bytes) !== 0) throw brokenRepo(`The ${what} is not encoded as DAG-CBOR requires`)
  return value as LexMap
}
