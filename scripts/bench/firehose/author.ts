import { Secp256k1Keypair } from '@atproto/crypto'
import { blocksToCarFile, MemoryBlockstore, type RecordCreateOp, Repo, WriteOpAction } from '@atproto/repo'
import type { NsidString } from '@atproto/syntax'
import { MessageFrame } from '@atproto/xrpc-server'
import type { RecordToWrite } from '../../../src/pds/write.ts'

export interface Author {
  did: string
  keypair: Secp256k1Keypair
  repo: Repo
  /** The DID document. */
  document: object
}

/** The ninth and following characters of a `did:plc`, made of a number. */
export function letters(index: number, length: number): string {
  return [...index.toString().padStart(length, '0')].map((digit) => 'abcdefghij'[Number(digit)]).join('')
}

/** @param earlier what the repo holds before the frames that are measured */
export async function createAuthor(did: string, earlier: readonly RecordToWrite[] = []): Promise<Author> {
  const keypair = await Secp256k1Keypair.create()
  const repo = await Repo.create(new MemoryBlockstore(), did, keypair, earlier.map(creationOf))
  return { did, keypair, repo, document: documentOf(did, keypair.did()) }
}

/**
 * The author's next commit as a whole message of the firehose: a frame such as a PDS of the present sends, with
 * `since`, `prevData` and the blocks that prove the op.
 */
export async function nextMessage(author: Author, record: RecordToWrite, seq: number): Promise<Buffer> {
  const before = author.repo
  const commit = await before.formatCommit(creationOf(record), author.keypair)
  author.repo = await before.applyCommit(commit)
  const path = `${record.collection}/${record.rkey}`
  const cid = await author.repo.data.get(path)
  if (cid === null) throw new Error('The record was not written.')
  const body = {
    seq,
    time: new Date().toISOString(),
    repo: author.did,
    rev: commit.rev,
    since: before.commit.rev,
    commit: commit.cid,
    prevData: before.commit.data,
    blocks: await blocksToCarFile(commit.cid, commit.relevantBlocks),
    ops: [{ action: 'create', path, cid }],
    blobs: [],
    rebase: false,
    tooBig: false,
  }
  return Buffer.from(new MessageFrame(body, { type: '#commit' }).toBytes())
}

function creationOf({ collection, rkey, record }: RecordToWrite): RecordCreateOp {
  return {
    action: WriteOpAction.Create,
    collection: collection as NsidString,
    rkey,
    record: record as never,
  }
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
