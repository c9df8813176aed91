import { setImmediate } from 'node:timers/promises'
import type { Cid } from '@atproto/lex'
import { cidOfDigest, DEFAULT_MAX_CAR_BYTES, digestOf } from './car.ts'
import { type Signer, signedCommitOf } from './commit.ts'
import { walkMst } from './mst.ts'
import { splitPath } from './mst-node.ts'
import { RepoBlocks } from './repo-blocks.ts'
import { brokenRepo, MissingBlockError } from './repo-errors.ts'

export interface RepoRecord {
  collection: string
  rkey: string
  cid: Cid
  /** The record's block; recordFromBytes decodes it. */
  bytes: Uint8Array
}

/** A whole repository whose signature, tree and blocks have been checked. */
export interface VerifiedRepo {
  did: string
  rev: string
  /** CID of the signed commit. */
  commit: Cid
  recordCount: number
  /** In key order, which puts collections in alphabetical order: children may come before their parents. */
  records(): IterableIterator<RepoRecord>
  get(collection: string, rkey: string): RepoRecord | undefined
}

/** A verified repository that can be brought up to date, and must be closed. */
export interface SpooledRepo extends VerifiedRepo {
  /** True when its blocks lie on disk. */
  readonly isOnDisk: boolean
  /** Collection and key of each record, in key order; without reading the records. */
  paths(): IterableIterator<{ collection: string; rkey: string }>
  /**
   * Takes in what the host serves of the time since this revision, verifies the repository as it is then, and becomes
   * it. What the host leaves out must be here already. Left as it was when that fails.
   *
   * @throws {@link VerificationError}: as {@link openRepo}, and a revision before this one
   */
  topUp(chunks: AsyncIterable<Uint8Array>, signer: Signer): Promise<RepoChanges>
  /** Gives memory and disk back. Nothing can be read afterwards. Safe to call again. */
  close(): void
}

/** What one revision of a repository has that another had not. */
export interface RepoChanges {
  /** Created or changed, in key order. */
  upserts: { collection: string; rkey: string }[]
  /** Gone, with the CID that they had. */
  deletes: { collection: string; rkey: string; cid: Cid }[]
}

export interface OpenRepoOptions extends Signer {
  /** Size at which reading stops, of what top-ups bring too. @defaultValue 1 GiB */
  maxBytes?: number
  /** Number of different blocks at which reading stops, some 150 bytes of memory each. @defaultValue 4,000,000 */
  maxBlockCount?: number
  /** Size beyond which the CAR is kept on disk. @defaultValue 32 MiB */
  memoryBytes?: number
  /** Records of other collections are checked and then forgotten. @defaultValue all are kept */
  isWanted?: (collection: string) => boolean
}

const DEFAULT_MEMORY_BYTES = 32 * 1024 ** 2

/** Records between two returns to the event loop, so that heartbeats go out while a large repository is checked. */
const RECORDS_PER_TURN = 5000

/**
 * Reads a repository as `com.atproto.sync.getRepo` serves it into memory, and checks all of it before anything is
 * returned.
 *
 * @throws {@link VerificationError} and its kinds, as {@link openRepo}
 */
export async function readVerifiedRepo(
  chunks: AsyncIterable<Uint8Array>,
  options: Omit<OpenRepoOptions, 'memoryBytes'>,
): Promise<VerifiedRepo> {
  // Nobody closes it: it must not hold more than the memory that goes with it.
  return openRepo(chunks, { ...options, memoryBytes: Number.POSITIVE_INFINITY })
}

/**
 * As readVerifiedRepo, but with the blocks on disk where they are many. The caller closes it.
 *
 * @throws {@link VerificationError}: a CAR that is too large, cut short or altered; another account's commit; a tree
 *   that is not canonical. {@link SignatureError}: another key. {@link MissingBlockError}: a node or record is not
 *   there. Nothing is left on disk then
 */
