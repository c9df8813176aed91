/** One account's slice of a firehose, from the real PDS: what is handed over, where it ends, and what it proves. */
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest'
import { leaflet } from '../../src/appview/leaflet/index.ts'
import { type Database, openDatabase } from '../../src/database/client.ts'
import { UnavailableError } from '../../src/errors.ts'
import type { EventSink, RecordEvent } from '../../src/events.ts'
import { readMessage, seqOf } from '../../src/firehose/message.ts'
import { type RelayReplayOptions, receiptOf, replayRelay } from '../../src/firehose/replay-relay.ts'
import { Indexer } from '../../src/indexer/indexer.ts'
import { silentLogger } from '../../src/logger.ts'
import { createFetch } from '../../src/network/fetch.ts'
import { createIdentity, type Identity } from '../../src/network/identity.ts'
import { createXrpc, type Xrpc } from '../../src/network/xrpc.ts'
import type { WriteOp } from '../../src/pds/session.ts'
import { replayAccountFromRelay } from '../../src/restore/replay-relay.ts'
import { type Account, type Stack, startStack } from '../../src/stack/index.ts'
import { applyWrites } from './account-writes.ts'
import { runCommand } from './command-line.ts'
import { DOCUMENT, put, remove, titlesOf } from './documents.ts'
import { type FirehoseProxy, startFirehoseProxy } from './firehose-proxy.ts'
import { flip } from './spoilt-frames.ts'

let stack: Stack
let database: Database
let identity: Identity
let proxy: FirehoseProxy
let account: Account
let other: Account
let accountCount = 0
/** Without a configuration file. */
let folder: string
/** The newest seq before the test. */
let cursor = 0

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'replay-relay-'))
  stack = await startStack()
  database = openDatabase({ ...stack.production, label: 'production' })
  identity = createIdentity({ plcUrl: stack.plcUrl, allowLocalhost: true })
  proxy = await startFirehoseProxy(stack.pds.url)
  other = await stack.createAccount('stranger.test')
})
afterAll(async () => {
  await proxy?.[Symbol.asyncDispose]()
  await stack?.[Symbol.asyncDispose]()
  await rm(folder, { recursive: true, force: true })
})
beforeEach(async () => {
  proxy.change = (message) => message
  proxy.queries.length = 0
  cursor = (await replayOf({ did: other.did, cursor: 0 })).result.window.seq
  account = await stack.createAccount(`author${++accountCount}.test`)
})

const write = (...writes: WriteOp[]) => applyWrites(account, writes)
const titles = () => titlesOf(stack, account.did)

function recorder() {
  const events: RecordEvent[] = []
  const sink: EventSink = {
    handle: async (event) => void events.push(event),
    flush: async () => ({ cursor: undefined }),
  }
  return { events, sink }
}

async function replayOf(options: Partial<RelayReplayOptions> = {}) {
  const { events, sink } = recorder()
  const result = await replayRelay({
    did: account?.did ?? other.did,
    service: proxy.url,
    cursor,
    quietMs: 100,
    identity,
    sink,
    ...options,
  } as RelayReplayOptions)
  return { events, result, said: events.map(({ event, rkey }) => `${event} ${rkey}`) }
}

const intoTables = () => replayOf({ sink: new Indexer({ appview: leaflet, database }) })

/** Changes the messages that bring a record with this text, on every connection. */
function spoil(text: string, change: (message: Buffer) => Buffer | undefined): void {
  proxy.change = (message) => (message.includes(text) ? change(message) : message)
}

