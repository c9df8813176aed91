/** The live consumer against a relay that misbehaves in every way that one can. No database: what the sink is given. */

import { once } from 'node:events'
import { type AddressInfo, createServer, type Socket } from 'node:net'
import { setTimeout as sleep } from 'node:timers/promises'
import { afterEach, describe, expect, test } from 'vitest'
import { ConfigError, UnavailableError } from '../../src/errors.ts'
import {
  type BrokenRepo,
  consumeFirehose,
  type Gap,
  type LiveOptions,
  newLiveStatus,
  type Unreadable,
} from '../../src/firehose/live.ts'
import { type Logger, silentLogger } from '../../src/logger.ts'
import {
  COLLECTION,
  errorMessage,
  FakeAuthor,
  type FakeRelay,
  identityOf,
  infoMessage,
  messageOf,
  NOTE,
  type Script,
  startFakeRelay,
  until,
} from './fake-relay.ts'

const cleanups: (() => Promise<void>)[] = []
afterEach(async () => {
  for (const cleanup of cleanups.splice(0).reverse()) await cleanup()
})

async function relayWith(script: Script): Promise<FakeRelay> {
  const relay = await startFakeRelay(script)
  cleanups.push(async () => {
    await relay[Symbol.asyncDispose]()
  })
  return relay
}

function follow(relay: FakeRelay, authors: FakeAuthor[], options: Partial<LiveOptions> = {}) {
  const stop = new AbortController()
  const seen = {
    handled: [] as string[],
    broken: [] as BrokenRepo[],
    saved: [] as number[],
    gaps: [] as Gap[],
    unreadable: [] as Unreadable[],
    status: newLiveStatus(),
  }
  const done = consumeFirehose({
    service: relay.url,
    sink: {
      handle: async ({ did, rkey }) => void seen.handled.push(`${did.at(-1)}/${rkey}`),
      flush: async () => ({ cursor: undefined }),
    },
    identity: identityOf(...authors),
    isWanted: (collection) => collection === COLLECTION,
    cursor: 0,
    saveCursor: async (seq) => void seen.saved.push(seq),
    onBrokenRepo: async (broken) => void seen.broken.push(broken),
    onGap: async (gap) => void seen.gaps.push(gap),
    onUnreadable: async (unreadable) => void seen.unreadable.push(unreadable),
    saveEveryMs: 1,
    signal: stop.signal,
    status: seen.status,
    ...options,
  })
  done.catch(() => undefined)
  const end = async () => {
    stop.abort()
    await done
  }
  cleanups.push(() => end().catch(() => undefined))
  return { ...seen, done, end, stop }
}

const path = (rkey: string) => `${COLLECTION}/${rkey}`
const document = (title = 'a title') => ({ $type: COLLECTION, title })
const author = (name: string) => FakeAuthor.create(name)

