/** Live ingestion from a real PDS: what arrives, what the cursor promises, and what faults on the way do. */
import { setTimeout as sleep } from 'node:timers/promises'
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from 'vitest'
import { leaflet } from '../../src/appview/leaflet/index.ts'
import { type Database, openDatabase } from '../../src/database/client.ts'
import { readCursor, saveCursor } from '../../src/database/cursors.ts'
import type { EventSink } from '../../src/events.ts'
import { type BrokenRepo, consumeFirehose, type LiveOptions } from '../../src/firehose/live.ts'
import { Indexer } from '../../src/indexer/indexer.ts'
import { silentLogger } from '../../src/logger.ts'
import { createFetch } from '../../src/network/fetch.ts'
import { createIdentity, type Identity } from '../../src/network/identity.ts'
import { createXrpc } from '../../src/network/xrpc.ts'
import type { WriteOp } from '../../src/pds/session.ts'
import { cidOfRecord } from '../../src/repo/record.ts'
import { replayAccount } from '../../src/restore/replay.ts'
import { holdsRecords } from '../../src/restore/repo-interest.ts'
import { ranksOf } from '../../src/restore/write.ts'
import { type Account, type Stack, startStack } from '../../src/stack/index.ts'
import { applyWrites } from './account-writes.ts'
import { DOCUMENT, documentOf, put, remove, titlesOf } from './documents.ts'
import { type FirehoseProxy, startFirehoseProxy } from './firehose-proxy.ts'
import { flip, replaced, spoil as spoilFrame } from './spoilt-frames.ts'

let stack: Stack
let database: Database
let network: { identity: Identity; xrpc: ReturnType<typeof createXrpc> }
let proxy: FirehoseProxy
let account: Account
let accountCount = 0
const stops: (() => Promise<void>)[] = []
/** The last frame that any test has seen: where the next one begins. */
let lastSeq = 0
const sql = (text: string) => stack.production.query(text)

beforeAll(async () => {
  stack = await startStack()
  database = openDatabase({ ...stack.production, label: 'production' })
  network = {
    identity: createIdentity({ plcUrl: stack.plcUrl, allowLocalhost: true }),
    xrpc: createXrpc({ fetch: createFetch({ allowLocalhost: true }) }),
  }
  proxy = await startFirehoseProxy(stack.pds.url)
})
afterAll(async () => {
  await proxy?.[Symbol.asyncDispose]()
  await stack?.[Symbol.asyncDispose]()
})
// A consumer that a failed test leaves behind would eat the next one's faults.
afterEach(async () => {
  for (const stop of stops.splice(0)) await stop().catch(() => undefined)
})
beforeEach(async () => {
  proxy.change = (message) => message
  proxy.queries.length = 0
  account = await stack.createAccount(`author${++accountCount}.test`)
})

const uriOf = (rkey: string) => `at://${account.did}/${DOCUMENT}/${rkey}`
const write = (...writes: WriteOp[]) => applyWrites(account, writes)
async function writeEach(count: number, from = 0): Promise<string[]> {
  const rkeys = Array.from({ length: count }, (_, n) => `doc-${from + n}`)
  for (const rkey of rkeys) await write(put(rkey, rkey))
  return rkeys
}
const titles = () => titlesOf(stack, account.did)

interface Following {
  /** Of this account. */
  frames: number[]
  broken: BrokenRepo[]
  /** Record keys that the sink was given. */
  handled: string[]
  /** Record keys that the hook was told of. */
  told: string[]
  done: Promise<void>
  /** Aborts, and resolves when the consumer has ended. */
  stop(): Promise<void>
  until(condition: (following: Following) => boolean | Promise<boolean>): Promise<void>
}