describe('the window', () => {
  test('holds the account and nobody else, in order; prev comes along', async () => {
    await write(put('a', 'one'), put('b', 'two'))
    await applyWrites(other, [{ ...put('c', `follows ${account.did}`), rkey: `c${accountCount}` } as WriteOp])
    await write(put('a', 'three', 'update'), remove('b'))
    const { events, said, result } = await replayOf()
    expect(said).toEqual(['create a', 'create b', 'update a', 'delete b'])
    expect(new Set(events.map(({ source, did }) => `${source} ${did}`))).toEqual(
      new Set([`relay ${account.did}`]),
    )
    expect(events.at(-1)?.prev?.toString()).toBe(
      events[1]?.event === 'create' ? events[1].cid.toString() : '',
    )
    // The first is that of the new account's empty repo.
    expect(result).toMatchObject({ commits: 3, records: 4, gaps: [], unreadable: [] })
    expect(result.window.seq).toBeGreaterThanOrEqual(events.at(-1)?.seq ?? Number.NaN)
  })

  test('begins behind the cursor, and ends with the seq that was named', async () => {
    for (const rkey of ['a', 'b', 'c', 'd']) await write(put(rkey, rkey))
    const { events } = await replayOf()
    const [first, second, third] = events.map(({ seq }) => seq)
    const part = await replayOf({ cursor: first ?? 0, until: third ?? 0 })
    expect(part.said).toEqual(['create b', 'create c'])
    expect(part.result.window.seq).toBe(third)
    expect((await replayOf({ cursor: second ?? 0, until: second ?? 0 })).said).toEqual([])
  })

  test('ends where the relay was when it began, however much comes meanwhile', async () => {
    await write(put('a', 'one'))
    const stop = new AbortController()
    const busy = (async () => {
      for (let n = 0; !stop.signal.aborted; n++)
        await applyWrites(other, [put(`busy${accountCount}-${n}`, 'x')])
    })()
    // Without an end of its own it would follow the others for ever: it is never quiet for so long.
    const { said } = await replayOf({ quietMs: 60_000 })
    stop.abort()
    await busy
    expect(said).toEqual(['create a'])
  })

  test('goes on where a connection broke, and hands nothing over twice', async () => {
    for (const rkey of ['a', 'b', 'c', 'd']) await write(put(rkey, rkey))
    const { events, sink } = recorder()
    const cutting: EventSink = {
      ...sink,
      async handle(event) {
        if (event.rkey === 'b') proxy.cut()
        await sink.handle(event)
      },
    }
    await replayOf({ sink: cutting })
    expect(events.map(({ rkey }) => rkey)).toEqual(['a', 'b', 'c', 'd'])
  })

  test('of a relay that is away is unavailable; of a host without firehose, a wrong address', async () => {
    await expect(replayOf({ service: 'ws://127.0.0.1:9' })).rejects.toMatchObject({
      name: 'UnavailableError',
      exitCode: 75,
    })
    await expect(replayOf({ service: stack.production.url.replace(/^http/, 'ws') })).rejects.toMatchObject({
      name: 'ConfigError',
      exitCode: 2,
    })
  }, 30_000)

  test('with an aborted signal ends at once', async () => {
    const stop = new AbortController()
    // An end that does not come: it would be through with what there is before the signal.
    const replay = replayOf({ signal: stop.signal, quietMs: 60_000, until: cursor + 100_000 })
    setTimeout(() => stop.abort(new Error('enough')), 50)
    await expect(replay).rejects.toThrow('enough')
  })
})

describe('a cursor', () => {
  test('that the relay has never reached is said to be one of another relay', async () => {
    await expect(replayOf({ cursor: 1_000_000 })).rejects.toMatchObject({
      name: 'ConfigError',
      message: expect.stringContaining('1000000'),
      hint: expect.stringContaining('another relay'),
    })
  })

  test('that is too old is said, and the rest is replayed', async () => {
    // Much longer than the replay takes to ask, once something has been written.
    const backfillWindowMs = 2000
    await write(put('a', 'one'))
    const isPast = sleep(backfillWindowMs)
    await stack.pds.stop()
    await stack.pds.start({ backfillWindowMs })
    await isPast
    await write(put('b', 'two'))
    const { result, said } = await replayOf()
    expect(result.window.outdated).toContain('cursor exceeded limit')
    expect(said).toEqual(['create b'])
    await stack.pds.stop()
    await stack.pds.start()
  })
})

