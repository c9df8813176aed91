import { Secp256k1Keypair } from '@atproto/crypto'
import { blocksToCarFile, type CommitData, MemoryBlockstore, Repo, WriteOpAction } from '@atproto/repo'
import type { NsidString } from '@atproto/syntax'
import { MessageFrame } from '@atproto/xrpc-server'

/** One message, and where in it the four bytes of its seq are. */
export interface PreparedFrame {
  bytes: Buffer
  seqAt: number
}

export interface ScopedInput {
  wanted: string
  /** The wanted account's commits, each following the one before. */
  own: PreparedFrame[]
  /** One commit of each other account. */
  others: PreparedFrame[]
  /** DID documents by DID. */
  didDocuments: Record<string, object>
}

export const COLLECTION = 'site.standard.document'
/** From here on a seq takes four bytes in CBOR, whatever is written there. */
export const FIRST_SEQ = 1_000_000_000
/** Makes a frame of about 2.3 KB, with its proof. */
const TEXT = 'garden letter harbour winter stone river bread window morning island paper '.repeat(18)

/** Commits of one document each by many accounts, as a PDS of the present sends them. */
export async function scopedInput(accountCount: number, ownCount: number): Promise<ScopedInput> {
  const wanted = await createAuthor(0)
  const input: ScopedInput = {
    wanted: wanted.did,
    own: [],
    others: [],
    didDocuments: { [wanted.did]: wanted.document },
  }
  for (let index = 0; index < ownCount; index++) input.own.push(await nextFrame(wanted, index))
  for (let index = 1; index < accountCount; index++) {
    const author = await createAuthor(index)
    input.others.push(await nextFrame(author, 0))
    input.didDocuments[author.did] = author.document
  }
  return input
}

interface Author {
  did: string
  keypair: Secp256k1Keypair
  repo: Repo
  document: object
}

async function createAuthor(index: number): Promise<Author> {
  const digits = index.toString().padStart(4, '0')
  const did = `did:plc:bench${[...digits].map((digit) => 'abcdefghij'[Number(digit)]).join('')}account2345ghi`
  const keypair = await Secp256k1Keypair.create()
  const repo = await Repo.create(new MemoryBlockstore(), did, keypair)
  return { did, keypair, repo, document: documentOf(did, keypair.did()) }
}

async function nextFrame(author: Author, index: number): Promise<PreparedFrame> {
  const before = author.repo
  const rkey = `3bench${index.toString().padStart(7, '0')}`
  const record = {
    $type: COLLECTION,
    site: 'https://example.com',
    title: `Document ${index}`,
    textContent: TEXT,
  }
  const write = { action: WriteOpAction.Create as const, collection: COLLECTION as NsidString, rkey, record }
  const commit = await before.formatCommit(write, author.keypair)
  author.repo = await before.applyCommit(commit)
  const path = `${COLLECTION}/${rkey}`
  const cid = await author.repo.data.get(path)
  if (cid === null) throw new Error('The record was not written.')
  return prepared(await messageOf(author.did, before, commit, { action: 'create', path, cid }))
}

async function messageOf(did: string, before: Repo, commit: CommitData, op: object): Promise<Buffer> {
  const body = {
    seq: FIRST_SEQ,
    time: new Date().toISOString(),
    repo: did,
    rev: commit.rev,
    since: before.commit.rev,
    commit: commit.cid,
    prevData: before.commit.data,
    blocks: await blocksToCarFile(commit.cid, commit.relevantBlocks),
    ops: [op],
    blobs: [],
    rebase: false,
    tooBig: false,
  }
  return Buffer.from(new MessageFrame(body, { type: '#commit' }).toBytes())
}

/** The key `seq` in CBOR, and the byte that says that four more follow. */
const SEQ_KEY = Buffer.from('cseq\x1a', 'latin1')

function prepared(bytes: Buffer): PreparedFrame {
  const at = bytes.indexOf(SEQ_KEY)
  if (at === -1) throw new Error('The frame has no seq of four bytes.')
  return { bytes, seqAt: at + SEQ_KEY.length }
}

function documentOf(did: string, didKey: string): object {
  return {
    '@context': ['https://www.w3.org/ns/did/v1', 'https://w3id.org/security/multikey/v1'],
    id: did,
    alsoKnownAs: ['at://bench.test'],
    verificationMethod: [
      {
        id: `${did}#atproto`,
        type: 'Multikey',
        controller: did,
        publicKeyMultibase: didKey.replace('did:key:', ''),
      },
    ],
    service: [
      { id: '#atproto_pds', type: 'AtprotoPersonalDataServer', serviceEndpoint: 'https://pds.example' },
    ],
  }
}