function follow(options: Partial<LiveOptions> & { flushAfterMs?: number } = {}): Following {
  const { flushAfterMs = 5, ...rest } = options
  const stop = new AbortController()
  const { did } = account
  const rankOf = ranksOf({ appview: leaflet })
  const indexer = new Indexer({
    appview: leaflet,
    database,
    flushAfterMs,
    afterApplied: ({ uri }) => void following.told.push(uri.split('/').at(-1) ?? ''),
  })
  const sink: EventSink = {
    async handle(event) {
      await indexer.handle(event)
      following.handled.push(event.rkey)
    },
    flush: () => indexer.flush(),
  }
  const done = consumeFirehose({
    service: proxy.url,
    sink,
    identity: network.identity,
    isWanted: (collection) => rankOf(collection) !== undefined,
    cursor: lastSeq,
    saveCursor: (seq) => saveCursor(database, proxy.url, seq),
    onBrokenRepo: async (broken) => void following.broken.push(broken),
    onFrame: (frame) => {
      lastSeq = Math.max(lastSeq, frame.seq)
      if (frame.did === did) following.frames.push(frame.seq)
    },
    signal: stop.signal,
    saveEveryMs: 0,
    ...rest,
  })
  const following: Following = {
    frames: [],
    broken: [],
    handled: [],
    told: [],
    done,
    async stop() {
      stop.abort()
      await done
    },
    async until(condition) {
      const ended = done.then(() => Promise.reject(new Error('the consumer ended by itself')))
      const met = (async () => {
        for (let waitedMs = 0; waitedMs < 10_000; waitedMs += 10) {
          if (await condition(following)) return
          await sleep(10)
        }
        throw new Error(`not met in time: ${JSON.stringify({ ...following, titles: await titles() })}`)
      })()
      await Promise.race([met, ended])
    },
  }
  // Who does not wait for the end hears of a failure by `until`.
  done.catch(() => undefined)
  stops.push(following.stop)
  return following
}
const has =
  (...expected: string[]) =>
  async () =>
    JSON.stringify(await titles()) === JSON.stringify(expected.toSorted())

describe('what arrives', () => {
  test('creates, updates and deletes are rows; a tombstone keeps the CID that was deleted', async () => {
    const live = follow()
    await write(put('a', 'one'), put('b', 'two'))
    await live.until(has('one', 'two'))
    await write(put('a', 'three', 'update'), remove('b'))
    await live.until(has('three'))
    await write(remove('a'))
    await live.until(has())
    await live.stop()
    const states = await sql(
      `select uri, cid, deleted from record_state where uri like 'at://${account.did}/%' order by uri`,
    )
    expect(states).toEqual([
      { uri: uriOf('a'), cid: cidOfRecord(documentOf('three')), deleted: true },
      { uri: uriOf('b'), cid: cidOfRecord(documentOf('two')), deleted: true },
    ])
    expect(live.broken).toEqual([])
  })

  test('a new account, whose repo is empty, is nothing to replay', async () => {
    const syncs: string[] = []
    proxy.change = (message) => {
      if (message.includes('#sync')) syncs.push(message.toString('latin1'))
      return message
    }
    const live = follow()
    const newcomer = await stack.createAccount(`newcomer${accountCount}.test`)
    await write(put('a', 'after'))
    await live.until(has('after'))
    await live.stop()
    expect(syncs.some((message) => message.includes(newcomer.did))).toBe(true)
    expect(live.broken).toEqual([])
    expect(await sql(`select * from record_state where uri like 'at://${newcomer.did}%'`)).toEqual([])
  })

  test('an account that is known, and whose repo is empty by a #sync, has lost its records', async () => {
    const asked: string[] = []
    // A PDS announces a new account's first commit, too; one that an account has moved to need not.
    proxy.change = (message) =>
      message.includes('#commit') && !message.includes(account.did) ? undefined : message
    const live = follow({
      holdsRecords: async (did) => {
        asked.push(did)
        return holdsRecords({ production: database }, account.did)
      },
    })
    await write(put('a', 'here'))
    await live.until(has('here'))
    const newcomer = await stack.createAccount(`known${accountCount}.test`)
    await live.until(({ broken }) => broken.some(({ did }) => did === newcomer.did))
    expect(asked).toEqual([newcomer.did])
    expect(await holdsRecords({ production: database }, newcomer.did)).toBe(false)
    await write(remove('a'))
    await live.until(has())
    await live.stop()
    expect(await holdsRecords({ production: database }, account.did)).toBe(false)
  })

  test('of other collections nothing is asked, nothing is kept', async () => {
    const live = follow()
    await write({
      $type: 'com.atproto.repo.applyWrites#create',
      collection: 'com.example.note',
      rkey: 'n',
      value: { $type: 'com.example.note' },
    })
    await live.until(({ frames }) => frames.length > 0)
    await live.stop()
    expect(await sql(`select * from record_state where uri like 'at://${account.did}%'`)).toEqual([])
  })
})

