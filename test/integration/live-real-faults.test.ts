/** Live ingestion as `consume` does it, from a real PDS into a real PostgreSQL, with each of them failing. */

import { setTimeout as sleep } from 'node:timers/promises'
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test, vi } from 'vitest'
import { leaflet } from '../../src/appview/leaflet/index.ts'
import type { CliContext } from '../../src/cli/context.ts'
import { liveAnswers } from '../../src/cli/live-sources.ts'
import { configFrom } from '../../src/config.ts'
import { openDatabase } from '../../src/database/client.ts'
import { readCursor, saveCursor } from '../../src/database/cursors.ts'
import type { EventSink, RecordEvent } from '../../src/events.ts'
import { consumeFirehose, type LiveOptions, newLiveStatus } from '../../src/firehose/live.ts'
import { handlerSink } from '../../src/firehose/sync-event.ts'
import { Indexer } from '../../src/indexer/indexer.ts'
import { type Logger, silentLogger } from '../../src/logger.ts'
import { createFetch } from '../../src/network/fetch.ts'
import { createIdentity } from '../../src/network/identity.ts'
import { createXrpc } from '../../src/network/xrpc.ts'
import type { WriteOp } from '../../src/pds/session.ts'
import { ranksOf } from '../../src/restore/write.ts'
import { type Account, type Stack, startStack } from '../../src/stack/index.ts'
import { applyWrites } from './account-writes.ts'
import { DOCUMENT, put, remove, titlesOf } from './documents.ts'
import { type FirehoseProxy, startFirehoseProxy } from './firehose-proxy.ts'
import { flip, largerThan, ofAnother, spoil, wronglySigned } from './spoilt-frames.ts'

const SOON = { timeout: 15_000, interval: 20 }

let stack: Stack
let proxy: FirehoseProxy
let context: CliContext
let account: Account
let accountCount = 0
/** The last frame that any test has seen: where the next one begins. */
let lastSeq = 0
const stops: (() => Promise<void>)[] = []

beforeAll(async () => {
  stack = await startStack()
  proxy = await startFirehoseProxy(stack.pds.url)
  context = {
    config: configFrom({}, {}),
    appview: leaflet,
    production: openDatabase({ ...stack.production, label: 'production' }),
    network: {
      identity: createIdentity({ plcUrl: stack.plcUrl, allowLocalhost: true }),
      xrpc: createXrpc({ fetch: createFetch({ allowLocalhost: true }) }),
    },
    logger: silentLogger,
  }
})
afterAll(async () => {
  await proxy?.[Symbol.asyncDispose]()
  await stack?.[Symbol.asyncDispose]()
})
beforeEach(async () => {
  proxy.change = (message) => message
  proxy.queries.length = 0
  await stack.production.query('delete from dead_letters')
  account = await stack.createAccount(`author${++accountCount}.test`)
})
afterEach(async () => {
  for (const stop of stops.splice(0)) await stop().catch(() => undefined)
})

const write = (...writes: WriteOp[]) => applyWrites(account, writes)
const titles = () => titlesOf(stack, account.did)
const letters = () => stack.production.query('select uri, code, source, seq from dead_letters order by id')
const savedCursor = async () => (await readCursor(context.production, proxy.url)) ?? 0
const uriOf = (rkey: string) => `at://${account.did}/${DOCUMENT}/${rkey}`

interface Follow extends Partial<LiveOptions> {
  /** The operator's own, in place of our indexer. */
  handleEvent?: (event: { event: string; rkey: string }) => Promise<void> | void
  /** Before each event is given to our indexer. */
  before?: (event: RecordEvent) => Promise<void>
}