export async function openRepo(
  chunks: AsyncIterable<Uint8Array>,
  options: OpenRepoOptions,
): Promise<SpooledRepo> {
  const { did, signingKey, isWanted = () => true } = options
  const blocks = new RepoBlocks({
    memoryBytes: options.memoryBytes ?? DEFAULT_MEMORY_BYTES,
    maxBytes: options.maxBytes ?? DEFAULT_MAX_CAR_BYTES,
    maxBlockCount: options.maxBlockCount,
  })
  try {
    const roots = await blocks.add(chunks)
    return new RepoView(blocks, await revisionOf(blocks, roots, { did, signingKey }, isWanted), {
      did,
      isWanted,
    })
  } catch (error) {
    blocks.close()
    throw error
  }
}

interface Revision {
  rev: string
  commit: Cid
  /**
   * Digests of the records by path, in key order, as Map keeps the order of insertion. CIDs themselves would be most of
   * the memory that a large repository takes.
   */
  values: ReadonlyMap<string, string>
}

async function revisionOf(
  blocks: RepoBlocks,
  roots: readonly Cid[],
  signer: Signer,
  isWanted: (collection: string) => boolean,
): Promise<Revision> {
  const { cid, commit } = signedCommitOf({ roots, blocks }, signer)
  const values = new Map<string, string>()
  let count = 0
  for (const [key, value] of walkMst(blocks, commit.data)) {
    const digest = digestOf(value)
    if (!blocks.has(digest)) throw notSent(key, digest)
    if (isWanted(key.slice(0, key.indexOf('/')))) values.set(key, digest)
    if (++count % RECORDS_PER_TURN === 0) await setImmediate()
  }
  return { rev: commit.rev, commit: cid, values }
}

function notSent(key: string, digest: string): MissingBlockError {
  const cid = cidOfDigest(digest).toString()
  return new MissingBlockError(`The record ${key} (${cid}) was not sent`, { cid })
}

class RepoView implements SpooledRepo {
  readonly did: string
  readonly #blocks: RepoBlocks
  readonly #isWanted: (collection: string) => boolean
  #revision: Revision

  constructor(
    blocks: RepoBlocks,
    revision: Revision,
    { did, isWanted }: { did: string; isWanted: (collection: string) => boolean },
  ) {
    this.did = did
    this.#blocks = blocks
    this.#revision = revision
    this.#isWanted = isWanted
  }

  get rev(): string {
    return this.#revision.rev
  }

  get commit(): Cid {
    return this.#revision.commit
  }

  get recordCount(): number {
    return this.#revision.values.size
  }

  get isOnDisk(): boolean {
    return this.#blocks.isOnDisk
  }

  *records(): IterableIterator<RepoRecord> {
    for (const [key, digest] of this.#revision.values) yield this.#record(splitPath(key), digest)
  }

  *paths(): IterableIterator<{ collection: string; rkey: string }> {
    for (const key of this.#revision.values.keys()) yield splitPath(key)
  }

  get(collection: string, rkey: string): RepoRecord | undefined {
    const digest = this.#revision.values.get(`${collection}/${rkey}`)
    return digest === undefined ? undefined : this.#record({ collection, rkey }, digest)
  }

  async topUp(chunks: AsyncIterable<Uint8Array>, signer: Signer): Promise<RepoChanges> {
    const roots = await this.#blocks.add(chunks)
    const next = await revisionOf(this.#blocks, roots, signer, this.#isWanted)
    const before = this.#revision
    if (next.rev < before.rev) {
      throw brokenRepo(
        `The repository of ${this.did} went back from ${before.rev} to ${next.rev} while it was read`,
      )
    }
    this.#revision = next
    return changesBetween(before.values, next.values)
  }

  close(): void {
    this.#blocks.close()
  }

  #record(path: { collection: string; rkey: string }, digest: string): RepoRecord {
    const bytes = this.#blocks.getByDigest(digest)
    if (bytes === undefined) throw notSent(`${path.collection}/${path.rkey}`, digest)
    return { ...path, cid: cidOfDigest(digest), bytes }
  }
}

function changesBetween(
  before: ReadonlyMap<string, string>,
  after: ReadonlyMap<string, string>,
): RepoChanges {
  const changes: RepoChanges = { upserts: [], deletes: [] }
  for (const [key, digest] of after) if (before.get(key) !== digest) changes.upserts.push(splitPath(key))
  for (const [key, digest] of before) {
    if (!after.has(key)) changes.deletes.push({ ...splitPath(key), cid: cidOfDigest(digest) })
  }
  return changes
}