describe('what a relay may send', () => {
  const spoilt: [string, (good: Uint8Array) => Uint8Array][] = [
    ['no CBOR at all', () => Buffer.from('HTTP/1.1 502 Bad Gateway')],
    ['nothing', () => new Uint8Array()],
    ['a header without a body', (good) => good.subarray(0, 15)],
  ]
  test.each(spoilt)('%s: asked for again, then kept, and the stream goes on', async (_, spoil) => {
    const a = await author('b')
    const first = await a.commit(1, { [path('one')]: document() })
    const second = await a.commit(3, { [path('two')]: document() })
    const bad = spoil(first)
    const relay = await relayWith(function* (cursor) {
      if (cursor === 0) yield first
      yield bad
      yield second
    })
    const live = follow(relay, [a])
    await until(() => live.handled.length === 2 && live.saved.at(-1) === 3, 'both commits')
    await live.end()
    expect(relay.cursors).toEqual([0, 1])
    expect(live.handled).toEqual(['b/one', 'b/two'])
    expect(live.unreadable).toMatchObject([{ uri: undefined, seq: 1, bytes: Uint8Array.from(bad) }])
    expect(live.broken).toEqual([])
  })

  test('a commit cut short: the repo that it names is replayed', async () => {
    const a = await author('b')
    const lost = await a.commit(1, { [path('one')]: document() })
    const next = await a.commit(2, { [path('two')]: document() })
    const relay = await relayWith(function* () {
      yield lost.subarray(0, lost.length - 30)
      yield next
    })
    const live = follow(relay, [a])
    await until(() => live.handled.length === 1, 'the next commit')
    await live.end()
    expect(live.broken).toMatchObject([{ did: a.did, reason: expect.stringMatching(/could not be read/) }])
    expect(live.unreadable).toEqual([])
  })

  test('what was spoilt only on its way comes whole the second time', async () => {
    const a = await author('b')
    const frame = await a.commit(1, { [path('one')]: document() })
    const relay = await relayWith(function* (_, connection) {
      yield connection === 1 ? frame.subarray(0, 100) : frame
    })
    const live = follow(relay, [a])
    await until(() => live.handled.length === 1, 'the commit')
    await live.end()
    expect([live.broken, live.unreadable]).toEqual([[], []])
  })

  test.each<[string, object | ((good: object, other: FakeAuthor) => object)]>([
    ['the frame of another account', (good, other) => ({ ...good, repo: other.did })],
    ['another rev than is signed', (good) => ({ ...good, rev: '3zzzzzzzzzz22' })],
    ['no blocks', (good) => ({ ...good, blocks: new Uint8Array() })],
    ['tooBig', (good) => ({ ...good, tooBig: true, ops: [] })],
    ['an op for a record that the commit does not have', (good) => withOp(good, path('else'))],
    [
      'an op that is not known',
      (good) => ({ ...good, ops: [{ action: 'move', path: path('one'), cid: null }] }),
    ],
    ['a path that is none', (good) => withOp(good, `${COLLECTION}//one`)],
  ])('%s: nothing of it is believed, the repo is replayed', async (_, change) => {
    const [a, b] = [await author('b'), await author('c')]
    const good = await a.body(1, { [path('one')]: document() })
    const bad = typeof change === 'function' ? change(good, b) : { ...good, ...change }
    const next = await b.commit(2, { [path('two')]: document() })
    const relay = await relayWith(function* () {
      yield messageOf('#commit', bad)
      yield next
    })
    const live = follow(relay, [a, b])
    await until(() => live.saved.at(-1) === 2, 'the cursor')
    await live.end()
    expect(live.handled).toEqual(['c/two'])
    expect(live.broken).toMatchObject([{ did: (bad as { repo: string }).repo, seq: 1 }])
  })

  test('a broken commit says which records it names as deleted, and those that wait behind it', async () => {
    const a = await author('b')
    const good = await a.body(1, { [path('one')]: document() })
    const naming = (seq: number, ...paths: string[]) =>
      messageOf('#commit', {
        ...good,
        seq,
        blocks: new Uint8Array(),
        ops: paths.map((each) => ({ action: 'delete', path: each, cid: null })),
      })
    const relay = await relayWith(function* () {
      yield naming(1, path('x'), `${NOTE}/n`, `${COLLECTION}//bad`)
      yield naming(2, path('y'), path('x'))
    })
    const live = follow(relay, [a], {
      onBrokenRepo: async (broken) => {
        // What has come by then is read before the replay begins; the second is in it.
        live.broken.push(broken)
        await until(() => live.status.receivedSeq === 2, 'the second')
      },
      maxReplays: 1,
    })
    await until(() => live.saved.at(-1) === 2, 'the cursor')
    await live.end()
    const named = live.broken.flatMap(({ deletes = [] }) => deletes.map(({ rkey }) => rkey))
    expect(new Set(named)).toEqual(new Set(['x', 'y']))
  })

  test('a message longer than may be received: asked for again, then passed over as a gap', async () => {
    const a = await author('b')
    const before = await a.commit(1, { [path('one')]: document() })
    const after = await a.commit(3, { [path('two')]: document() })
    const relay = await relayWith(function* (cursor) {
      if (cursor === 0) yield before
      if (cursor !== undefined) yield new Uint8Array(200_000)
      yield after
    })
    const live = follow(relay, [a], { maxMessageBytes: 100_000 })
    await until(() => live.saved.at(-1) === 3, 'the cursor')
    expect(relay.cursors).toEqual([0, 1, undefined])
    expect(live.handled).toEqual(['b/one', 'b/two'])
    expect(live.gaps).toEqual([{ from: 1, to: undefined, reason: 'too-long' }])
  })

  test('a frame larger than the protocol allows is not looked into', async () => {
    const a = await author('b')
    const good = await a.body(1, { [path('one')]: document('x'.repeat(60_000)) })
    const relay = await relayWith(function* () {
      yield messageOf('#commit', good)
    })
    const live = follow(relay, [a], { maxFrameBytes: 50_000 })
    await until(() => live.saved.at(-1) === 1, 'the cursor')
    expect(live.broken).toMatchObject([{ did: a.did, reason: expect.stringMatching(/bytes/) }])
    expect(live.handled).toEqual([])
  })

  test('frames of a kind of tomorrow move the cursor on', async () => {
    const relay = await relayWith(function* () {
      yield messageOf('#labels', { seq: 41, labels: [] })
    })
    const live = follow(relay, [])
    await until(() => live.saved.at(-1) === 41, 'the cursor')
  })
})