describe('the cursor', () => {
  test('is saved, and the next consumer goes on behind it: nothing twice, nothing lost', async () => {
    const first = follow()
    await writeEach(3)
    await first.until(has('doc-0', 'doc-1', 'doc-2'))
    await first.stop()
    const cursor = await readCursor(database, proxy.url)
    expect(cursor).toBe(first.frames.at(-1))

    await writeEach(3, 3)
    const second = follow({ cursor })
    await second.until(async () => (await titles()).length === 6)
    await second.stop()
    expect(first.told).toEqual(['doc-0', 'doc-1', 'doc-2'])
    expect(second.told).toEqual(['doc-3', 'doc-4', 'doc-5'])
    expect(Math.min(...second.frames)).toBeGreaterThan(cursor ?? Number.POSITIVE_INFINITY)
  })

  test('stands behind what an aborted consumer had not applied yet; that is flushed first', async () => {
    const live = follow({ flushAfterMs: 60_000, saveEveryMs: 60_000 })
    const before = await readCursor(database, proxy.url)
    await writeEach(3)
    await live.until(({ handled }) => handled.length === 3)
    expect(await titles()).toEqual([])
    expect(await readCursor(database, proxy.url)).toBe(before)
    await live.stop()
    expect(await titles()).toEqual(['doc-0', 'doc-1', 'doc-2'])
    expect(await readCursor(database, proxy.url)).toBe(live.frames.at(-1))
  })

  test('holds across consumers that are stopped again and again in the middle', async () => {
    const before = lastSeq
    const rkeys = await writeEach(12)
    await saveCursor(database, proxy.url, before)
    const told: string[] = []
    for (let run = 0; run < 20 && told.length < rkeys.length; run++) {
      const live = follow({
        cursor: await readCursor(database, proxy.url),
        flushAfterMs: 60_000,
        saveEveryMs: 60_000,
      })
      const rest = rkeys.length - told.length
      await live.until(({ handled }) => handled.length >= Math.min(2, rest))
      await live.stop()
      told.push(...live.told)
    }
    expect(told).toEqual(rkeys)
  })

  test('is where a broken connection is taken up again', async () => {
    const live = follow()
    await write(put('a', 'one'))
    await live.until(has('one'))
    const seen = live.frames.at(-1)
    proxy.cut()
    await write(put('b', 'two'))
    await live.until(has('one', 'two'))
    await live.stop()
    expect(proxy.queries.length).toBeGreaterThan(1)
    expect(proxy.queries.at(-1)).toBe(`cursor=${seen}`)
    expect(new Set(live.frames).size).toBe(live.frames.length)
    expect(live.told).toEqual(['a', 'b'])
  })
})