describe('into the tables', () => {
  test('an old delete in the window does not erase what is newer', async () => {
    await write(put('a', 'one'), put('b', 'two'))
    await write(remove('a'), remove('b'))
    const { result } = await replayOf()
    await write(put('a', 'again'))
    await intoTables()
    expect(await titles()).toEqual(['again'])
    // The window up to the deletes only, behind the tables by now.
    await replayOf({
      sink: new Indexer({ appview: leaflet, database }),
      until: result.window.seq,
    })
    expect(await titles()).toEqual(['again'])
  })

  test('a handler without a memory of its own is spared deletes of what is there', async () => {
    await write(put('a', 'one'), put('b', 'two'))
    await write(remove('a'), remove('b'))
    const { result } = await replayOf()
    await write(put('a', 'again'))
    const seen: string[] = []
    const part = await replayRelay({
      did: account.did,
      service: proxy.url,
      cursor,
      until: result.window.seq,
      identity,
      handleEvent: (event) => void seen.push(`${event.event} ${'rkey' in event ? event.rkey : ''}`),
      xrpc: createXrpc({ fetch: createFetch({ allowLocalhost: true }) }),
    })
    expect(seen).toEqual(['create a', 'create b', 'delete b'])
    expect(part.superseded).toBe(1)
  })
})

describe('a record that the window brings and the repo has deleted since', () => {
  const xrpc = createXrpc({ fetch: createFetch({ allowLocalhost: true }) })
  const context = () => ({
    appview: leaflet,
    production: database,
    network: { identity, xrpc },
    logger: silentLogger,
  })

  test('does not stay: its delete is behind the end', async () => {
    await write(put('a', 'one'), put('b', 'two'))
    const { result } = await replayOf()
    await write(remove('a'))
    const window = { service: proxy.url, cursor, until: result.window.seq }
    const replayed = await replayAccountFromRelay(context(), account.did, window)
    expect(replayed).toMatchObject({ records: 2, dropped: 1 })
    expect(replayed.headUnknown).toBeUndefined()
    expect(await titles()).toEqual(['two'])
    const states = `select deleted from record_state where uri = 'at://${account.did}/${DOCUMENT}/a'`
    expect(await stack.production.query(states)).toEqual([{ deleted: true }])
  })

  test('does not stay with a handler: its delete is in a gap', async () => {
    await write(put('a', 'one'), put('b', 'two'))
    const before = (await replayOf()).result.window.seq
    await write(remove('a'))
    proxy.change = (message) =>
      message.includes('#commit') && message.includes(account.did) && isBehind(before, message)
        ? undefined
        : message
    const seen: string[] = []
    const { dropped } = await replayRelay({
      did: account.did,
      service: proxy.url,
      cursor,
      quietMs: 100,
      identity,
      handleEvent: (event) => void seen.push(`${event.event} ${'rkey' in event ? event.rkey : ''}`),
      xrpc,
    })
    expect(seen).toEqual(['create a', 'create b', 'delete a'])
    expect(dropped).toBe(1)
  })

  test('costs no repo where the window has come to its head', async () => {
    await write(put('a', 'one'))
    let fetched = 0
    const counting: Xrpc = {
      ...xrpc,
      getRepoStream: (...question) => {
        fetched++
        return xrpc.getRepoStream(...question)
      },
    }
    const { result } = await replayOf({ xrpc: counting, dropsAbsent: true })
    expect([result.dropped, fetched]).toEqual([0, 0])
  })

  test('is said to be uncertain where the host does not answer', async () => {
    await write(put('a', 'one'))
    const away: Xrpc = { ...xrpc, getLatestCommit: () => Promise.reject(new UnavailableError('away')) }
    const { result } = await replayOf({ xrpc: away, dropsAbsent: true })
    expect(result).toMatchObject({ records: 1, dropped: 0, headUnknown: 'away' })
  })
})

function isBehind(seq: number, message: Buffer): boolean {
  const read = readMessage(message)
  return (seqOf(read) ?? 0) > seq
}

describe('what cannot be trusted', () => {
  test.each<[string, (message: Buffer) => Buffer]>([
    ['a forged record', flip('example.com')],
    ['a forged signature', flip('sigX@')],
    ['a frame cut short', (message) => message.subarray(0, message.length - 20)],
  ])('%s is a gap: not handed over, and no receipt', async (_, change) => {
    await write(put('good', 'good'))
    spoil('forged title', change)
    await write(put('bad', 'forged title'))
    await write(put('after', 'after'))
    const { said, result } = await replayOf()
    expect(said).toEqual(['create good', 'create after'])
    expect(result.gaps.length).toBeGreaterThan(0)
    expect(result.chain).toBeUndefined()
  })

  test('a commit that was left out shows in the one after it', async () => {
    for (const rkey of ['a', 'b', 'c']) await write(put(rkey, `title of ${rkey}`))
    spoil('title of b', () => undefined)
    const { said, result } = await replayOf()
    expect(said).toEqual(['create a', 'create c'])
    expect(result.gaps).toMatchObject([{ reason: expect.stringContaining('follows') }])
    expect(result.chain).toBeUndefined()
  })
})