const withOp = (good: object, opPath: string) => {
  const [op] = (good as { ops: object[] }).ops
  return { ...good, ops: [{ ...op, path: opPath }] }
}

describe('a chain of commits', () => {
  test('with a commit missing: what came is applied, and the repo is replayed', async () => {
    const a = await author('b')
    const frames = [
      await a.commit(1, { [path('one')]: document() }),
      await a.commit(2, { [path('lost')]: document() }),
      await a.commit(3, { [path('three')]: document() }),
      await a.commit(4, { [path('four')]: document() }),
    ]
    const relay = await relayWith(function* () {
      for (const index of [0, 2, 3]) yield frames[index] ?? new Uint8Array()
    })
    const live = follow(relay, [a])
    await until(() => live.saved.at(-1) === 4, 'the cursor')
    await live.end()
    expect(live.handled).toEqual(['b/one', 'b/three', 'b/four'])
    expect(live.broken).toMatchObject([{ did: a.did, seq: 3, reason: expect.stringMatching(/follows/) }])
  })

  test('is followed over commits that hold nothing for us', async () => {
    const a = await author('b')
    const frames = [
      await a.commit(1, { [path('one')]: document() }),
      await a.commit(2, { [`${NOTE}/n`]: { $type: NOTE } }),
      await a.commit(3, { [path('three')]: document() }),
      await a.commit(4, { [`${NOTE}/lost`]: { $type: NOTE } }),
      await a.commit(5, { [`${NOTE}/m`]: { $type: NOTE } }),
    ]
    const relay = await relayWith(function* () {
      for (const index of [0, 1, 2, 4]) yield frames[index] ?? new Uint8Array()
    })
    const live = follow(relay, [a])
    await until(() => live.saved.at(-1) === 5, 'the cursor')
    expect(live.broken.map(({ seq }) => seq)).toEqual([5])
    expect(live.status.frames).toMatchObject({ handled: 2, unwanted: 1, broken: 1 })
  })

  test('a frame that comes twice is one', async () => {
    const a = await author('b')
    const frame = await a.commit(1, { [path('one')]: document() })
    const next = await a.commit(2, { [path('two')]: document() })
    const relay = await relayWith(function* () {
      for (const bytes of [frame, frame, next, frame]) yield bytes
    })
    const live = follow(relay, [a])
    await until(() => live.status.frames.old === 2, 'the old ones')
    expect(live.handled).toEqual(['b/one', 'b/two'])
    expect(live.broken).toEqual([])
  })

  test('a host whose every frame is broken costs one replay after the other, not one a frame', async () => {
    const a = await author('b')
    const bad: Uint8Array[] = []
    for (let seq = 1; seq <= 20; seq++) {
      bad.push(await a.commit(seq, { [path(`r${seq}`)]: document() }, { blocks: new Uint8Array() }))
    }
    const relay = await relayWith(function* () {
      yield* bad
    })
    let replays = 0
    const live = follow(relay, [a], {
      onBrokenRepo: async () => {
        replays++
        await sleep(200)
      },
    })
    await until(() => live.saved.at(-1) === 20, 'the cursor')
    expect(replays).toBeLessThanOrEqual(2)
  })
})

