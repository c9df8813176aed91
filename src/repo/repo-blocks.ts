import type { Cid } from '@atproto/lex'
import { type Blocks, CarReader, digestOf } from './car.ts'
import { Spool } from './spool.ts'

interface Place {
  offset: number
  length: number
}

/**
 * The blocks of one or more CARs, which are kept as they came: in memory while they are few, else on disk. In memory
 * stays where each block is, some 150 bytes for each.
 */
export class RepoBlocks implements Blocks {
  readonly #spool: Spool
  readonly #maxBytes: number
  readonly #places = new Map<string, Place>()

  /** @param memoryBytes beyond which the CARs are kept on disk; @param maxBytes of each CAR */
  constructor({ memoryBytes, maxBytes }: { memoryBytes: number; maxBytes: number }) {
    this.#spool = new Spool(memoryBytes)
    this.#maxBytes = maxBytes
  }

  get isOnDisk(): boolean {
    return this.#spool.isOnDisk
  }

  /** Adds a CAR's blocks. @returns its roots @throws {@link VerificationError} as CarReader does */
  async add(chunks: AsyncIterable<Uint8Array>): Promise<readonly Cid[]> {
    const start = this.#spool.length
    const reader = new CarReader(this.#maxBytes, (digest, { length }, offset) => {
      this.#places.set(digest, { offset: start + offset, length })
    })
    for await (const chunk of chunks) {
      // First: of a chunk that is refused half way, blocks are known already, and must lie where they are said to.
      this.#spool.append(chunk)
      reader.push(chunk)
    }
    return reader.end()
  }

  has(digest: string): boolean {
    return this.#places.has(digest)
  }

  get(cid: Cid): Uint8Array | undefined {
    return this.getByDigest(digestOf(cid))
  }

  getByDigest(digest: string): Uint8Array | undefined {
    const place = this.#places.get(digest)
    return place === undefined ? undefined : this.#spool.read(place.offset, place.length)
  }

  /** Gives memory and disk back; nothing can be read afterwards. */
  close(): void {
    this.#places.clear()
    this.#spool.close()
  }
}
