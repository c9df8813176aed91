import { hash } from 'node:crypto'
import { type Cid, createCid, decodeCid, isCid } from '@atproto/lex'
import { VerificationError } from '../errors.ts'
import { decodeBlock } from './dag-cbor.ts'
import { BROKEN_REPO_HINT } from './repo-errors.ts'

/** Blocks by CID. */
export interface Blocks {
  get(cid: Cid): Uint8Array | undefined
}

export interface Car {
  roots: readonly Cid[]
  blocks: Blocks
}

/** A gibibyte: repositories of very busy accounts are a few hundred megabytes. */
export const DEFAULT_MAX_CAR_BYTES = 1024 ** 3

/**
 * A commit may bring 2,000,000 bytes of blocks (`blocks` of com.atproto.sync.subscribeRepos), and a record has to fit
 * into that. Twice as much, for hosts of the time before that limit; without one, a block of the size of the whole CAR
 * would be held in memory to be hashed.
 */
export const MAX_BLOCK_BYTES = 4 * 1024 ** 2

/** CIDv1, DAG-CBOR or raw, SHA-256: the only CIDs that blocks of atproto have, 36 bytes long. */
const CID_BYTES = 36
const DAG_CBOR = 0x71
const RAW = 0x55
const SHA2_256 = 0x12
/** Of the hash in a CID, behind version, codec, hash function and length. */
const DIGEST_AT = 4
/** Five groups of seven bits hold 32 GiB. */
const MAX_VARINT_BYTES = 5

/** Told of each block, in the order of the CAR, once it has been checked against its CID. */
export type OnBlock = (digest: string, bytes: Uint8Array, offset: number) => void

/** Reads a CARv1 that is wholly in memory. @throws {@link VerificationError} as CarReader does */
export function readCarBytes(bytes: Uint8Array): Car {
  const blocks = new Map<string, Uint8Array>()
  const reader = new CarReader(Number.POSITIVE_INFINITY, (digest, block) => void blocks.set(digest, block))
  reader.push(bytes)
  return { roots: reader.end(), blocks: { get: (cid) => blocks.get(digestOf(cid)) } }
}

/**
 * What blocks are found by: the SHA-256 in their CID, a character for each byte. Its text form would take as long to
 * make as the block takes to be hashed, and twice the memory. The codec is left out: it does not change the bytes.
 */
export function digestOf(cid: Cid): string {
  return latin1Of(cid.multihash.digest, 0, cid.multihash.digest.length)
}

/** The CID of a record or node with this digest: all of them are DAG-CBOR. */
export function cidOfDigest(digest: string): Cid {
  return createCid(DAG_CBOR, SHA2_256, new Uint8Array(Buffer.from(digest, 'latin1')))
}

function latin1Of(bytes: Uint8Array, start: number, end: number): string {
  return Buffer.from(bytes.buffer, bytes.byteOffset + start, end - start).toString('latin1')
}

/** The first root: where atproto puts the commit. @throws {@link VerificationError} when there is none */
export function rootOf({ roots }: Pick<Car, 'roots'>): Cid {
  const [root] = roots
  if (root === undefined) throw badCar('names no root')
  return root
}

function badCar(problem: string): VerificationError {
  return new VerificationError(`The CAR ${problem}`, { hint: BROKEN_REPO_HINT })
}

/**
 * Reads a CARv1 as it arrives, checking each block against its CID.
 *
 * Sections are a length and as many bytes; the first is the header, the others are blocks. Chunks are joined only
 * once a whole section is there, so that a host sending byte by byte costs no more than one sending at once.
 */
export class CarReader {
  readonly #maxBytes: number
  readonly #onBlock: OnBlock
  #roots: readonly Cid[] | undefined
  #chunks: Uint8Array[] = []
  #heldBytes = 0
  #neededBytes = 1
  #receivedBytes: number

  /**
   * @param maxBytes size at which reading stops
   * @param startBytes size of the CARs before this one, where it goes on in `maxBytes` and in the offsets
   */
  constructor(maxBytes: number, onBlock: OnBlock, startBytes = 0) {
    this.#maxBytes = maxBytes
    this.#onBlock = onBlock
    this.#receivedBytes = startBytes
  }