/** The consumer with the answers that the command gives. */
function follow({ handleEvent, before, ...options }: Follow = {}) {
  const stop = new AbortController()
  const warnings: { fields: Record<string, unknown>; message: string }[] = []
  const warn: Logger['warn'] = (fields: unknown, message?: string) =>
    void warnings.push({ fields: Object(fields), message: message ?? '' })
  const logger: Logger = { ...silentLogger, warn, error: warn }
  const said: string[] = []
  const stderr = vi.spyOn(process.stderr, 'write').mockImplementation((text) => said.push(String(text)) > 0)
  const openSink = handleEvent === undefined ? undefined : () => handlerSink(handleEvent as never)
  const own: CliContext = { ...context, logger, ...(openSink === undefined ? {} : { openSink }) }
  const indexer = new Indexer({ appview: leaflet, database: context.production, flushAfterMs: 5, logger })
  const waiting: EventSink = {
    async handle(event) {
      await before?.(event)
      await indexer.handle(event)
    },
    flush: () => indexer.flush(),
  }
  const rankOf = ranksOf(own)
  const status = newLiveStatus()
  const done = consumeFirehose({
    service: proxy.url,
    sink: openSink?.() ?? waiting,
    identity: context.network.identity,
    isWanted: (collection) => rankOf(collection) !== undefined,
    cursor: lastSeq,
    saveCursor: (seq) => saveCursor(context.production, proxy.url, seq),
    ...liveAnswers(own, proxy.url),
    onFrame: ({ seq }) => {
      lastSeq = Math.max(lastSeq, seq)
    },
    signal: stop.signal,
    saveEveryMs: 5,
    status,
    logger,
    ...options,
  })
  done.catch(() => undefined)
  const end = async () => {
    stop.abort()
    await done.finally(() => stderr.mockRestore())
  }
  stops.push(end)
  const warned = (message: string) => warnings.filter((each) => each.message === message)
  return { done, end, status, said, warned }
}

/** Nothing is left to do: all that was received is durable, and the cursor says so. */
async function caughtUp({ status }: ReturnType<typeof follow>): Promise<void> {
  await expect.poll(() => status.receivedSeq === status.savedSeq && status.replays === 0, SOON).toBe(true)
  expect(await savedCursor()).toBe(status.savedSeq)
}

describe('a frame of the host, changed on its way', () => {
  /** Names its account, comes as it is both times: the repo is replayed. */
  const replayedCases: [string, RegExp, (message: Buffer) => Buffer][] = [
    ['cut short', /could not be read/, (message) => message.subarray(0, message.length - 40)],
    ['with another signature', /not signed by/, wronglySigned],
    ['with an altered record', /not what its CID/, flip('https://example.com')],
    ['larger than the protocol allows', /has \d{7} bytes/, largerThan(5 * 1024 ** 2)],
  ]
  test.each(replayedCases)('%s: said, and the repo is replayed', async (_, reason, change) => {
    const spoilt = spoil(proxy, uriPath('spoilt'), change)
    const live = follow()
    await write(put('first'))
    await write(put('spoilt'), put('beside'))
    await write(put('last'), remove('first'))
    await expect.poll(titles, SOON).toEqual(['beside', 'last', 'spoilt'])
    await caughtUp(live)
    expect(spoilt.count).toBeGreaterThan(0)
    expect(live.warned('repo must be replayed')).toMatchObject([
      { fields: { did: account.did, reason: expect.stringMatching(reason) } },
    ])
    expect(await letters()).toEqual([])
  })

  const lostCases: [string, (message: Buffer) => Buffer | undefined][] = [
    ['garbage', (message) => Buffer.alloc(message.length, 0xff)],
    ['an empty message', () => Buffer.alloc(0)],
    ['cut off behind its header', (message) => message.subarray(0, 20)],
  ]
  test.each(lostCases)('%s: kept, and the next commit of the account tells', async (_, change) => {
    const spoilt = spoil(proxy, uriPath('spoilt'), change)
    const live = follow()
    await write(put('first'))
    await write(put('spoilt'))
    await expect.poll(letters, SOON).toMatchObject([{ uri: proxy.url }])
    // Asked for twice, in case it was spoilt only the first time.
    expect(spoilt.count).toBe(2)
    expect(await titles()).toEqual(['first'])
    await write(put('last'))
    await expect.poll(titles, SOON).toEqual(['first', 'last', 'spoilt'])
    await caughtUp(live)
    expect(live.warned('message cannot be read')).toHaveLength(2)
    expect(live.warned('repo must be replayed')).toMatchObject([
      { fields: { did: account.did, reason: expect.stringMatching(/follows/) } },
    ])
  })

  test('spoilt only the first time: nothing is lost and nothing is replayed', async () => {
    let isFirst = true
    spoil(proxy, uriPath('spoilt'), (message) => {
      const was = isFirst
      isFirst = false
      return was ? Buffer.from('HTTP/1.1 502 Bad Gateway') : message
    })
    const live = follow()
    await write(put('spoilt'))
    await expect.poll(titles, SOON).toEqual(['spoilt'])
    await caughtUp(live)
    expect(live.status).toMatchObject({ connections: 2 })
    expect(live.warned('repo must be replayed')).toEqual([])
    expect(await letters()).toEqual([])
  })

  test('under the name of another account: neither gains nor loses a row', async () => {
    const other = await stack.createAccount(`other${accountCount}.test`)
    await applyWrites(other, [put('theirs')])
    spoil(proxy, uriPath('spoilt'), ofAnother(other.did))
    const live = follow()
    await write(put('first'))
    await write(put('spoilt'))
    await expect.poll(() => live.warned('repo must be replayed').length, SOON).toBe(1)
    await write(put('last'))
    await expect.poll(titles, SOON).toEqual(['first', 'last', 'spoilt'])
    await caughtUp(live)
    expect(await titlesOf(stack, other.did)).toEqual(['theirs'])
    expect(live.warned('repo must be replayed')).toMatchObject([
      { fields: { did: other.did, reason: expect.stringMatching(/not of did:plc/) } },
      { fields: { did: account.did, reason: expect.stringMatching(/follows/) } },
    ])
    // The host has no such commit of theirs, and whether it will is not known here.
    expect(await letters()).toMatchObject([{ uri: `at://${other.did}`, code: 'BROKEN_REPO' }])
  })
})

