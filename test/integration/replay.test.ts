import { AtpAgent } from '@atproto/api'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { leaflet } from '../../src/appview/leaflet/index.ts'
import { openDatabase } from '../../src/database/client.ts'
import { readReceipt } from '../../src/database/receipts.ts'
import type { EventSink, RecordEvent } from '../../src/events.ts'
import { replayRepo } from '../../src/firehose/replay.ts'
import { silentLogger } from '../../src/logger.ts'
import { createFetch } from '../../src/network/fetch.ts'
import { createIdentity } from '../../src/network/identity.ts'
import { createXrpc, type Xrpc } from '../../src/network/xrpc.ts'
import { assertCaughtUp } from '../../src/reconcile/reconcile.ts'
import type { RestoreContext } from '../../src/restore/context.ts'
import { replayAccount } from '../../src/restore/replay.ts'
import { planReplay } from '../../src/restore/replay-plan.ts'
import { type Account, type Stack, startStack } from '../../src/stack/index.ts'
import { applyWrites } from './account-writes.ts'

const COLLECTION = 'site.standard.document'
let stack: Stack
let context: RestoreContext
let account: Account
let agent: AtpAgent

beforeAll(async () => {
  stack = await startStack()
  context = {
    appview: leaflet,
    production: openDatabase({
      url: stack.production.url,
      serviceKey: stack.production.serviceKey,
      label: 'production',
    }),
    network: {
      identity: createIdentity({ plcUrl: stack.plcUrl, allowLocalhost: true }),
      xrpc: createXrpc({ fetch: createFetch({ allowLocalhost: true }) }),
    },
    logger: silentLogger,
  }
  account = await stack.createAccount('writer.test')
  agent = new AtpAgent({ service: stack.pds.url })
  await agent.login({ identifier: account.did, password: account.password })
  for (const rkey of ['3aaaaaaaaaaa2', '3bbbbbbbbbbb2']) {
    await agent.com.atproto.repo.putRecord({
      repo: account.did,
      collection: COLLECTION,
      rkey,
      validate: false,
      record: document(rkey),
    })
  }
})
afterAll(() => stack[Symbol.asyncDispose]())

const document = (title: string) => ({
  $type: COLLECTION,
  site: 'https://notes.example',
  title,
  publishedAt: '2026-01-01T00:00:00.000Z',
})
const titles = async () =>
  (await stack.production.query(`select data->>'title' as title from documents order by 1`)).map(
    ({ title }) => title,
  )
const put = (rkey: string, title = rkey) =>
  agent.com.atproto.repo.putRecord({
    repo: account.did,
    collection: COLLECTION,
    rkey,
    validate: false,
    record: document(title),
  })
const stateOf = (did: string) =>
  stack.production.query(`select * from record_state where uri like 'at://${did}/%' order by uri`)

/** The repo as it is now, served for ever. */
async function captured(xrpc: Xrpc, did: string): Promise<Xrpc> {
  const chunks: Uint8Array[] = []
  for await (const chunk of await xrpc.getRepoStream(stack.pds.url, did)) chunks.push(chunk)
  const head = await xrpc.getLatestCommit(stack.pds.url, did)
  return {
    ...xrpc,
    getLatestCommit: async () => head,
    getRepoStream: async () =>
      (async function* () {
        yield* chunks
      })(),
  }
}
const headRev = async () => (await context.network.xrpc.getLatestCommit(stack.pds.url, account.did)).rev

test('a replay leaves rows whose record is gone, unless it stands in for events that could not be read', async () => {
  const { did } = account
  await replayAccount(context, did)
  expect(await titles()).toEqual(['3aaaaaaaaaaa2', '3bbbbbbbbbbb2'])

  await agent.com.atproto.repo.deleteRecord({ repo: did, collection: COLLECTION, rkey: '3aaaaaaaaaaa2' })
  // The receipt is of before the delete: what is missing now may be the replay's to bring, or to leave.
  await expect(assertCaughtUp(context.production, did, { repoRev: await headRev() })).rejects.toThrow(
    'has moved on',
  )
  await replayAccount(context, did)
  await assertCaughtUp(context.production, did, { repoRev: await headRev() })
  expect(await titles()).toEqual(['3aaaaaaaaaaa2', '3bbbbbbbbbbb2'])

  await replayAccount(context, did, { withDeletes: true })
  expect(await titles()).toEqual(['3bbbbbbbbbbb2'])
  const [tombstone] = await stack.production.query(
    'select deleted, cid is not null as known from record_state where deleted',
  )
  expect(tombstone).toEqual({ deleted: true, known: true })
})