describe('a frame that cannot be trusted', () => {
  const spoil = (text: string, change: (message: Buffer) => Buffer) => spoilFrame(proxy, text, change)

  test('has its repo replayed, and the stream goes on', async () => {
    spoil('doc-2', flip('doc-2'))
    const context = { appview: leaflet, production: database, network, logger: silentLogger }
    const broken: BrokenRepo[] = []
    const live = follow({
      onBrokenRepo: async (repo) => {
        broken.push(repo)
        await replayAccount(context, repo.did)
      },
    })
    const rkeys = await writeEach(5)
    await live.until(has(...rkeys))
    await live.stop()
    expect(broken).toHaveLength(1)
    expect(broken[0]).toMatchObject({ did: account.did, reason: expect.any(String) })
    expect(live.frames).toContain(broken[0]?.seq)
    expect(await readCursor(database, proxy.url)).toBe(live.frames.at(-1))
  })

  test('the cursor waits for what became of the repo', async () => {
    spoil('doc-1', flip('doc-1'))
    const failure = new Error('the replay failed')
    const live = follow({ onBrokenRepo: () => Promise.reject(failure) })
    await writeEach(2)
    await expect(live.done).rejects.toBe(failure)
    const cursor = await readCursor(database, proxy.url)
    expect(cursor).toBe(live.frames.at(-1))
    proxy.change = (message) => message
    const next = follow({ cursor })
    await next.until(has('doc-0', 'doc-1'))
    await next.stop()
  })

  test.each<[string, (message: Buffer) => Buffer]>([
    ['a signature', flip('sigX@')],
    ['a commit without its rev', (message) => replaced(message, 'crev', 'crew')],
    ['a commit whose blocks are gone', (message) => replaced(message, 'fblocks', 'fblockz')],
    ['a path that is none', (message) => replaced(message, `${DOCUMENT}/bad`, `${DOCUMENT}//ad`)],
  ])('%s: the repo is named, its frame changes nothing', async (_, change) => {
    spoil(`${DOCUMENT}/bad`, change)
    const live = follow()
    await write(put('bad', 'bad'))
    await write(put('good', 'good'))
    await live.until(has('good'))
    await live.stop()
    expect(live.broken.map(({ did }) => did)).toEqual([account.did])
  })

  test('a forged #sync does not end the consumer', async () => {
    const live = follow()
    await live.until(({ frames }) => frames.length > 0)
    await sleep(50)
    spoil('#sync', flip('sigX@'))
    const newcomer = await stack.createAccount(`forged${accountCount}.test`)
    await write(put('a', 'after'))
    await live.until(has('after'))
    await live.stop()
    expect(live.broken).toMatchObject([{ did: newcomer.did }])
  })

  test('signed with a newer key than the cached one is verified with the key as it is now', async () => {
    const { signingKey } = await network.identity.resolve(
      (await stack.createAccount(`other${accountCount}.test`)).did,
    )
    let isStale = false
    let refreshed = 0
    const stale: Identity = {
      ...network.identity,
      async resolve(did) {
        const identity = await network.identity.resolve(did)
        return isStale ? { ...identity, signingKey } : identity
      },
      refresh(did) {
        isStale = false
        refreshed++
        return network.identity.refresh(did)
      },
    }
    const live = follow({ identity: stale })
    // The #identity frames of the new accounts refresh them; they come before.
    await live.until(({ frames }) => frames.length > 0)
    await sleep(100)
    isStale = true
    refreshed = 0
    await write(put('a', 'one'))
    await live.until(has('one'))
    await live.stop()
    expect(live.broken).toEqual([])
    expect(refreshed).toBe(1)
  })
})

describe('the database away', () => {
  test('ends the consumer with UnavailableError, before the cursor', async () => {
    const before = await readCursor(database, proxy.url)
    const away = openDatabase({ url: 'http://127.0.0.1:9', serviceKey: 'sb_secret_x', label: 'production' })
    const saved: number[] = []
    const live = follow({
      sink: new Indexer({ appview: leaflet, database: away }),
      saveCursor: async (seq) => void saved.push(seq),
    })
    await write(put('a', 'one'))
    await expect(live.done).rejects.toMatchObject({ name: 'UnavailableError', exitCode: 75 })
    const { seq } = { seq: live.frames.at(-1) ?? Number.NaN }
    expect(saved.every((cursor) => cursor < seq)).toBe(true)
    expect(await readCursor(database, proxy.url)).toBe(before)
    const next = follow({ cursor: Math.max(before ?? 0, ...saved) })
    await next.until(has('one'))
    await next.stop()
  }, 40_000)

  test('when the cursor cannot be saved, too', async () => {
    const live = follow({
      saveCursor: (seq) =>
        saveCursor(openDatabase({ url: 'http://127.0.0.1:9', serviceKey: 'x', label: 'p' }), 'r', seq),
    })
    await write(put('a', 'one'))
    await expect(live.done).rejects.toMatchObject({ name: 'UnavailableError' })
  })
})
