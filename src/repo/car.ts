import { hash } from 'node:crypto'
import { type Cid, decodeCid, isCid } from '@atproto/lex'
import { VerificationError } from '../errors.ts'
import { decodeBlock } from './dag-cbor.ts'
import { BROKEN_REPO_HINT } from './repo-errors.ts'

/** Blocks by the text of their CID. */
export type Blocks = ReadonlyMap<string, Uint8Array>

export interface Car {
  roots: readonly Cid[]
  blocks: Blocks
}

/** A gibibyte: repositories of very busy accounts are a few hundred megabytes, and all of it is held in memory. */
export const DEFAULT_MAX_CAR_BYTES = 1024 ** 3

/** CIDv1, DAG-CBOR or raw, SHA-256: the only CIDs that blocks of atproto have, 36 bytes long. */
const CID_BYTES = 36
/** Five groups of seven bits hold 32 GiB. */
const MAX_VARINT_BYTES = 5

/**
 * Reads a CARv1 as it arrives, checking each block against its CID.
 *
 * @param maxBytes size at which reading stops. @defaultValue 1 GiB
 * @throws {@link VerificationError} when it is too large, cut short, followed by anything else, or a block is not
 *   what its CID says
 */
export async function readCar(
  chunks: AsyncIterable<Uint8Array>,
  { maxBytes = DEFAULT_MAX_CAR_BYTES }: { maxBytes?: number } = {},
): Promise<Car> {
  const parser = new CarParser(maxBytes)
  for await (const chunk of chunks) parser.push(chunk)
  return parser.end()
}

/** Reads a CARv1 that is wholly in memory. @throws {@link VerificationError} as readCar does */
export function readCarBytes(bytes: Uint8Array): Car {
  const parser = new CarParser(Number.POSITIVE_INFINITY)
  parser.push(bytes)
  return parser.end()
}

/** The first root: where atproto puts the commit. @throws {@link VerificationError} when there is none */
export function rootOf(car: Car): Cid {
  const [root] = car.roots
  if (root === undefined) throw badCar('names no root')
  return root
}

function badCar(problem: string): VerificationError {
  return new VerificationError(`The CAR ${problem}`, { hint: BROKEN_REPO_HINT })
}

/**
 * Sections are a length and as many bytes; the first is the header, the others are blocks. Chunks are joined only
 * once a whole section is there, so that a host sending byte by byte costs no more than one sending at once.
 */
class CarParser {
  readonly #maxBytes: number
  readonly #blocks = new Map<string, Uint8Array>()
  #roots: readonly Cid[] | undefined
  #chunks: Uint8Array[] = []
  #heldBytes = 0
  #neededBytes = 1
  #receivedBytes = 0

  constructor(maxBytes: number) {
    this.#maxBytes = maxBytes
  }

  push(chunk: Uint8Array): void {
    this.#receivedBytes += chunk.length
    if (this.#receivedBytes > this.#maxBytes) throw this.#tooLarge()
    this.#chunks.push(chunk)
    this.#heldBytes += chunk.length
    if (this.#heldBytes >= this.#neededBytes) this.#readSections()
  }

  end(): Car {
    if (this.#heldBytes > 0) throw badCar('is cut short, or followed by something else')
    if (this.#roots === undefined) throw badCar('is empty')
    return { roots: this.#roots, blocks: this.#blocks }
  }

  #readSections(): void {
    const held = this.#chunks.length === 1 && this.#chunks[0] ? this.#chunks[0] : Buffer.concat(this.#chunks)
    let offset = 0
    for (;;) {
      const length = readVarint(held, offset)
      if (length === undefined) {
        this.#neededBytes = held.length - offset + 1
        break
      }
      const end = length.end + length.value
      if (length.value > this.#maxBytes) throw this.#tooLarge()
      if (end > held.length) {
        this.#neededBytes = end - offset
        break
      }
      this.#readSection(held.subarray(length.end, end))
      offset = end
    }
    this.#heldBytes = held.length - offset
    this.#chunks = this.#heldBytes === 0 ? [] : [held.subarray(offset)]
  }

  #readSection(section: Uint8Array): void {
    if (this.#roots === undefined) {
      this.#roots = readHeader(section)
      return
    }
    const { cid, bytes } = readBlock(section)
    this.#blocks.set(cid, bytes)
  }

  #tooLarge(): VerificationError {
    return new VerificationError(`The CAR is larger than the limit of ${this.#maxBytes} bytes`, {
      hint: 'Raise the size limit if this account is known to be that large and there is memory for it.',
    })
  }
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

function readBlock(section: Uint8Array): { cid: string; bytes: Uint8Array } {
  const [version, codec, hashCode, hashBytes] = section
  const isAtproto =
    section.length >= CID_BYTES &&
    version === 1 &&
    (codec === 0x71 || codec === 0x55) &&
    hashCode === 0x12 &&
    hashBytes === 32
  if (!isAtproto) throw badCar('holds a block whose CID atproto does not use')
  const cid = decodeCid(section.subarray(0, CID_BYTES)).toString()
  const bytes = section.subarray(CID_BYTES)
  if (hash('sha256', bytes, 'buffer').compare(section, 4, CID_BYTES) !== 0) {
    throw badCar(`holds a block that is not what its CID ${cid} says`)
  }
  return { cid, bytes }
}
