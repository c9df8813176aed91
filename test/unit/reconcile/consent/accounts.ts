/** Accounts with real repositories in memory, and a network that answers for them. */
import { type Keypair, Secp256k1Keypair } from '@atproto/crypto'
import type { LexMap } from '@atproto/lex'
import { getRecords, MemoryBlockstore, type RecordWriteOp, Repo, WriteOpAction } from '@atproto/repo'
import type { NsidString } from '@atproto/syntax'
import type { JsonObject } from '../../../../src/events.ts'
import type { AccountIdentity } from '../../../../src/network/identity.ts'
import type { LookupOptions } from '../../../../src/reconcile/consent/lookup.ts'
import { jsonToLex } from '../../../../src/repo/record.ts'

export const HOST = 'https://pds.example'

/** Made once: what is tested is not how keys are made. */
const KEYS = [await Secp256k1Keypair.create(), await Secp256k1Keypair.create()] as const

export class TestAccount {
  readonly did: string
  readonly #storage: MemoryBlockstore
  #repo: Repo
  #keypair: Keypair
  pdsUrl = HOST

  private constructor(did: string, storage: MemoryBlockstore, repo: Repo, keypair: Keypair) {
    this.did = did
    this.#storage = storage
    this.#repo = repo
    this.#keypair = keypair
  }

  static async create(did: string, records: Record<string, JsonObject> = {}): Promise<TestAccount> {
    const storage = new MemoryBlockstore()
    const writes = Object.entries(records).map(([path, json]) => createOp(path, json))
    return new TestAccount(did, storage, await Repo.create(storage, did, KEYS[0], writes), KEYS[0])
  }

  identity(): AccountIdentity {
    const { did, pdsUrl } = this
    return { did, handle: 'reader.test', pdsUrl, signingKey: this.#keypair.did() }
  }

  async put(path: string, json: JsonObject): Promise<void> {
    const { record, ...name } = createOp(path, json)
    await this.#write({ ...name, action: WriteOpAction.Update as const, record } as RecordWriteOp)
  }

  async create(path: string, json: JsonObject): Promise<void> {
    await this.#write(createOp(path, json))
  }

  async remove(path: string): Promise<void> {
    const [collection, rkey] = nameOf(path)
    await this.#write({ action: WriteOpAction.Delete, collection, rkey })
  }

  /** The same repo, signed by another key from now on. */
  async rotateKey(): Promise<void> {
    this.#keypair = this.#keypair === KEYS[0] ? KEYS[1] : KEYS[0]
    this.#repo = await this.#repo.resignCommit(this.#repo.commit.rev, this.#keypair)
  }

  async proof(collection: string, rkey: string): Promise<Uint8Array> {
    const chunks: Uint8Array[] = []
    const names = [{ collection: collection as NsidString, rkey }]
    for await (const chunk of getRecords(this.#storage, this.#repo.cid, names)) chunks.push(chunk)
    return Buffer.concat(chunks)
  }

  async #write(op: RecordWriteOp): Promise<void> {
    this.#repo = await this.#repo.applyWrites([op], this.#keypair)
  }
}

function createOp(path: string, json: JsonObject) {
  const [collection, rkey] = nameOf(path)
  return { action: WriteOpAction.Create as const, collection, rkey, record: jsonToLex(json) as LexMap }
}

function nameOf(path: string): [NsidString, string] {
  const [collection = '', rkey = ''] = path.split('/')
  return [collection as NsidString, rkey]
}

type Network = LookupOptions['network']

export interface TestNetwork extends Network {
  /** DIDs looked up and records asked for, in their order. */
  asked: string[]
}

/** @param answer in place of an account's own answer, where it returns one */
export function networkOf(
  accounts: readonly TestAccount[],
  answer: (pdsUrl: string, did: string, rkey: string) => Promise<Uint8Array> | undefined = () => undefined,
  resolve: (account: TestAccount) => Promise<AccountIdentity> | AccountIdentity = (account) =>
    account.identity(),
): TestNetwork {
  const of = (did: string) => {
    const found = accounts.find((account) => account.did === did)
    if (found === undefined) throw new TypeError(`nobody made ${did}`)
    return found
  }
  const asked: string[] = []
  return {
    asked,
    identity: {
      async refresh(did) {
        asked.push(did)
        return resolve(of(did))
      },
    },
    xrpc: {
      async getRecordProof(pdsUrl, did, collection, rkey) {
        asked.push(`${new URL(pdsUrl).host} ${did}/${collection}/${rkey}`)
        return answer(pdsUrl, did, rkey) ?? of(did).proof(collection, rkey)
      },
    },
  }
}
