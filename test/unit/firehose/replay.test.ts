import { P256Keypair } from '@atproto/crypto'
import type { LexMap } from '@atproto/lex'
import { getFullRepo, MemoryBlockstore, Repo, WriteOpAction } from '@atproto/repo'
import type { NsidString } from '@atproto/syntax'
import { describe, expect, test } from 'vitest'
import { leaflet } from '../../../src/appview/leaflet/index.ts'
import type { EventSink, RecordEvent } from '../../../src/events.ts'
import { replayRepo } from '../../../src/firehose/replay.ts'
import type { Identity } from '../../../src/network/identity.ts'
import type { Xrpc } from '../../../src/network/xrpc.ts'

const DID = 'did:plc:aaaaaaaaaaaaaaaaaaaaaaaa'
const keypair = await P256Keypair.create()
const ranks = new Map(leaflet.handlers.map(({ collection, rank }) => [collection, rank]))

/** A repo with one record of each of these collections, as a PDS serves it. */
async function serving(collections: readonly string[], record: LexMap = {}) {
  const storage = new MemoryBlockstore()
  const writes = collections.map((collection, index) => ({
    action: WriteOpAction.Create as const,
    collection: collection as NsidString,
    rkey: `r${index}`,
    record: { $type: collection, ...record },
  }))
  const repo = await Repo.create(storage, DID, keypair, writes)
  const chunks: Uint8Array[] = []
  for await (const chunk of getFullRepo(storage, repo.cid)) chunks.push(chunk)
  const known = { did: DID, handle: 'a.test', pdsUrl: 'https://pds.example', signingKey: keypair.did() }
  const identity: Identity = {
    resolve: async () => known,
    refresh: async () => known,
    clear: async () => undefined,
  }
  const getRepoStream = async () =>
    (async function* () {
      yield* chunks
    })()
  const getLatestCommit = async () => ({ cid: repo.cid.toString(), rev: repo.commit.rev })
  return { identity, xrpc: { getRepoStream, getLatestCommit } as unknown as Xrpc, repo, chunks }
}
function recorder() {
  const events: RecordEvent[] = []
  const flushed: number[] = []
  const sink: EventSink = {
    handle: async (event) => void events.push(event),
    flush: async () => {
      flushed.push(events.length)
      return { cursor: undefined }
    },
  }
  return { events, flushed, sink }
}
const rankOf = (collection: string) => ranks.get(collection)

describe('a repo', () => {
  test('is replayed parents first, though its own order is the alphabet', async () => {
    const collections = [...ranks.keys(), 'app.bsky.feed.post']
    const { identity, xrpc, repo } = await serving(collections)
    const { events, flushed, sink } = recorder()
    const result = await replayRepo({ did: DID, sink, identity, xrpc, rankOf })
    const order = events.map(({ collection }) => ranks.get(collection) ?? -1)
    expect(order).toEqual(order.toSorted((a, b) => a - b))
    expect(new Set(events.map(({ collection }) => collection))).toEqual(new Set(ranks.keys()))
    expect(flushed).toEqual([events.length])
    expect(result).toMatchObject({
      records: ranks.size,
      unreadable: [],
      receipt: { did: DID, rev: repo.commit.rev, commit: repo.cid.toString() },
    })
    expect(new Set(events.map(({ rev, seq, source }) => `${rev} ${seq} ${source}`))).toEqual(
      new Set([`${repo.commit.rev} 0 repo`]),
    )
  })

  test('with a record that cannot be read: named, and costs only itself', async () => {
    const odd = { odd: { $link: 'bafyreie5737gdxlw5i64vzichcalba3z2v5n6icifvx5xytvske7mr3hpm' } }
    const { identity, xrpc } = await serving(['site.standard.publication'], odd)
    const { events, sink } = recorder()
    const result = await replayRepo({ did: DID, sink, identity, xrpc, rankOf })
    expect(events).toEqual([])
    expect(result).toMatchObject({
      records: 0,
      unreadable: [{ uri: `at://${DID}/site.standard.publication/r0` }],
    })
  })

  test('that was altered hands over nothing', async () => {
    const { identity, chunks } = await serving([...ranks.keys()])
    const altered = chunks.map((chunk, index) =>
      index === chunks.length - 1
        ? chunk.map((byte, at) => (at === chunk.length - 1 ? byte ^ 1 : byte))
        : chunk,
    )
    const getRepoStream = async () =>
      (async function* () {
        yield* altered
      })()
    const { events, flushed, sink } = recorder()
    const replay = replayRepo({
      did: DID,
      sink,
      identity,
      xrpc: { getRepoStream } as unknown as Xrpc,
      rankOf,
    })
    await expect(replay).rejects.toMatchObject({
      name: expect.stringMatching(/VerificationError|MissingBlockError|SignatureError/),
    })
    expect(events).toEqual([])
    expect(flushed).toEqual([])
  })

  test('of nothing that concerns us is caught up with all the same', async () => {
    const { identity, xrpc, repo } = await serving(['app.bsky.feed.post'])
    const { sink, flushed } = recorder()
    const result = await replayRepo({ did: DID, sink, identity, xrpc, rankOf })
    expect(result).toMatchObject({ records: 0, receipt: { rev: repo.commit.rev } })
    expect(flushed).toEqual([0])
  })

  test('is not caught up with when the sink cannot store', async () => {
    const { identity, xrpc } = await serving(['site.standard.publication'])
    const failure = new Error('the database is away')
    const sink: EventSink = { handle: async () => undefined, flush: () => Promise.reject(failure) }
    await expect(replayRepo({ did: DID, sink, identity, xrpc, rankOf })).rejects.toBe(failure)
  })
})
