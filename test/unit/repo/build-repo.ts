/** Repositories to test with: whole ones from @atproto/repo, and broken ones made by hand. */
import { type Keypair, P256Keypair, Secp256k1Keypair } from '@atproto/crypto'
import type { Cid, LexMap } from '@atproto/lex'
import {
  BlockMap,
  blocksToCarFile,
  getFullRepo,
  getRecords,
  MemoryBlockstore,
  Repo,
  WriteOpAction,
} from '@atproto/repo'
import type { NsidString } from '@atproto/syntax'
import type { Commit } from '../../../src/repo/commit.ts'
import { cidOfBlock, encodeBlock } from '../../../src/repo/dag-cbor.ts'
import { layerOf } from '../../../src/repo/mst-node.ts'

export const DID = 'did:plc:aaaaaaaaaaaaaaaaaaaaaaaa'
export const COLLECTION = 'com.example.note' as const
export const KEYS = { p256: await P256Keypair.create(), secp256k1: await Secp256k1Keypair.create() }
export const REV = '3jzfcijpj2z2a'

export const rkeyOf = (index: number) => `note${String(index).padStart(5, '0')}`
export const noteOf = (index: number): LexMap => ({ $type: COLLECTION, text: `note ${index}`, index })

export interface Built {
  did: string
  signingKey: string
  storage: MemoryBlockstore
  repo: Repo
}

export async function buildRepo(recordCount: number, keypair: Keypair = KEYS.p256): Promise<Built> {
  const storage = new MemoryBlockstore()
  const writes = Array.from({ length: recordCount }, (_, index) => ({
    action: WriteOpAction.Create as const,
    collection: COLLECTION,
    rkey: rkeyOf(index),
    record: noteOf(index),
  }))
  const repo = await Repo.create(storage, DID, keypair, writes)
  return { did: DID, signingKey: keypair.did(), storage, repo }
}

export const fullCar = ({ storage, repo }: Built) => collect(getFullRepo(storage, repo.cid))

export async function proofCar(
  { storage, repo }: Built,
  collection: NsidString,
  rkey: string,
): Promise<Buffer> {
  return Buffer.concat(await collect(getRecords(storage, repo.cid, [{ collection, rkey }])))
}

async function collect(chunks: AsyncIterable<Uint8Array>): Promise<Uint8Array[]> {
  const collected: Uint8Array[] = []
  for await (const chunk of chunks) collected.push(chunk)
  return collected
}

export async function* inChunks(bytes: Uint8Array, chunkBytes = 65_536): AsyncGenerator<Uint8Array> {
  for (let offset = 0; offset < bytes.length; offset += chunkBytes)
    yield bytes.subarray(offset, offset + chunkBytes)
}

export async function* stream(...chunks: Uint8Array[]): AsyncGenerator<Uint8Array> {
  yield* chunks
}

/** A CAR of blocks made by hand. */
export class Forge {
  readonly blocks = new BlockMap()

  put(value: LexMap): Cid {
    return this.putBytes(encodeBlock(value))
  }

  putBytes(bytes: Uint8Array): Cid {
    const cid = cidOfBlock(bytes)
    this.blocks.set(cid, bytes)
    return cid
  }

  /** A node whose entries are written down as given, with right prefixes and whatever else is wrong with them. */
  node(
    entries: { key: string; value?: Cid; right?: Cid | null; prefix?: number }[],
    left: Cid | null = null,
  ): Cid {
    let last = ''
    const e = entries.map(({ key, value, right = null, prefix }) => {
      let shared = 0
      while (shared < Math.min(last.length, key.length) && last[shared] === key[shared]) shared++
      const p = prefix ?? shared
      last = key
      const v = value ?? this.put({ $type: COLLECTION, key })
      return { p, k: new Uint8Array(Buffer.from(key.slice(p))), v, t: right }
    })
    return this.put({ l: left, e })
  }

  async commit(data: Cid, overrides: Partial<Commit> = {}, keypair: Keypair = KEYS.p256): Promise<Cid> {
    const unsigned = { did: DID, version: 3 as const, data, rev: REV, prev: null, ...overrides }
    const sig = overrides.sig ?? (await keypair.sign(encodeBlock(unsigned)))
    return this.put({ ...unsigned, sig: new Uint8Array(sig) })
  }

  car(root: Cid | null): Promise<Uint8Array> {
    return blocksToCarFile(root, this.blocks)
  }
}

/** Keys of one layer, in order: a tree made by hand needs to know where each key belongs. */
export function keysOnLayer(layer: number, count: number): string[] {
  const keys: string[] = []
  for (let index = 0; keys.length < count; index++) {
    const key = `${COLLECTION}/${rkeyOf(index)}`
    if (layerOf(key) === layer) keys.push(key)
  }
  return keys
}