describe('a cursor', () => {
  const oneFrame = async (seq: number) => {
    const a = await author('b')
    return { a, frame: await a.commit(seq, { [path('one')]: document() }) }
  }

  test('that is too old: said, answered, and saved only then', async () => {
    const { a, frame } = await oneFrame(500)
    const relay = await relayWith(function* () {
      yield infoMessage('OutdatedCursor')
      yield frame
    })
    const replayed = Promise.withResolvers<void>()
    const gaps: Gap[] = []
    const live = follow(relay, [a], {
      cursor: 3,
      onGap: (gap) => {
        gaps.push(gap)
        return replayed.promise
      },
    })
    await until(() => live.handled.length === 1, 'the frame, live')
    await sleep(50)
    expect(gaps).toEqual([{ from: 3, to: undefined, reason: 'outdated-cursor' }])
    expect(live.saved).toEqual([])
    replayed.resolve()
    await until(() => live.saved.at(-1) === 500, 'the cursor')
  })

  test('of another relay, beyond this one: goes on from now', async () => {
    const { a, frame } = await oneFrame(7)
    const relay = await relayWith(function* (cursor) {
      if (cursor === undefined) yield frame
      else yield errorMessage('FutureCursor')
    })
    const live = follow(relay, [a], { cursor: 9_000_000 })
    await until(() => live.saved.at(-1) === 7, 'the cursor')
    expect(relay.cursors).toEqual([9_000_000, undefined])
    expect(live.gaps).toEqual([{ from: 9_000_000, to: undefined, reason: 'future-cursor' }])
  })

  test('from which the relay goes on much later, or earlier, without a word', async () => {
    for (const [cursor, reason] of [
      [1, 'skipped'],
      [90_000, 'future-cursor'],
    ] as const) {
      const { a, frame } = await oneFrame(50_000)
      const relay = await relayWith(function* () {
        yield frame
      })
      const live = follow(relay, [a], { cursor })
      await until(() => live.saved.at(-1) === 50_000, 'the cursor')
      expect(live.gaps).toEqual([{ from: cursor, to: 50_000, reason }])
      await live.end()
    }
  })

  test('that a relay takes to mean "with this one" is no gap', async () => {
    const { a, frame } = await oneFrame(50)
    const relay = await relayWith(function* () {
      yield frame
    })
    const live = follow(relay, [a], { cursor: 50 })
    await until(() => live.handled.length === 1, 'the frame')
    expect(live.gaps).toEqual([])
  })

  test('a gap that was known before the start is answered once the connection stands', async () => {
    const relay = await relayWith(() => [])
    const gap: Gap = { from: undefined, to: undefined, reason: 'other-relay' }
    const live = follow(relay, [], { cursor: undefined, gap })
    await until(() => live.gaps.length === 1, 'the gap')
    expect(live.gaps).toEqual([gap])
  })

  test('a gap that nobody answers ends the consumer, before it', async () => {
    const relay = await relayWith(function* () {
      yield infoMessage('OutdatedCursor')
    })
    const { done, saved } = follow(relay, [], { cursor: 3, onGap: undefined as never })
    await expect(done).rejects.toMatchObject({ name: 'RestoreError', hint: expect.any(String) })
    expect(saved).toEqual([])
  })
})

