/** Readers by the thousand: real repositories, signed, served by stub hosts that answer for many DIDs each. */

import { setTimeout as sleep } from 'node:timers/promises'
import { Secp256k1Keypair } from '@atproto/crypto'
import { getRecords, MemoryBlockstore, Repo, WriteOpAction } from '@atproto/repo'
import type { NsidString } from '@atproto/syntax'
import { type LoopbackServer, serve } from '../unit/network/loopback-server.ts'

export interface StubReader {
  did: string
  /** Of the record that the proof is about. */
  uri: string
  isThere: boolean
}

export interface StubReaders extends AsyncDisposable {
  plcUrl: string
  readers: readonly StubReader[]
  /** The most requests for proofs that were under way at one time: at one host, and at all. */
  most: { host: number; all: number }
  /** Proofs that were served. */
  served(): number
}

export interface StubOptions {
  count: number
  hosts: number
  collection: NsidString
  rkey: string
  record: Record<string, string>
  /** Of every so many readers one has deleted the record. */
  withdrawnEvery: number
  /** Before each answer, as a way through the network takes. */
  latencyMs: number
}

/** Other records in each repo: a proof leads through a tree, not past a single leaf. */
const OTHER_RECORDS = 30

export async function startStubReaders(options: StubOptions): Promise<StubReaders> {
  const { count, hosts: hostCount, collection, rkey, withdrawnEvery, latencyMs } = options
  const cars = new Map<string, Buffer>()
  const documents = new Map<string, object>()
  const running = new Map<string, number>()
  const most = { host: 0, all: 0 }
  let served = 0
  const answer = async (host: string, did: string): Promise<Buffer | undefined> => {
    running.set(host, (running.get(host) ?? 0) + 1)
    most.host = Math.max(most.host, running.get(host) ?? 0)
    most.all = Math.max(
      most.all,
      [...running.values()].reduce((sum, many) => sum + many, 0),
    )
    await sleep(latencyMs)
    running.set(host, (running.get(host) ?? 0) - 1)
    served++
    return cars.get(did)
  }
  const hosts: LoopbackServer[] = []
  for (let index = 0; index < hostCount; index++) {
    hosts.push(
      await serve(async (request, response) => {
        const url = new URL(request.url ?? '', 'http://stub')
        const car = await answer(String(index), url.searchParams.get('did') ?? '')
        if (car === undefined) response.writeHead(500)
        response.end(car)
      }),
    )
  }
  const directory = await serve((request, response) => {
    const document = documents.get(decodeURIComponent(request.url ?? '').slice(1))
    response.writeHead(document === undefined ? 404 : 200, { 'content-type': 'application/json' })
    response.end(JSON.stringify(document ?? {}))
  })
  const readers: StubReader[] = []
  for (let index = 0; index < count; index++) {
    const did = didOf(index)
    const isThere = index % withdrawnEvery !== withdrawnEvery - 1
    const keypair = await Secp256k1Keypair.create()
    cars.set(did, await carOf({ did, keypair, isThere, options }))
    documents.set(did, documentOf(did, keypair.did(), hosts[index % hostCount]?.url ?? ''))
    readers.push({ did, uri: `at://${did}/${collection}/${rkey}`, isThere })
  }
  return {
    plcUrl: directory.url,
    readers,
    most,
    served: () => served,
    async [Symbol.asyncDispose]() {
      for (const server of [directory, ...hosts]) await server[Symbol.asyncDispose]()
    },
  }
}

/** DIDs of did:plc have no 0, 1, 8 and 9. */
function didOf(index: number): string {
  const digits = index.toString(32).padStart(24, '0')
  return `did:plc:${digits.replaceAll(/[0189]/g, (digit) => 'wxyz'['0189'.indexOf(digit)] ?? '')}`
}

async function carOf({
  did,
  keypair,
  isThere,
  options: { collection, rkey, record },
}: {
  did: string
  keypair: Secp256k1Keypair
  isThere: boolean
  options: StubOptions
}): Promise<Buffer> {
  const storage = new MemoryBlockstore()
  const others = Array.from({ length: OTHER_RECORDS }, (_, index) => ({
    action: WriteOpAction.Create as const,
    collection: 'com.example.note' as const,
    rkey: `note${index}`,
    record: { $type: 'com.example.note', text: `note ${index} of ${did}` },
  }))
  const own = { action: WriteOpAction.Create as const, collection, rkey, record }
  const repo = await Repo.create(storage, did, keypair, isThere ? [...others, own] : others)
  const chunks: Uint8Array[] = []
  for await (const chunk of getRecords(storage, repo.cid, [{ collection, rkey }])) chunks.push(chunk)
  return Buffer.concat(chunks)
}

function documentOf(did: string, signingKey: string, pdsUrl: string): object {
  return {
    '@context': ['https://www.w3.org/ns/did/v1'],
    id: did,
    alsoKnownAs: ['at://reader.test'],
    verificationMethod: [
      {
        id: `${did}#atproto`,
        type: 'Multikey',
        controller: did,
        publicKeyMultibase: signingKey.slice('did:key:'.length),
      },
    ],
    service: [{ id: '#atproto_pds', type: 'AtprotoPersonalDataServer', serviceEndpoint: pdsUrl }],
  }
}
