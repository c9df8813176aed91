import { Secp256k1Keypair } from '@atproto/crypto'
import { blocksToCarFile, type CommitData, MemoryBlockstore, Repo, WriteOpAction } from '@atproto/repo'
import type { NsidString } from '@atproto/syntax'
import { MessageFrame } from '@atproto/xrpc-server'
import { documents } from '../write/input.ts'

export interface FirehoseInput {
  /** Whole messages of the firehose, as they go over the wire, with seq from 1 on. */
  messages: Buffer[]
  /** DID documents by DID. */
  didDocuments: Record<string, object>
}

/** What a repo holds before the frames that are measured: some layers of a tree, as in real life. */
const EARLIER_RECORDS = 100

/**
 * Commits of one document each, the accounts taking turns: frames such as a PDS of the present sends, with `since`,
 * `prevData` and the blocks that prove the op.
 */
export async function firehoseInput(accounts: number, commitsEach: number): Promise<FirehoseInput> {
  const authors = []
  for (let index = 0; index < accounts; index++) authors.push(await createAuthor(index))
  const records = documents(accounts * commitsEach + EARLIER_RECORDS).slice(EARLIER_RECORDS)
  const messages: Buffer[] = []
  for (const [index, { collection, rkey, record }] of records.entries()) {
    const author = authors[index % accounts]
    if (author === undefined) break
    const write = {
      action: WriteOpAction.Create as const,
      collection: collection as NsidString,
      rkey,
      record: record as never,
    }
    const before = author.repo
    const commit = await before.formatCommit(write, author.keypair)
    author.repo = await before.applyCommit(commit)
    const cid = await author.repo.data.get(`${collection}/${rkey}`)
    if (cid === null) throw new Error('The record was not written.')
    messages.push(
      await messageOf(index + 1, author.did, before, commit, {
        action: 'create',
        path: `${collection}/${rkey}`,
        cid,
      }),
    )
  }
  return { messages, didDocuments: Object.fromEntries(authors.map(({ did, document }) => [did, document])) }
}

interface Author {
  did: string
  keypair: Secp256k1Keypair
  repo: Repo
  document: object
}

async function createAuthor(index: number): Promise<Author> {
  const did = `did:plc:${[...index.toString().padStart(24, '0')].map((digit) => 'abcdefghij'[Number(digit)]).join('')}`
  const keypair = await Secp256k1Keypair.create()
  const writes = documents(EARLIER_RECORDS).map(({ collection, rkey, record }) => ({
    action: WriteOpAction.Create as const,
    collection: collection as NsidString,
    rkey,
    record: record as never,
  }))
  const repo = await Repo.create(new MemoryBlockstore(), did, keypair, writes)
  return { did, keypair, repo, document: documentOf(did, keypair.did()) }
}

async function messageOf(
  seq: number,
  did: string,
  before: Repo,
  commit: CommitData,
  op: object,
): Promise<Buffer> {
  const body = {
    seq,
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
      {
        id: '#atproto_pds',
        type: 'AtprotoPersonalDataServer',
        serviceEndpoint: 'https://pds.example',
      },
    ],
  }
}