describe('the receipt', () => {
  test('is earned from the beginning of the repo, or from where the index was', async () => {
    await write(put('a', 'one'))
    const first = await replayOf()
    expect(first.result.chain).toMatchObject({ since: null, rev: first.events[0]?.rev })
    const receipt = receiptOf(first.result, undefined)
    expect(receipt).toEqual({
      did: account.did,
      rev: first.events[0]?.rev,
      commit: first.events[0]?.commit.toString(),
    })

    await write(put('b', 'two'))
    const second = await replayOf({ cursor: first.result.window.seq })
    expect(second.said).toEqual(['create b'])
    expect(second.result.chain?.since).toBe(receipt?.rev)
    expect(receiptOf(second.result, undefined)).toBeUndefined()
    expect(receiptOf(second.result, receipt)?.rev).toBe(second.events[0]?.rev)
    expect(receiptOf(second.result, { did: account.did, rev: '3aaaaaaaaaa2a', commit: 'x' })).toBeUndefined()
  })

  test('a window without a commit earns none', async () => {
    const { result } = await replayOf({ cursor: (await replayOf()).result.window.seq })
    expect(receiptOf(result, undefined)).toBeUndefined()
  })
})

describe('from the command line', () => {
  const run = (...args: string[]) =>
    runCommand(['replay', '--did', account.did, ...args], {
      cwd: folder,
      env: {
        SUPABASE_URL: stack.production.url,
        SUPABASE_SERVICE_ROLE_KEY: stack.production.serviceKey,
        FIREHOSE_REPLAY_PLC_URL: stack.plcUrl,
        FIREHOSE_REPLAY_RELAY_URL: proxy.url,
        FIREHOSE_REPLAY_ALLOW_LOCALHOST: '1',
      },
    })

  test('a window is planned, then replayed, and earns its receipt', async () => {
    await write(put('a', 'one'), put('b', 'two'))
    const { window } = (await replayOf()).result
    const of = ['--source', 'relay', '--cursor', String(cursor), '--until', String(window.seq), '--json']
    const planned = await run(...of, '--dry-run')
    expect(JSON.parse(planned.stdout)).toMatchObject({
      collections: { [DOCUMENT]: { new: 2, changed: 0, same: 0, stale: 0, deleted: 0 } },
    })
    expect(await titles()).toEqual([])
    const replayed = await run(...of)
    expect(JSON.parse(replayed.stdout)).toMatchObject({
      counts: { applied: 2 },
      gaps: [],
      receipt: { did: account.did },
    })
    expect(replayed.code).toBe(0)
    expect(await titles()).toEqual(['one', 'two'])
  })

  test('a cursor of the future is wrong usage; a repo is pruned only once production is named', async () => {
    const future = await run('--source', 'relay', '--cursor', '99999999')
    expect(future).toMatchObject({ code: 2, stderr: expect.stringContaining('another relay') })

    await write(put('a', 'one'), put('b', 'two'))
    expect((await run()).code).toBe(0)
    await write(remove('b'))
    const asked = await run('--prune')
    expect(asked.code).toBe(2)
    expect(asked.stderr).toContain(`at://${account.did}/${DOCUMENT}/b (documents)`)
    const name = /--yes (\S+)/.exec(asked.stderr)?.[1] ?? ''
    expect(await titles()).toEqual(['one', 'two'])
    const pruned = await run('--prune', '--yes', name, '--json')
    expect(JSON.parse(pruned.stdout)).toMatchObject({ pruned: [{ rkey: 'b' }], isCaughtUp: true })
    expect(await titles()).toEqual(['one'])
    expect(await run('--max-repo-size', '100')).toMatchObject({
      code: 3,
      stderr: expect.stringContaining('limit of 100 bytes'),
    })
  })
})