describe('a connection', () => {
  test('is opened again where it broke, however the relay ended it', async () => {
    const a = await author('b')
    const frames = [1, 2, 3]
    const bytes: Uint8Array[] = []
    for (const seq of frames) bytes.push(await a.commit(seq, { [path(`r${seq}`)]: document() }))
    const relay = await relayWith(function* (cursor, connection) {
      const next = bytes[cursor ?? 0]
      if (next !== undefined) yield next
      if (connection === 1) yield 'hang up' as const
      if (connection === 2) yield errorMessage('ConsumerTooSlow')
    })
    const live = follow(relay, [a])
    await until(() => live.handled.length === 3, 'all three')
    await live.end()
    expect(relay.cursors).toEqual([0, 1, 2])
    expect(live.handled).toEqual(['b/r1', 'b/r2', 'b/r3'])
    expect(live.gaps).toEqual([])
    expect(live.status).toMatchObject({ connections: 3, isConnected: false, savedSeq: 3 })
  })

  test('that broke before any frame leaves a gap', async () => {
    const relay = await relayWith(function* (_, connection) {
      if (connection === 1) yield 'hang up' as const
    })
    const live = follow(relay, [], { cursor: undefined })
    await until(() => live.gaps.length === 1, 'the gap')
    expect(live.gaps).toEqual([{ from: undefined, to: undefined, reason: 'no-position' }])
  })

  test('that cannot be had is tried until the end', async () => {
    const relay = await relayWith(() => [])
    await relay[Symbol.asyncDispose]()
    cleanups.length = 0
    const said: unknown[] = []
    const logger: Logger = { ...silentLogger, warn: (fields: unknown) => void said.push(fields) }
    const live = follow(relay, [], { logger })
    await until(() => said.length > 0, 'what is wrong')
    await live.end()
    expect(said).toMatchObject([{ reason: expect.stringContaining('ECONNREFUSED') }])
    expect(live.status.connections).toBe(0)
  })
})

describe('accounts and identities', () => {
  test('are told of in their order; a changed identity is looked up by nobody who does not need it', async () => {
    const a = await author('b')
    const frame = await a.commit(4, { [path('one')]: document() })
    const relay = await relayWith(function* () {
      yield messageOf('#identity', { seq: 1, time: '', did: a.did })
      yield messageOf('#account', { seq: 2, time: '', did: a.did, active: false, status: 'deactivated' })
      yield messageOf('#account', { seq: 3, time: '', did: a.did, active: true })
      yield frame
    })
    const told: object[] = []
    const identity = identityOf(a)
    let lookups = 0
    const live = follow(relay, [a], {
      identity: {
        ...identity,
        resolve: (did) => {
          lookups++
          return identity.resolve(did)
        },
      },
      onIdentity: async (each) => void told.push(each),
      onAccount: async (each) => void told.push(each),
    })
    await until(() => live.saved.at(-1) === 4, 'the cursor')
    expect(told).toEqual([
      { did: a.did, seq: 1 },
      { did: a.did, seq: 2, active: false, status: 'deactivated' },
      { did: a.did, seq: 3, active: true, status: undefined },
    ])
    expect(identity.cleared).toEqual([a.did])
    expect(lookups).toBe(1)
  })
})

