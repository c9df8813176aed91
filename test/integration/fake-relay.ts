import { once } from 'node:events'
import { createServer, type IncomingMessage } from 'node:http'
import { setTimeout as sleep } from 'node:timers/promises'
import { type Keypair, Secp256k1Keypair } from '@atproto/crypto'
import { blocksToCarFile, type CommitData, MemoryBlockstore, Repo, WriteOpAction } from '@atproto/repo'
import type { NsidString } from '@atproto/syntax'
import { ErrorFrame, type Frame, MessageFrame, XrpcStreamServer } from '@atproto/xrpc-server'
import type { Identity } from '../../src/network/identity.ts'

export interface FakeRelay extends AsyncDisposable {
  url: string
  /** The cursors that were asked for, one for each connection. */
  cursors: (number | undefined)[]
  /** Messages that the socket has taken, and their bytes. */
  sent: { messages: number; bytes: number }
}

/** What to send on a connection: bytes as they are; `hang up` closes as a server does that restarts. */
export type Script = (cursor: number | undefined, connection: number) => Iterable<Sent> | AsyncIterable<Sent>
export type Sent = Uint8Array | 'hang up'

/** A relay that says what it is told to. After its script it stays connected and silent. */
export async function startFakeRelay(script: Script): Promise<FakeRelay> {
  const http = createServer()
  const streams = new XrpcStreamServer({
    server: http,
    async *handler(request: IncomingMessage, signal: AbortSignal) {
      const cursor = new URL(request.url ?? '/', 'http://relay').searchParams.get('cursor')
      relay.cursors.push(cursor === null ? undefined : Number(cursor))
      for await (const message of script(relay.cursors.at(-1), relay.cursors.length)) {
        if (message === 'hang up') return
        relay.sent.messages++
        relay.sent.bytes += message.length
        // The server only asks a frame for its bytes.
        yield { toBytes: () => message } as unknown as Frame
      }
      if (!signal.aborted) await once(signal, 'abort')
    },
  })
  http.listen(0, '127.0.0.1')
  await once(http, 'listening')
  const address = http.address()
  if (address === null || typeof address === 'string') throw new Error('A TCP server has no port.')
  const relay: FakeRelay = {
    url: `ws://127.0.0.1:${address.port}`,
    cursors: [],
    sent: { messages: 0, bytes: 0 },
    async [Symbol.asyncDispose]() {
      for (const client of streams.wss.clients) client.terminate()
      streams.wss.close()
      http.closeAllConnections()
      const closed = once(http, 'close')
      http.close()
      await closed
    },
  }
  return relay
}

export const errorMessage = (error: string) => new ErrorFrame({ error, message: error }).toBytes()
export const infoMessage = (name: string) =>
  new MessageFrame({ name, message: name }, { type: '#info' }).toBytes()
export const messageOf = (type: string, body: object) => new MessageFrame(body as never, { type }).toBytes()

export const COLLECTION = 'site.standard.document'
export const NOTE = 'com.example.note'

/** An account whose commits are made here, without a host. */
export class FakeAuthor {
  readonly did: string
  readonly #keypair: Keypair
  #repo: Repo | undefined

  private constructor(did: string, keypair: Keypair) {
    this.did = did
    this.#keypair = keypair
  }

  static async create(name: string): Promise<FakeAuthor> {
    return new FakeAuthor(`did:plc:${name.padStart(24, 'a')}`, await Secp256k1Keypair.create())
  }

  get signingKey(): string {
    return this.#keypair.did()
  }

  /** The frame's body for one commit that creates these records, with its seq. */
  async commit(seq: number, records: Record<string, object>, changed: object = {}): Promise<Uint8Array> {
    return messageOf('#commit', { ...(await this.body(seq, records)), ...changed })
  }

  async body(seq: number, records: Record<string, object>) {
    const before = this.#repo
    const writes = Object.entries(records).map(([path, record]) => ({
      action: WriteOpAction.Create as const,
      collection: path.split('/')[0] as NsidString,
      rkey: path.split('/')[1] ?? '',
      record: record as never,
    }))
    let commit: CommitData
    if (before === undefined) {
      commit = await Repo.formatInitCommit(new MemoryBlockstore(), this.did, this.#keypair, writes)
      this.#repo = await Repo.createFromCommit(new MemoryBlockstore(), commit)
    } else {
      commit = await before.formatCommit(writes, this.#keypair)
      this.#repo = await before.applyCommit(commit)
    }
    const repo = this.#repo
    const ops = await Promise.all(
      Object.keys(records).map(async (path) => ({ action: 'create', path, cid: await repo.data.get(path) })),
    )
    return {
      seq,
      time: new Date().toISOString(),
      repo: this.did,
      rev: commit.rev,
      since: before?.commit.rev ?? null,
      commit: commit.cid,
      ...(before === undefined ? {} : { prevData: before.commit.data }),
      blocks: await blocksToCarFile(
        commit.cid,
        before === undefined ? commit.newBlocks : commit.relevantBlocks,
      ),
      ops,
      blobs: [],
      rebase: false,
      tooBig: false,
    }
  }
}

/** Knows these accounts, and nobody else. */
export function identityOf(...authors: FakeAuthor[]): Identity & { cleared: string[] } {
  const resolve = async (did: string) => {
    const author = authors.find((each) => each.did === did)
    if (author === undefined) throw new Error(`nobody has asked for ${did}`)
    return { did, handle: 'a.test', pdsUrl: 'https://pds.example', signingKey: author.signingKey }
  }
  const cleared: string[] = []
  return {
    resolve,
    refresh: resolve,
    clear: async (did) => void cleared.push(did ?? 'all'),
    cleared,
  }
}

export async function until(condition: () => boolean, what: string): Promise<void> {
  for (let waitedMs = 0; waitedMs < 15_000; waitedMs += 10) {
    if (condition()) return
    await sleep(10)
  }
  throw new Error(`not met in time: ${what}`)
}