describe('asked to prune', () => {
  const uriOf = (rkey: string) => `at://${account.did}/${COLLECTION}/${rkey}`

  test('a replay shows what the repo no longer has, and deletes it once that is confirmed', async () => {
    const { did } = account
    await put('3ccccccccccc2')
    await replayAccount(context, did)
    await agent.com.atproto.repo.deleteRecord({ repo: did, collection: COLLECTION, rkey: '3ccccccccccc2' })
    // Written before our migration, or by the appview's own indexer: no record state speaks of it.
    await stack.production.query(`insert into documents (uri, data) values ($1, '{"title": "old"}')`, [
      uriOf('3ooooooooooo2'),
    ])
    const plan = await planReplay(context, did, { prune: true })
    expect(plan.prune.map(({ uri, table }) => [uri, table])).toEqual([
      [uriOf('3ccccccccccc2'), 'documents'],
      [uriOf('3ooooooooooo2'), 'documents'],
    ])
    expect(plan.collections).toEqual({ [COLLECTION]: { new: 0, changed: 0, same: 1, stale: 0, deleted: 0 } })

    const asked: string[][] = []
    const ask = (answer: boolean) => async (absent: readonly { uri: string }[]) => {
      asked.push(absent.map(({ uri }) => uri))
      return answer
    }
    const declined = await replayAccount(context, did, { prune: ask(false) })
    expect(declined.pruned).toEqual([])
    expect(await titles()).toEqual(['3bbbbbbbbbbb2', '3ccccccccccc2', 'old'])

    const pruned = await replayAccount(context, did, { prune: ask(true) })
    expect(pruned.pruned.map(({ uri }) => uri)).toEqual([uriOf('3ccccccccccc2'), uriOf('3ooooooooooo2')])
    expect(await titles()).toEqual(['3bbbbbbbbbbb2'])
    expect(asked).toHaveLength(2)

    // With nothing to prune nobody is asked.
    await replayAccount(context, did, { prune: ask(true) })
    expect(asked).toHaveLength(2)
  })

  test('what was written again while the operator was asked stays', async () => {
    const { did } = account
    const rkey = '3ppppppppppp2'
    const insert = () =>
      stack.production.query(`insert into documents (uri, data) values ($1, '{"title": "old"}')`, [
        uriOf(rkey),
      ])
    await insert()
    const { pruned } = await replayAccount(context, did, {
      prune: async (absent) => {
        expect(absent.map(({ uri }) => uri)).toEqual([uriOf(rkey)])
        // By the appview's own indexer, which keeps no record state.
        await put(rkey, 'old')
        return true
      },
    })
    expect(pruned).toEqual([])
    expect(await titles()).toEqual(['3bbbbbbbbbbb2', 'old'])
    await agent.com.atproto.repo.deleteRecord({ repo: did, collection: COLLECTION, rkey })
    await replayAccount(context, did, { prune: async () => true })
    expect(await titles()).toEqual(['3bbbbbbbbbbb2'])
  })

  test('what the index has learnt while the operator was asked is another state, and stays', async () => {
    const { did } = account
    const rkey = '3qqqqqqqqqqq2'
    await stack.production.query(`insert into documents (uri, data) values ($1, '{"title": "old"}')`, [
      uriOf(rkey),
    ])
    const { pruned } = await replayAccount(context, did, {
      prune: async () => {
        await stack.production.query(`insert into record_state (uri, rev) values ($1, '2222222222222')`, [
          uriOf(rkey),
        ])
        return true
      },
    })
    expect(pruned).toEqual([])
    await replayAccount(context, did, { prune: async () => true })
    expect(await titles()).toEqual(['3bbbbbbbbbbb2'])
  })

  test('leaves what other collections hold alone when only some are replayed', async () => {
    await stack.production.query(`insert into documents (uri, data) values ($1, '{"title": "old"}')`, [
      uriOf('3ooooooooooo2'),
    ])
    const { pruned, isCaughtUp } = await replayAccount(context, account.did, {
      collections: ['site.standard.publication'],
      prune: async () => true,
    })
    expect({ pruned, isCaughtUp }).toEqual({ pruned: [], isCaughtUp: false })
    expect(await titles()).toEqual(['3bbbbbbbbbbb2', 'old'])
    await stack.production.query(`delete from documents where data->>'title' = 'old'`)
  })
})