describe('a sink that fails', () => {
  test('for one event: that one is kept, and what follows goes on', async () => {
    const a = await author('b')
    const frame = await a.commit(1, {
      [path('good')]: document(),
      [path('poison')]: document(),
      [path('z')]: document(),
    })
    const next = await a.commit(2, { [path('next')]: document() })
    const relay = await relayWith(function* () {
      yield frame
      yield next
    })
    const handled: string[] = []
    const kept: string[] = []
    const live = follow(relay, [a], {
      sink: {
        async handle({ rkey }) {
          if (rkey === 'poison') throw new Error('cannot')
          handled.push(rkey)
        },
        flush: async () => ({ cursor: undefined }),
      },
      attempts: 2,
      onFailedEvent: async ({ rkey }) => void kept.push(rkey),
    })
    await until(() => live.saved.at(-1) === 2, 'the cursor')
    expect(handled).toEqual(['good', 'z', 'next'])
    expect(kept).toEqual(['poison'])
    expect(live.status.failedEvents).toBe(1)
  })

  test('once: holds the order of its account, and others go past', async () => {
    const [a, b] = [await author('b'), await author('c')]
    const frames = [
      await a.commit(1, { [path('first')]: document() }),
      await a.commit(2, { [path('second')]: document() }),
      await b.commit(3, { [path('other')]: document() }),
    ]
    const relay = await relayWith(function* () {
      yield* frames
    })
    const handled: string[] = []
    let failures = 0
    const live = follow(relay, [a, b], {
      sink: {
        async handle({ rkey }) {
          if (rkey === 'first' && failures++ === 0) throw new Error('deadlock')
          handled.push(rkey)
        },
        flush: async () => ({ cursor: undefined }),
      },
    })
    await until(() => live.saved.at(-1) === 3, 'the cursor')
    expect(handled).toEqual(['other', 'first', 'second'])
  })

  test.each([new UnavailableError('away'), new ConfigError('wrong key')])(
    'as a whole ends the consumer before it: %s',
    async (failure) => {
      const a = await author('b')
      const frames = [
        await a.commit(1, { [path('one')]: document() }),
        await a.commit(2, { [path('two')]: document() }),
      ]
      const relay = await relayWith(function* () {
        yield* frames
      })
      const live = follow(relay, [a], {
        sink: {
          handle: async ({ rkey }) => {
            if (rkey === 'two') throw failure
          },
          flush: async () => ({ cursor: undefined }),
        },
      })
      await expect(live.done).rejects.toBe(failure)
      expect(live.saved.at(-1)).toBe(1)
    },
  )

  test('to flush, on a stream that has fallen silent, ends it too', async () => {
    const a = await author('b')
    const frame = await a.commit(1, { [path('one')]: document() })
    const relay = await relayWith(function* () {
      yield frame
    })
    const away = new UnavailableError('away')
    const live = follow(relay, [a], {
      sink: { handle: async () => undefined, flush: () => Promise.reject(away) },
    })
    await expect(live.done).rejects.toBe(away)
    expect(live.saved).toEqual([])
  })
})