const uriPath = (rkey: string) => `${DOCUMENT}/${rkey}`

describe("the operator's own handler, failing", () => {
  const recording = (failing: (rkey: string) => boolean) => {
    const seen: string[] = []
    const handleEvent = ({ event, rkey }: { event: string; rkey: string }) => {
      if (failing(rkey)) throw new Error('disk full')
      seen.push(`${event} ${rkey}`)
    }
    return { seen, handleEvent }
  }

  test('once: the event comes again, in its order', async () => {
    let calls = 0
    const { seen, handleEvent } = recording(() => ++calls === 1)
    const live = follow({ handleEvent })
    await write(put('a'), put('b'))
    await write(remove('a'))
    await expect.poll(() => seen, SOON).toEqual(['create a', 'create b', 'delete a'])
    await caughtUp(live)
    expect(live.warned('event failed')).toHaveLength(1)
    expect(await letters()).toEqual([])
  })

  test('for one record: that one is a dead letter, the others come', async () => {
    const { seen, handleEvent } = recording((rkey) => rkey === 'poison')
    const live = follow({ handleEvent, attempts: 2 })
    await write(put('a'), put('poison'), put('z'))
    await write(put('later'))
    await expect.poll(() => seen, SOON).toEqual(['create a', 'create z', 'create later'])
    await caughtUp(live)
    expect(await letters()).toMatchObject([{ uri: uriOf('poison'), code: 'HANDLER', source: 'firehose' }])
  })

  test('always: ends before the firehose is a heap of dead letters, the cursor before what is not one', async () => {
    const live = follow({ handleEvent: recording(() => true).handleEvent, attempts: 1 })
    for (let n = 0; n < 14; n++) await write(put(`a-${String(n).padStart(2, '0')}`))
    await expect(live.done).rejects.toMatchObject({
      name: 'UnavailableError',
      message: expect.stringMatching(/10 events in a row failed, the last with: disk full/),
    })
    const kept = await letters()
    expect(kept).toHaveLength(10)
    expect(await savedCursor()).toBe(Number(kept.at(-1)?.seq))
    const { seen, handleEvent } = recording(() => false)
    const next = follow({ handleEvent, cursor: await savedCursor() })
    await expect.poll(() => seen, SOON).toEqual([10, 11, 12, 13].map((n) => `create a-${n}`))
    await caughtUp(next)
  })
})