  /**
   * @throws {@link VerificationError} when it is too large, followed by anything else, or a block is not what its CID
   *   says
   */
  push(chunk: Uint8Array): void {
    this.#receivedBytes += chunk.length
    if (this.#receivedBytes > this.#maxBytes) throw this.#tooLarge()
    this.#chunks.push(chunk)
    this.#heldBytes += chunk.length
    if (this.#heldBytes >= this.#neededBytes) this.#readSections()
  }

  /** The roots. @throws {@link VerificationError} when the CAR is cut short or empty */
  end(): readonly Cid[] {
    if (this.#heldBytes > 0) throw badCar('is cut short, or followed by something else')
    if (this.#roots === undefined) throw badCar('is empty')
    return this.#roots
  }

  #readSections(): void {
    const held = this.#chunks.length === 1 && this.#chunks[0] ? this.#chunks[0] : Buffer.concat(this.#chunks)
    const heldAt = this.#receivedBytes - held.length
    let offset = 0
    for (;;) {
      const length = readVarint(held, offset)
      if (length === undefined) {
        this.#neededBytes = held.length - offset + 1
        break
      }
      const end = length.end + length.value
      if (heldAt + end > this.#maxBytes) throw this.#tooLarge()
      if (length.value > CID_BYTES + MAX_BLOCK_BYTES) throw blockTooLarge(length.value - CID_BYTES)
      if (end > held.length) {
        this.#neededBytes = end - offset
        break
      }
      this.#readSection(held.subarray(length.end, end), heldAt + length.end)
      offset = end
    }
    this.#heldBytes = held.length - offset
    this.#chunks = this.#heldBytes === 0 ? [] : [held.subarray(offset)]
  }

  #readSection(section: Uint8Array, offset: number): void {
    if (this.#roots === undefined) {
      this.#roots = readHeader(section)
      return
    }
    const { digest, bytes } = readBlock(section)
    this.#onBlock(digest, bytes, offset + CID_BYTES)
  }

  #tooLarge(): VerificationError {
    return new VerificationError(`The CAR is larger than the limit of ${this.#maxBytes} bytes`, {
      hint: 'Raise the size limit if this account is known to be that large and there is room for it.',
    })
  }
}

function blockTooLarge(bytes: number): VerificationError {
  return badCar(`holds a block of ${bytes} bytes; a block may have ${MAX_BLOCK_BYTES} at most`)
}

/** undefined: more bytes are needed. */
function readVarint(bytes: Uint8Array, offset: number): { value: number; end: number } | undefined {
  let value = 0
  for (let index = 0; index < MAX_VARINT_BYTES; index++) {
    const byte = bytes[offset + index]
    if (byte === undefined) return undefined
    value += (byte & 0x7f) * 2 ** (7 * index)
    if (byte < 0x80) {
      if (byte === 0) throw badCar('holds a section of no length, or a length with padding')
      return { value, end: offset + index + 1 }
    }
  }
  throw badCar('holds a length that is not a number')
}

function readHeader(section: Uint8Array): readonly Cid[] {
  const header = decodeBlock(section, 'CAR header')
  if (header.version !== 1) throw badCar('is not of version 1')
  if (!Array.isArray(header.roots)) throw badCar('has no list of roots')
  return header.roots.map((root) => {
    if (!isCid(root, { flavor: 'dasl' })) throw badCar('has a root that is not a CID of atproto')
    return root
  })
}

function readBlock(section: Uint8Array): { digest: string; bytes: Uint8Array } {
  const [version, codec, hashCode, hashBytes] = section
  const isAtproto =
    section.length >= CID_BYTES &&
    version === 1 &&
    (codec === DAG_CBOR || codec === RAW) &&
    hashCode === SHA2_256 &&
    hashBytes === 32
  if (!isAtproto) throw badCar('holds a block whose CID atproto does not use')
  const bytes = section.subarray(CID_BYTES)
  const digest = latin1Of(section, DIGEST_AT, CID_BYTES)
  if (hash('sha256', bytes, 'binary') !== digest) {
    const cid = decodeCid(section.subarray(0, CID_BYTES)).toString()
    throw badCar(`holds a block that is not what its CID ${cid} says`)
  }
  return { digest, bytes }
}
