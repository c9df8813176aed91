import { type Cid, decodeCid } from '@atproto/lex'

/** A node as it is written down: what its keys and values say is not checked. */
export interface RawNode {
  left: Cid | null
  entries: RawEntry[]
}

export interface RawEntry {
  /** How much of the key before it the key begins with. */
  prefixLength: number
  /** The rest of the key, a character for each byte. */
  suffix: string
  value: Cid
  right: Cid | null
}

/** What every CID in a node begins with: tag 42, 37 bytes, none of them a multibase, CIDv1, DAG-CBOR, SHA-256. */
const CID_HEAD = Buffer.from('d82a58250001711220', 'hex')
/** Of the CID itself, from `0171` on. */
const CID_BYTES = 36
const CID_AT = CID_HEAD.length - 4
const NULL = 0xf6
const UINT = 0
const BYTES = 2
const ARRAY = 4

/**
 * Reads the one encoding that a node has: `{ e: [{ k, p, t, v }], l }`, lengths as short as they can be. A whole CBOR
 * decoder, and encoding again to see that nothing was out of the ordinary, takes five times as long, which is most of
 * what a frame of the firehose costs.
 *
 * @returns undefined for anything else; what is wrong with it is for a real decoder to say
 */
export function readRawNode(bytes: Uint8Array): RawNode | undefined {
  try {
    return new Reader(bytes).node()
  } catch (error) {
    if (error instanceof Unexpected) return undefined
    throw error
  }
}

class Unexpected extends Error {}

class Reader {
  readonly #bytes: Buffer
  #at = 0

  constructor(bytes: Uint8Array) {
    this.#bytes = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length)
  }

  node(): RawNode {
    this.#expect(0xa2)
    this.#key('e')
    const count = this.#head(ARRAY)
    const entries: RawEntry[] = []
    for (let index = 0; index < count; index++) entries.push(this.#entry())
    this.#key('l')
    const left = this.#cidOrNull()
    if (this.#at !== this.#bytes.length) throw new Unexpected()
    return { left, entries }
  }

  #entry(): RawEntry {
    this.#expect(0xa4)
    this.#key('k')
    const suffix = this.#text()
    this.#key('p')
    const prefixLength = this.#head(UINT)
    this.#key('t')
    const right = this.#cidOrNull()
    this.#key('v')
    return { prefixLength, suffix, value: this.#cid(), right }
  }

  #text(): string {
    const length = this.#head(BYTES)
    const end = this.#at + length
    if (end > this.#bytes.length) throw new Unexpected()
    const text = this.#bytes.toString('latin1', this.#at, end)
    this.#at = end
    return text
  }

  #cidOrNull(): Cid | null {
    if (this.#bytes[this.#at] !== NULL) return this.#cid()
    this.#at++
    return null
  }

  #cid(): Cid {
    const start = this.#at + CID_AT
    const end = start + CID_BYTES
    if (end > this.#bytes.length) throw new Unexpected()
    if (CID_HEAD.compare(this.#bytes, this.#at, this.#at + CID_HEAD.length) !== 0) throw new Unexpected()
    this.#at = end
    return decodeCid(this.#bytes.subarray(start, end))
  }

  #key(name: string): void {
    this.#expect(0x61)
    this.#expect(name.charCodeAt(0))
  }

  #expect(byte: number): void {
    if (this.#bytes[this.#at++] !== byte) throw new Unexpected()
  }

  /** A number, or the length of what follows. More than two bytes of it no node of any repository needs. */
  #head(majorType: number): number {
    const first = this.#bytes[this.#at++] ?? -1
    if (first >> 5 !== majorType) throw new Unexpected()
    const info = first & 0x1f
    if (info < 24) return info
    const size = info === 24 ? 1 : 2
    if (info > 25 || this.#at + size > this.#bytes.length) throw new Unexpected()
    const value = this.#bytes.readUIntBE(this.#at, size)
    if (value < (size === 1 ? 24 : 256)) throw new Unexpected()
    this.#at += size
    return value
  }
}