describe('the database', () => {
  test('refusing one record: that one is a dead letter, those of its commit come', async () => {
    const { query } = stack.production
    await query(`
      create function refuse() returns trigger language plpgsql as $$ begin raise exception 'never'; end $$;
      create trigger refuse before insert on documents for each row
        when (new.uri like '%/refused') execute function refuse()`)
    const live = follow()
    await write(put('a'), put('refused'), put('z'))
    await expect.poll(titles, SOON).toEqual(['a', 'z'])
    await expect.poll(letters, SOON).toMatchObject([{ uri: uriOf('refused'), source: 'firehose' }])
    await caughtUp(live)
    await query('drop function refuse cascade')
  })

  test('away for a while: nothing is lost, and the cursor waits', async () => {
    const live = follow()
    await write(put('a'))
    await expect.poll(titles, SOON).toEqual(['a'])
    await caughtUp(live)
    const before = live.status.savedSeq
    await stack.postgres.stop()
    try {
      await write(put('b'))
      await write(put('c'), remove('a'))
      await expect.poll(() => live.status.receivedSeq, SOON).toBe((before ?? 0) + 2)
      await sleep(500)
      expect(live.status.savedSeq).toBe(before)
    } finally {
      await stack.postgres.start()
    }
    await expect.poll(titles, SOON).toEqual(['b', 'c'])
    await caughtUp(live)
    expect(await letters()).toEqual([])
  })
})

describe('the PDS', () => {
  const restarted = async (limits: Parameters<Stack['pds']['start']>[0] = {}) => {
    await stack.pds.stop()
    await stack.pds.start(limits)
  }
  afterEach(() => restarted())

  test('restarting is found again, and nothing is lost', async () => {
    const live = follow()
    await write(put('a'))
    await expect.poll(titles, SOON).toEqual(['a'])
    await write(put('b'))
    await stack.pds.stop()
    await expect.poll(() => live.status.isConnected, SOON).toBe(false)
    await stack.pds.start()
    await write(put('c'), remove('a'))
    await expect.poll(titles, SOON).toEqual(['b', 'c'])
    await caughtUp(live)
    expect(live.status.connections).toBe(2)
    expect(live.status.gaps).toBe(0)
    expect(live.warned('repo must be replayed')).toEqual([])
  })

  test('that no longer holds the cursor: said, the known accounts are replayed, then it goes on', async () => {
    const first = follow()
    await write(put('known'), put('gone'))
    await expect.poll(titles, SOON).toEqual(['gone', 'known'])
    await caughtUp(first)
    await first.end()
    const cursor = await savedCursor()
    await write(put('missed'), remove('gone'))
    await restarted({ backfillWindowMs: 1 })
    const live = follow({ cursor })
    await expect.poll(titles, SOON).toEqual(['known', 'missed'])
    await expect
      .poll(() => live.said.join(''), SOON)
      .toMatch(/Frames were missed \(outdated-cursor\)[\s\S]*Replayed \d+ accounts; .* 0 are left/)
    expect(live.warned('the relay says')).toMatchObject([{ fields: { name: 'OutdatedCursor' } }])
    await write(put('later'))
    await expect.poll(titles, SOON).toEqual(['known', 'later', 'missed'])
    await caughtUp(live)
    expect(await savedCursor()).toBeGreaterThan(cursor + 1)
    expect(live.status.gaps).toBe(1)
    // Who was new in what was missed is known to nobody.
    expect(await letters()).toMatchObject([{ uri: proxy.url }])
  })

  test('that cuts off who is too slow: connected again, nothing is lost', async () => {
    await restarted({ maxWaitingFrames: 4 })
    const { promise: open, resolve } = Promise.withResolvers<void>()
    let hasBegun = false
    const live = follow({
      // The proxy would read ahead of the consumer.
      service: stack.pds.url.replace(/^http/, 'ws'),
      maxQueuedFrames: 2,
      before: () => {
        hasBegun = true
        return open
      },
    })
    await write(put('a'))
    await expect.poll(() => hasBegun, SOON).toBe(true)
    // More than the sockets of this machine hold between two processes that do not read.
    const text = 'x'.repeat(900_000)
    const rkeys = Array.from({ length: 24 }, (_, n) => `doc-${String(n).padStart(2, '0')}`)
    for (const rkey of rkeys) {
      const ballast = { $type: 'com.example.note', text }
      await write(put(rkey), {
        $type: 'com.atproto.repo.applyWrites#create',
        collection: 'com.example.note',
        rkey,
        value: ballast,
      })
    }
    expect(live.status.connections).toBe(1)
    resolve()
    await expect.poll(titles, SOON).toEqual(['a', ...rkeys])
    await caughtUp(live)
    expect(live.warned('the relay refuses')).toMatchObject([{ fields: { name: 'ConsumerTooSlow' } }])
    expect(live.status.connections).toBeGreaterThan(1)
    expect(live.status.gaps).toBe(0)
    expect(live.warned('repo must be replayed')).toEqual([])
  })
})