describe('the end', () => {
  test('lets what is under way finish, and leaves the rest to the next run', async () => {
    const a = await author('b')
    const frames: Uint8Array[] = []
    for (let seq = 1; seq <= 5; seq++) frames.push(await a.commit(seq, { [path(`r${seq}`)]: document() }))
    const relay = await relayWith(function* (cursor) {
      yield* frames.slice(cursor)
    })
    const begun: string[] = []
    const slow = follow(relay, [a], {
      sink: {
        async handle({ rkey }) {
          begun.push(rkey)
          await sleep(100)
        },
        flush: async () => ({ cursor: undefined }),
      },
    })
    await until(() => begun.length === 2, 'the second')
    await slow.end()
    expect(begun).toEqual(['r1', 'r2'])
    expect(slow.saved.at(-1)).toBe(2)
    const next = follow(relay, [a], { cursor: 2 })
    await until(() => next.handled.length === 3, 'the rest')
    expect(next.handled).toEqual(['b/r3', 'b/r4', 'b/r5'])
  })

  test('waits for what hangs no longer than it was told to', async () => {
    const a = await author('b')
    const frame = await a.commit(1, { [path('one')]: document() })
    const relay = await relayWith(function* () {
      yield frame
    })
    const begun = Promise.withResolvers<void>()
    const live = follow(relay, [a], {
      sink: {
        handle: () => {
          begun.resolve()
          return new Promise<void>(() => undefined)
        },
        flush: async () => ({ cursor: undefined }),
      },
      drainMs: 50,
    })
    await begun.promise
    const startMs = performance.now()
    await live.end()
    expect(performance.now() - startMs).toBeLessThan(2000)
    expect(live.saved).toEqual([])
  })

  test('does not wait for a flush that hangs: the cursor stands, and that is said', async () => {
    const a = await author('b')
    const frame = await a.commit(1, { [path('one')]: document() })
    const relay = await relayWith(function* () {
      yield frame
    })
    const flushing = Promise.withResolvers<void>()
    const flushed = Promise.withResolvers<void>()
    const live = follow(relay, [a], {
      sink: {
        handle: async () => undefined,
        flush: async () => {
          flushing.resolve()
          await flushed.promise
          return { cursor: undefined }
        },
      },
      drainMs: 200,
    })
    await flushing.promise
    const startMs = performance.now()
    live.stop.abort()
    await expect(live.done).rejects.toBeInstanceOf(UnavailableError)
    expect(performance.now() - startMs).toBeLessThan(2000)
    flushed.resolve()
    await sleep(20)
    // By now another consumer may be further.
    expect(live.saved).toEqual([])
  })
})

describe('a replay that does not end', () => {
  const world = async () => {
    const [a, b] = [await author('b'), await author('c')]
    const tooLarge = await a.commit(1, { [path('one')]: document() }, { tooBig: true })
    const other = await b.commit(2, { [path('two')]: document() })
    const relay = await relayWith(function* (cursor) {
      yield* [tooLarge, other].slice(cursor)
    })
    return { relay, authors: [a, b] }
  }

  test('hears of it, notes the repo, and the stream goes on', async () => {
    const { relay, authors } = await world()
    const noted: string[] = []
    const live = follow(relay, authors, {
      maxReplayMs: 50,
      onBrokenRepo: async ({ did }, signal) => {
        await new Promise((resolve) => signal.addEventListener('abort', resolve))
        expect(signal.reason).toBeInstanceOf(UnavailableError)
        noted.push(did)
      },
    })
    await until(() => live.saved.at(-1) === 2, 'both frames')
    expect(noted).toEqual([authors[0]?.did])
    expect(live.handled).toEqual(['c/two'])
  })

  test('is not told so while there is time', async () => {
    const { relay, authors } = await world()
    let isAborted = true
    const live = follow(relay, authors, {
      maxReplayMs: 1000,
      onBrokenRepo: async (_, signal) => {
        await sleep(50)
        isAborted = signal.aborted
      },
    })
    await until(() => live.saved.at(-1) === 2, 'both frames')
    expect(isAborted).toBe(false)
  })
})

test('a relay that accepts connections and never answers is tried again, and not for ever waited for', async () => {
  const sockets: Socket[] = []
  const silent = createServer((socket) => void sockets.push(socket))
  silent.listen(0, '127.0.0.1')
  await once(silent, 'listening')
  cleanups.push(async () => {
    for (const socket of sockets) socket.destroy()
    silent.close()
  })
  const { port } = silent.address() as AddressInfo
  const said: unknown[] = []
  const logger: Logger = { ...silentLogger, warn: (fields: unknown) => void said.push(fields) }
  const relay = { url: `ws://127.0.0.1:${port}` } as FakeRelay
  const live = follow(relay, [], { handshakeTimeoutMs: 50, logger })
  await until(() => sockets.length === 2, 'a second connection')
  expect(said[0]).toMatchObject({
    reason: expect.stringContaining('no answer within 50 ms'),
  })
  expect(live.status).toMatchObject({ isConnected: false, connections: 0 })
  await live.end()
})