describe("a consumer of the operator's own", () => {
  /** Its events, in words; `act` before each. */
  const ownSink = (act: (event: RecordEvent) => Promise<void> = async () => undefined) => {
    const said: string[] = []
    const sink: EventSink = {
      async handle(event) {
        await act(event)
        said.push(`${event.event} ${event.rkey}`)
      },
      flush: async () => ({ cursor: undefined }),
    }
    return { said, context: { ...context, openSink: () => sink } }
  }
  const insert = (rkey: string) =>
    stack.production.query(`insert into documents (uri, data) values ($1, '{"title": "own"}')`, [
      `at://${account.did}/${COLLECTION}/${rkey}`,
    ])

  test('is given deletes of what its tables hold, or frames named, and the repo lacks', async () => {
    const { said, context } = ownSink()
    await insert('3ooooooooooo2')
    const { pruned } = await replayAccount(context, account.did, {
      withDeletes: true,
      namedDeletes: [
        { collection: COLLECTION, rkey: '3nnnnnnnnnnn2' },
        { collection: COLLECTION, rkey: '3bbbbbbbbbbb2' },
        { collection: 'com.example.note', rkey: 'x' },
      ],
    })
    await stack.production.query(`delete from documents where data->>'title' = 'own'`)
    expect(said).toEqual(['create 3bbbbbbbbbbb2', 'delete 3ooooooooooo2', 'delete 3nnnnnnnnnnn2'])
    expect(pruned).toHaveLength(2)
  })

  test('is given again what came back while it was deleted', async () => {
    const { said, context } = ownSink(async ({ event, rkey }) => {
      if (event === 'delete') await put(rkey)
    })
    await insert('3ooooooooooo2')
    const { pruned } = await replayAccount(context, account.did, { withDeletes: true })
    await stack.production.query(`delete from documents where data->>'title' = 'own'`)
    expect(said).toEqual(['create 3bbbbbbbbbbb2', 'delete 3ooooooooooo2', 'create 3ooooooooooo2'])
    expect(pruned).toEqual([])
    await agent.com.atproto.repo.deleteRecord({
      repo: account.did,
      collection: COLLECTION,
      rkey: '3ooooooooooo2',
    })
  })
})

test('a dry run says what would come, and writes nothing', async () => {
  const fresh = await stack.createAccount('fresh.test')
  await applyWrites(fresh, [
    {
      $type: 'com.atproto.repo.applyWrites#create',
      collection: COLLECTION,
      rkey: '3aaaaaaaaaaa2',
      value: document('fresh'),
    },
  ])
  const plan = await planReplay(context, fresh.did, { prune: false })
  expect(plan.collections).toEqual({ [COLLECTION]: { new: 1, changed: 0, same: 0, stale: 0, deleted: 0 } })
  expect(await stateOf(fresh.did)).toEqual([])
  expect(await readReceipt(context.production, fresh.did)).toBeUndefined()
})

test('a collection without a handler is refused before anything is fetched', async () => {
  await expect(
    replayAccount(context, account.did, { collections: ['app.bsky.feed.post'] }),
  ).rejects.toMatchObject({ name: 'ConfigError', hint: expect.stringContaining(COLLECTION) })
})

test('a repo over the size limit is refused, and nothing is applied', async () => {
  const before = await stateOf(account.did)
  await expect(replayAccount(context, account.did, { maxRepoBytes: 200 })).rejects.toMatchObject({
    name: 'VerificationError',
    message: expect.stringContaining('limit of 200 bytes'),
  })
  expect(await stateOf(account.did)).toEqual(before)
})

