import type { Cid } from '@atproto/lex'
import { type Blocks, CarReader, digestOf, type OnBlock } from './car.ts'
import { brokenRepo } from './repo-errors.ts'
import { Spool } from './spool.ts'

interface Place {
  offset: number
  length: number
}

/**
 * Some 150 bytes of memory for each are 600 MB, and with the paths of the records about a gigabyte. Without a limit of
 * their own, tiny blocks (25 million of them make a CAR of a gibibyte) would fill the memory and end the process.
 */
const DEFAULT_MAX_BLOCK_COUNT = 4_000_000

export interface BlockLimits {
  /** Size beyond which the CARs are kept on disk. */
  memoryBytes: number
  /** Size of all CARs together at which reading stops. */
  maxBytes: number
  /** Number of different blocks at which reading stops. @defaultValue 4,000,000 */
  maxBlockCount?: number | undefined
}

/**
 * The blocks of one or more CARs, which are kept as they came: in memory while they are few, else on disk. In memory
 * stays where each block is, some 150 bytes for each.
 */
export class RepoBlocks implements Blocks {
  readonly #spool: Spool
  readonly #maxBytes: number
  readonly #maxBlockCount: number
  readonly #places = new Map<string, Place>()

  constructor({ memoryBytes, maxBytes, maxBlockCount = DEFAULT_MAX_BLOCK_COUNT }: BlockLimits) {
    this.#spool = new Spool(memoryBytes)
    this.#maxBytes = maxBytes
    this.#maxBlockCount = maxBlockCount
  }

  get isOnDisk(): boolean {
    return this.#spool.isOnDisk
  }

  /**
   * Adds a CAR's blocks. What an earlier CAR brought counts into the limits, even when that one was refused half way:
   * it takes up the room all the same.
   *
   * @returns its roots
   * @throws {@link VerificationError} as CarReader does, and when the blocks are too many
   */
  async add(chunks: AsyncIterable<Uint8Array>): Promise<readonly Cid[]> {
    const onBlock: OnBlock = (digest, { length }, offset) => this.#place(digest, { offset, length })
    const reader = new CarReader(this.#maxBytes, onBlock, this.#spool.length)
    for await (const chunk of chunks) {
      // First: of a chunk that is refused half way, blocks are known already, and must lie where they are said to.
      this.#spool.append(chunk)
      reader.push(chunk)
    }
    return reader.end()
  }

  #place(digest: string, place: Place): void {
    this.#places.set(digest, place)
    if (this.#places.size > this.#maxBlockCount) {
      throw brokenRepo(
        `The repository has more than ${this.#maxBlockCount} blocks, which is more than can be kept in memory`,
      )
    }
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
