import { setImmediate } from 'node:timers/promises'
import type { Cid } from '@atproto/lex'
import { type Blocks, readCar } from './car.ts'
import { type Signer, signedCommitOf } from './commit.ts'
import { walkMst } from './mst.ts'
import { splitPath } from './mst-node.ts'
import { MissingBlockError } from './repo-errors.ts'

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

/** Records between two returns to the event loop, so that heartbeats go out while a large repository is checked. */
const RECORDS_PER_TURN = 5000

/**
 * Reads a repository as `com.atproto.sync.getRepo` serves it, and checks all of it before anything is returned.
 *
 * @param maxBytes size at which reading stops. @defaultValue 1 GiB
 * @throws {@link VerificationError}: a CAR that is too large, cut short or altered; another account's commit; a tree
 *   that is not canonical. {@link SignatureError}: another key. {@link MissingBlockError}: a node or record is not there
 */
export async function readVerifiedRepo(
  chunks: AsyncIterable<Uint8Array>,
  { did, signingKey, maxBytes }: Signer & { maxBytes?: number },
): Promise<VerifiedRepo> {
  const car = await readCar(chunks, maxBytes === undefined ? {} : { maxBytes })
  const { cid, commit } = signedCommitOf(car, { did, signingKey })
  const values = new Map<string, Cid>()
  for (const [key, value] of walkMst(car.blocks, commit.data)) {
    blockOf(car.blocks, key, value)
    values.set(key, value)
    if (values.size % RECORDS_PER_TURN === 0) await setImmediate()
  }
  return new RepoView(did, commit.rev, cid, car.blocks, values)
}

function blockOf(blocks: Blocks, key: string, cid: Cid): Uint8Array {
  const bytes = blocks.get(cid.toString())
  if (bytes === undefined) {
    throw new MissingBlockError(`The record ${key} (${cid.toString()}) was not sent`, { cid: cid.toString() })
  }
  return bytes
}

class RepoView implements VerifiedRepo {
  readonly did: string
  readonly rev: string
  readonly commit: Cid
  readonly #blocks: Blocks
  /** In key order, as Map keeps the order of insertion. */
  readonly #values: ReadonlyMap<string, Cid>

  constructor(did: string, rev: string, commit: Cid, blocks: Blocks, values: ReadonlyMap<string, Cid>) {
    this.did = did
    this.rev = rev
    this.commit = commit
    this.#blocks = blocks
    this.#values = values
  }

  get recordCount(): number {
    return this.#values.size
  }

  *records(): IterableIterator<RepoRecord> {
    for (const [key, cid] of this.#values) yield this.#record(key, cid)
  }

  get(collection: string, rkey: string): RepoRecord | undefined {
    const key = `${collection}/${rkey}`
    const cid = this.#values.get(key)
    return cid === undefined ? undefined : this.#record(key, cid)
  }

  #record(key: string, cid: Cid): RepoRecord {
    return { ...splitPath(key), cid, bytes: blockOf(this.#blocks, key, cid) }
  }
}