describe('a repo that moves on while it is replayed', () => {
  test('is topped up with what changed since, deletes included', async () => {
    const { did } = account
    await put('3ddddddddddd2')
    const sinces: (string | undefined)[] = []
    const { xrpc } = context.network
    const moving: Xrpc = {
      ...xrpc,
      async getRepoStream(pdsUrl, did, since) {
        sinces.push(since)
        const chunks = await xrpc.getRepoStream(pdsUrl, did, since)
        return (async function* () {
          yield* chunks
          if (sinces.length > 1) return
          await put('3eeeeeeeeeee2')
          await agent.com.atproto.repo.deleteRecord({
            repo: did,
            collection: COLLECTION,
            rkey: '3ddddddddddd2',
          })
        })()
      },
    }
    const { receipt } = await replayAccount(
      { ...context, network: { ...context.network, xrpc: moving } },
      did,
    )
    expect(sinces).toEqual([undefined, expect.stringMatching(/^3/)])
    expect(receipt.rev).toBe(await headRev())
    expect(await titles()).toEqual(['3bbbbbbbbbbb2', '3eeeeeeeeeee2'])
    await assertCaughtUp(context.production, did, { repoRev: await headRev() })
  })

  test('is followed for some rounds only; the receipt names what was reached', async () => {
    const { did } = account
    const { xrpc } = context.network
    let count = 0
    const restless: Xrpc = {
      ...xrpc,
      async getRepoStream(...args) {
        const chunks = await xrpc.getRepoStream(...args)
        return (async function* () {
          yield* chunks
          await put('3fffffffffff2', `round ${++count}`)
        })()
      },
    }
    const { receipt } = await replayAccount(
      { ...context, network: { ...context.network, xrpc: restless } },
      did,
    )
    expect(count).toBe(4)
    expect(receipt.rev < (await headRev())).toBe(true)
    expect(await titles()).toContain('round 3')
    await agent.com.atproto.repo.deleteRecord({ repo: did, collection: COLLECTION, rkey: '3fffffffffff2' })
    await replayAccount(context, did, { withDeletes: true })
  })
})

describe('a repo that has gone back', () => {
  test('is said; the newer rows stay until the operator lets the repo decide', async () => {
    const { did } = account
    const { xrpc } = context.network
    const old = await captured(xrpc, did)
    await put('3bbbbbbbbbbb2', 'newer')
    await put('3ggggggggggg2')
    await replayAccount(context, did)
    const before = await readReceipt(context.production, did)
    const stale: RestoreContext = { ...context, network: { ...context.network, xrpc: old } }

    await expect(replayAccount(stale, did)).rejects.toMatchObject({
      name: 'RestoreError',
      message: expect.stringContaining('has gone back'),
      hint: expect.stringContaining('--accept-older-rev'),
    })
    expect(await titles()).toEqual(['3eeeeeeeeeee2', '3ggggggggggg2', 'newer'])
    expect(await readReceipt(context.production, did)).toEqual(before)
    // What is newer than the repo is not what the repo no longer has.
    await expect(replayAccount(stale, did, { prune: async () => true })).rejects.toThrow('has gone back')

    const { receipt } = await replayAccount(stale, did, { acceptOlderRev: true })
    expect(receipt.rev < (before?.rev ?? '')).toBe(true)
    expect(await titles()).toEqual(['3bbbbbbbbbbb2', '3eeeeeeeeeee2', '3ggggggggggg2'])
    await replayAccount(stale, did, { prune: async () => true })
    expect(await titles()).toEqual(['3bbbbbbbbbbb2', '3eeeeeeeeeee2'])

    // Forward again, as with the account's next commit.
    await replayAccount(context, did)
    expect(await titles()).toEqual(['3eeeeeeeeeee2', '3ggggggggggg2', 'newer'])
  })
})

test('the handler of a Firehose is fed with nothing else given', async () => {
  const { did } = account
  const seen: string[] = []
  const { receipt, records } = await replayRepo({
    did,
    ...context.network,
    handleEvent: (event) => void seen.push(`${event.event} ${'rkey' in event ? event.rkey : ''}`),
  })
  expect(seen).toEqual(['create 3bbbbbbbbbbb2', 'create 3eeeeeeeeeee2', 'create 3ggggggggggg2'])
  expect(records).toBe(3)
  expect(receipt.rev).toBe(await headRev())
})
