import { setTimeout as wait } from 'node:timers/promises'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import type { JsonObject } from '../../src/events.ts'
import {
  createInngest,
  createWriteRecords,
  serveFunctions,
  type WriteSummary,
  writeLocally,
  writeThroughInngest,
} from '../../src/inngest/index.ts'
import { createFetch } from '../../src/network/fetch.ts'
import { createIdentity } from '../../src/network/identity.ts'
import { createXrpc } from '../../src/network/xrpc.ts'
import { newBudget, type PointLimits } from '../../src/pds/budget.ts'
import { lostRecordOf } from '../../src/pds/lost-record.ts'
import { planWrite, type WritePlan } from '../../src/pds/plan.ts'
import { fetchRepo } from '../../src/pds/repo.ts'
import { openSession, type Session, type SessionProvider } from '../../src/pds/session.ts'
import { appPasswordSessions } from '../../src/pds/sessions/app-password.ts'
import type { RecordToWrite } from '../../src/pds/write.ts'
import { cidOfRecord } from '../../src/repo/record.ts'
import { Cleanup } from '../../src/stack/cleanup.ts'
import { type Stack, startStack } from '../../src/stack/index.ts'
import { startInngest } from '../../src/stack/inngest/index.ts'
import { type FaultProxy, startFaultProxy } from './fault-proxy.ts'

const COLLECTION = 'site.standard.document'
const HOUR_MS = 60 * 60 * 1000

let stack: Stack
let accountCount = 0

beforeAll(async () => {
  stack = await startStack({ rateLimits: true })
})

afterAll(async () => {
  await stack?.[Symbol.asyncDispose]()
})

describe('without faults', () => {
  test('commits and points are as planned', async () => {
    await using world = await startWorld()
    const records = documents(450)
    const plan = await world.plan(records)
    expect(plan).toMatchObject({ way: 'applyWrites', commits: 3, points: 1350, counts: { create: 450 } })
    const summary = await world.write(records)
    expect(summary).toMatchObject({ success: true, recordsWritten: 450, batchCount: 3 })
    expect(world.spent()).toEqual({ commits: plan.commits, points: plan.points })
    await world.expectAll(records)
  })

  test('putRecord is taken where it ends sooner, and stays within the limit', async () => {
    await using world = await startWorld({ perHour: 200, perDay: 1000 })
    const records = documents(90)
    const plan = await world.plan(records)
    expect(plan).toMatchObject({ way: 'putRecord', commits: 90, points: 180 })
    expect(plan.why).toMatch(/^putRecord ends in 2 s .*applyWrites in 1 h/)
    expect(await world.write(records)).toMatchObject({ success: true, recordsWritten: 90, batchCount: 90 })
    expect(world.spent()).toEqual({ commits: 90, points: 180 })
    expect(world.waits).toEqual([])
    await world.expectAll(records)
  })

  test('the last batch before the limit is cut to what is left, and the rest waits for the hour to end', async () => {
    await using world = await startWorld({ perHour: 1000, perDay: 35_000 })
    const records = documents(600)
    const plan = await world.plan(records)
    // 200 and 133 in the first hour. By putRecord it would be 500 and 100: as many hours, and more commits.
    expect(plan).toMatchObject({ way: 'applyWrites', commits: 4, points: 1800 })
    expect(plan.estimateMs).toBeGreaterThanOrEqual(HOUR_MS)
    const startMs = world.clock.now()
    expect(await world.write(records)).toMatchObject({ success: true, recordsWritten: 600 })
    expect(world.sizes()).toEqual([200, 133, 200, 67])
    expect(world.waits).toHaveLength(1)
    expect(world.waits[0]).toBeGreaterThanOrEqual(startMs + HOUR_MS)
    expect(world.waits[0]).toBeLessThan(startMs + HOUR_MS + 10_000)
    await world.expectAll(records)
  })
})

describe('answers that are lost', () => {
  test.each(['lose', 'reset'] as const)('%s: nothing is written twice', async (fault) => {
    await using world = await startWorld()
    world.proxy.next = ['pass', fault]
    const records = documents(450)
    const plan = await world.plan(records)
    expect(await world.write(records)).toMatchObject({
      success: true,
      recordsWritten: 450,
      outcomes: { created: 450 },
    })
    await world.expectAll(records)
    expect(world.spent()).toEqual({ commits: plan.commits, points: plan.points })
  })

  test('by putRecord', async () => {
    await using world = await startWorld({ perHour: 200, perDay: 1000 })
    world.proxy.next = ['pass', 'lose', 'reset', 'lose']
    const records = documents(80)
    expect(await world.write(records)).toMatchObject({ recordsWritten: 80, outcomes: { created: 80 } })
    expect(world.spent()).toEqual({ commits: 80, points: 160 })
    await world.expectAll(records)
  })

  test('of an overwrite', async () => {
    await using world = await startWorld()
    const records = documents(30)
    await world.outside.applyWrites(operations(documents(10, { title: 'made again' })))
    world.proxy.next = ['lose']
    expect(await world.write(records)).toMatchObject({ outcomes: { created: 20, overwritten: 10 } })
    expect(world.spent()).toEqual({ commits: 1, points: 20 * 3 + 10 * 2 })
    await world.expectAll(records)
  })
})

describe('rate limits of the host', () => {
  const limited = { status: 429, error: 'RateLimitExceeded', message: 'Rate Limit Exceeded' }

  test('429 with Retry-After is waited out', async () => {
    await using world = await startWorld()
    world.proxy.next = ['pass', { ...limited, headers: { 'retry-after': '900' } }]
    const records = documents(450)
    const startMs = Date.now()
    expect(await world.write(records)).toMatchObject({ success: true, recordsWritten: 450, batchCount: 3 })
    expect(world.waits).toHaveLength(1)
    expect(Math.round(((world.waits[0] ?? 0) - startMs) / 60_000)).toBe(15)
    expect(world.spent()).toEqual({ commits: 3, points: 1350 })
    await world.expectAll(records)
  })

  test('429 that says nothing is asked again after ever longer pauses', async () => {
    await using world = await startWorld()
    world.proxy.next = ['pass', limited, limited, limited]
    const records = documents(300)
    const startMs = Date.now()
    expect(await world.write(records)).toMatchObject({ success: true, recordsWritten: 300 })
    const minutes = world.waits.map((untilMs, index) =>
      Math.round((untilMs - (world.waits[index - 1] ?? startMs)) / 60_000),
    )
    expect(minutes).toEqual([1, 1, 2])
    expect(world.spent()).toEqual({ commits: 2, points: 900 })
    await world.expectAll(records)
  })

  test('429 for ever ends the run, with the time of the next try', async () => {
    await using world = await startWorld()
    world.proxy.decide = () => limited
    await expect(world.write(documents(3))).rejects.toMatchObject({
      name: 'UnavailableError',
      retryAtMs: expect.any(Number),
    })
    expect(world.waits).toHaveLength(7)
    await world.expectAll([])
  })

  test('a wait ends when the run is told to stop', async () => {
    await using world = await startWorld()
    world.proxy.decide = () => ({ ...limited, headers: { 'retry-after': '3000' } })
    const stop = new AbortController()
    const onWait = () => setTimeout(() => stop.abort(new Error('enough')), 20)
    await expect(
      world.write(documents(3), { onWait, signal: stop.signal, clock: undefined }),
    ).rejects.toThrow('enough')
  })

  test("the real PDS's headers are believed: no batch is refused", async () => {
    await using world = await startWorld()
    // Someone has spent 4,200 of the account's 5,000 points.
    for (let part = 0; part < 7; part++)
      await world.outside.applyWrites(operations(documents(200, {}, `part-${part}-`)))
    world.atWait = () => {
      world.proxy.bypassKey = stack.pds.rateLimitBypassKey
    }
    const records = documents(450)
    const startMs = Date.now()
    expect(await world.write(records)).toMatchObject({ success: true, recordsWritten: 450 })
    expect(world.proxy.calls.map(({ status }) => status)).toEqual([200, 200, 200])
    expect(world.sizes()).toEqual([200, 66, 184])
    expect(world.waits).toHaveLength(1)
    expect(world.waits[0]).toBeGreaterThan(startMs + HOUR_MS / 2)
    await world.expectAll(records, 'doc-')
  })

  test("the real PDS's 429 says until when", async () => {
    await using world = await startWorld()
    for (let part = 0; part < 8; part++)
      await world.outside.applyWrites(operations(documents(200, {}, `part-${part}-`)))
    world.atWait = () => {
      world.proxy.bypassKey = stack.pds.rateLimitBypassKey
    }
    const records = documents(250)
    const startMs = Date.now()
    expect(await world.write(records)).toMatchObject({ success: true, recordsWritten: 250 })
    expect(world.proxy.calls.map(({ status }) => status)).toEqual([429, 200, 200])
    expect(world.waits).toHaveLength(1)
    expect(world.waits[0]).toBeGreaterThan(startMs + HOUR_MS / 2)
    expect(world.waits[0]).toBeLessThan(startMs + HOUR_MS + 10_000)
    await world.expectAll(records, 'doc-')
  })
})

describe('requests that are too large', () => {
  const LIMIT = 150_000

  test('are halved until they pass, and the size is remembered', async () => {
    await using world = await startWorld()
    world.proxy.decide = ({ bodyBytes }) =>
      bodyBytes > LIMIT
        ? { status: 413, error: 'PayloadTooLarge', message: 'request entity too large' }
        : 'pass'
    const records = documents(200, { textContent: 'x'.repeat(5000) })
    const plan = await world.plan(records)
    expect(await world.write(records)).toMatchObject({ success: true, recordsWritten: 200 })
    const refused = world.proxy.calls.filter(({ status }) => status === undefined)
    expect(refused).toHaveLength(3)
    expect(world.proxy.calls.slice(3).every(({ status }) => status === 200)).toBe(true)
    expect(world.spent()).toEqual({ commits: 9, points: plan.points })
    await world.expectAll(records)
  })

  test('down to the single record that is too large for the host, which alone is refused', async () => {
    await using world = await startWorld()
    // As a proxy before the host answers: no XRPC error in it.
    world.proxy.decide = ({ bodyBytes }) => (bodyBytes > LIMIT ? { status: 413 } : 'pass')
    const [large] = documents(1, { textContent: 'x'.repeat(200_000) }, 'large-')
    if (large === undefined) throw new Error('no document')
    const small = documents(40)
    const summary = await world.write([...small.slice(0, 20), large, ...small.slice(20)])
    expect(summary).toMatchObject({ success: false, recordsWritten: 40, outcomes: { refused: 1 } })
    expect(summary.notWritten).toMatchObject([
      { rkey: 'large-0', reason: expect.stringContaining('as large') },
    ])
    await world.expectAll(small)
  })
})

describe('500', () => {
  test('once, without effect', async () => {
    await using world = await startWorld()
    world.proxy.next = ['pass', { status: 500 }]
    const records = documents(450)
    expect(await world.write(records)).toMatchObject({ success: true, recordsWritten: 450 })
    // The second batch goes again as 100, in case one of its records was the reason, and the rest follows whole.
    expect(world.sizes()).toEqual([200, 100, 150])
    expect(world.spent()).toEqual({ commits: 3, points: 1350 })
    await world.expectAll(records)
  })

  test('for one record, always: it alone is failed', async () => {
    await using world = await startWorld({ perHour: 100_000, perDay: 100_000 })
    world.proxy.bypassKey = stack.pds.rateLimitBypassKey
    world.proxy.decide = ({ operations }) =>
      operations.some(({ rkey }) => rkey === 'doc-77') ? { status: 500 } : 'pass'
    const records = documents(300)
    const summary = await world.write(records)
    expect(summary).toMatchObject({ success: false, recordsWritten: 299, outcomes: { failed: 1 } })
    expect(summary.notWritten).toMatchObject([{ rkey: 'doc-77', outcome: 'failed' }])
    await world.expectAll(records.filter(({ rkey }) => rkey !== 'doc-77'))
  })

  test('for everything is an outage: nothing is failed, the run ends and can go on', async () => {
    await using world = await startWorld()
    world.proxy.decide = () => ({ status: 500 })
    const records = documents(60)
    await expect(world.write(records)).rejects.toMatchObject({ name: 'UnavailableError', exitCode: 75 })
    await world.expectAll([])
    world.proxy.decide = () => 'pass'
    expect(await world.write(records)).toMatchObject({ success: true, recordsWritten: 60 })
    await world.expectAll(records)
  })

  test('because some of the records are there already: those are not written', async () => {
    await using world = await startWorld()
    const records = documents(300)
    world.proxy.decide = () => 'pass'
    const plan = await world.plan(records)
    // After the plan step, before the first batch: the plan's head is out of date and says nothing of these.
    world.beforeFirstWrite = () => world.outside.applyWrites(operations(records.slice(100, 120)))
    expect(await world.write(records)).toMatchObject({ success: true, recordsWritten: 300 })
    await world.expectAll(records)
    // The first call was refused, at its full price.
    expect(world.spent().points).toBe(plan.points + 600 - 60)
  })
})

describe('a second writer', () => {
  test('that commits all the time: one refused batch, then no call depends on theirs', async () => {
    await using world = await startWorld({ perHour: 100_000, perDay: 100_000 })
    world.proxy.bypassKey = stack.pds.rateLimitBypassKey
    world.proxy.delayMs = 400
    const before = documents(5, { title: 'made again' })
    await world.outside.applyWrites(operations(before))
    const stop = new AbortController()
    const others = world.keepWriting(250, stop.signal)
    const records = documents(900)
    const plan = await world.plan(records)
    const summary = await world.write(records)
    stop.abort()
    const otherRecords = await others
    expect(otherRecords).toBeGreaterThan(4)
    expect(summary).toMatchObject({ success: true, outcomes: { created: 895, overwritten: 5 } })
    await world.expectAll(records, 'doc-')
    const refused = world.proxy.calls.filter(({ status }) => status !== 200)
    expect(refused).toHaveLength(1)
    expect(plan).toMatchObject({ points: 895 * 3 + 10, commits: 5 })
    const burned = refused.flatMap(({ operations }) => operations).length * 3 - 5
    expect(world.spent().points).toBe(plan.points + burned)
    // The five overwrites one by one: a swap of the record, not of the commit.
    expect(world.sizes().filter((size) => size === 1)).toHaveLength(5)
  })

  test('that commits once a second', async () => {
    await using world = await startWorld()
    world.proxy.delayMs = 350
    const stop = new AbortController()
    const others = world.keepWriting(1000, stop.signal)
    const records = documents(900)
    const summary = await world.write(records)
    stop.abort()
    await others
    expect(summary).toMatchObject({ success: true, outcomes: { created: 900 } })
    await world.expectAll(records, 'doc-')
    expect(world.proxy.calls.filter(({ status }) => status !== 200).length).toBeLessThanOrEqual(1)
    expect(world.proxy.commits()).toBe(5)
  })
})

describe('through Inngest', () => {
  test('the wait is a sleep of the run, and the budget goes on after it', async () => {
    await using world = await startWorld()
    const cleanup = new Cleanup()
    try {
      const sleeps: number[] = []
      let nowMs = Date.now()
      const inngest = cleanup.use(
        await startInngest({
          now: () => nowMs,
          delay: async (ms) => {
            sleeps.push(ms)
            nowMs += ms
          },
        }),
      )
      const settings = { baseUrl: inngest.baseUrl, eventKey: inngest.eventKey, isDev: true }
      const client = createInngest(settings)
      const { network, sessionProvider } = world
      world.proxy.next = ['pass', { status: 429, headers: { 'retry-after': '1200' } }]
      const functions = [createWriteRecords({ inngest: client, sessionProvider, network, now: () => nowMs })]
      const served = cleanup.use(await serveFunctions({ inngest: client, functions }))
      await inngest.register(served.url)
      const records = documents(450)
      const summary = await writeThroughInngest({ did: world.did, records, pollMs: 20, inngest: settings })
      expect(summary).toMatchObject({ success: true, recordsWritten: 450, batchCount: 3 })
      await world.expectAll(records)
      expect(sleeps.filter((ms) => ms > 1_100_000 && ms < 1_260_000)).toHaveLength(1)
      expect(world.spent()).toEqual({ commits: 3, points: 1350 })
    } finally {
      await cleanup[Symbol.asyncDispose]()
    }
  })
})

// ---------------------------------------------------------------- what the tests stand on

interface World extends AsyncDisposable {
  did: string
  proxy: FaultProxy
  network: ReturnType<typeof localNetwork>
  sessionProvider: SessionProvider
  /** Another client of the same account, past the proxy. */
  outside: Session
  /** Until when each wait was. */
  waits: number[]
  atWait: () => void
  beforeFirstWrite: (() => Promise<unknown>) | undefined
  clock: { now(): number; waitUntil(ms: number): Promise<void> }
  plan(records: readonly RecordToWrite[]): Promise<WritePlan>
  write(records: readonly RecordToWrite[], overrides?: object): Promise<WriteSummary>
  /** As the proxy saw it. */
  spent(): { commits: number; points: number }
  /** Records in each call that the host took. */
  sizes(): number[]
  /** Each record once and with the CID it had; no other under this prefix. */
  expectAll(records: readonly RecordToWrite[], prefix?: string): Promise<void>
  /** Returns how many records it wrote. */
  keepWriting(everyMs: number, signal: AbortSignal): Promise<number>
}

/** One account, a proxy with faults before its PDS, and a clock that jumps. */
async function startWorld(pointLimits?: PointLimits): Promise<World> {
  const account = await stack.createAccount(`faults${++accountCount}.test`)
  const { did } = account
  const proxy = await startFaultProxy(account.pdsUrl)
  const network = localNetwork()
  const fetch = createFetch({ allowLocalhost: true })
  const sessions = (through: typeof fetch) =>
    appPasswordSessions(() => account.password, { identity: network.identity, fetch: through })
  const provider = sessions(proxy.fetch(fetch))
  const outside = await openSession(did, sessions(fetch))
  let isFirst = true
  const sessionProvider: SessionProvider = async (did) => {
    const inner = await provider(did)
    return async (path, init) => {
      if (isFirst && path.includes('applyWrites')) {
        isFirst = false
        await world.beforeFirstWrite?.()
      }
      return inner(path, init)
    }
  }
  let passedMs = 0
  const world: World = {
    did,
    proxy,
    network,
    sessionProvider,
    outside,
    waits: [],
    atWait: () => undefined,
    beforeFirstWrite: undefined,
    clock: {
      now: () => Date.now() + passedMs,
      async waitUntil(ms) {
        world.waits.push(ms)
        world.atWait()
        passedMs = Math.max(passedMs, ms - Date.now())
      },
    },
    async plan(records) {
      const lost = records.map(({ collection, rkey, record }) =>
        lostRecordOf(
          { uri: `at://${did}/${collection}/${rkey}`, recordColumn: 'data', row: { data: record } },
          EMPTY_APPVIEW,
          undefined,
        ),
      )
      return planWrite(lost, await fetchRepo(did, network), 'overwrite', undefined, {
        budget: newBudget(pointLimits),
      })
    },
    write: (records, overrides = {}) =>
      writeLocally({
        did,
        records,
        sessionProvider,
        network,
        clock: world.clock,
        ...(pointLimits === undefined ? {} : { pointLimits }),
        ...overrides,
      }),
    spent: () => ({ commits: proxy.commits(), points: proxy.points() }),
    sizes: () =>
      proxy.calls.filter(({ status }) => status === 200).map(({ operations }) => operations.length),
    async expectAll(records, prefix = '') {
      const repo = await fetchRepo(did, network)
      const found = [...repo.records()].filter(({ rkey }) => rkey.startsWith(prefix))
      const cids = Object.fromEntries(found.map(({ rkey, cid }) => [rkey, cid.toString()]))
      expect(cids).toEqual(Object.fromEntries(records.map(({ rkey, record }) => [rkey, cidOfRecord(record)])))
    },
    async keepWriting(everyMs, signal) {
      let count = 0
      for (; !signal.aborted; count++) {
        await outside.applyWrites(operations(documents(1, {}, `other-${count}-`)))
        await wait(everyMs, undefined, { signal }).catch(() => undefined)
      }
      return count
    },
    [Symbol.asyncDispose]: () => proxy[Symbol.asyncDispose](),
  }
  return world
}

const EMPTY_APPVIEW = {
  name: 'none',
  handlers: [],
  roots: [],
  sections: {},
  sensitiveColumns: [],
  untouchableTables: [],
  guardTables: [],
}

function localNetwork() {
  return {
    identity: createIdentity({ plcUrl: stack.plcUrl, allowLocalhost: true }),
    xrpc: createXrpc({ fetch: createFetch({ allowLocalhost: true }) }),
  }
}

function documents(count: number, extra: JsonObject = {}, prefix = 'doc-'): RecordToWrite[] {
  return Array.from({ length: count }, (_, index) => ({
    collection: COLLECTION,
    rkey: `${prefix}${index}`,
    record: {
      $type: COLLECTION,
      site: 'https://example.com',
      title: `Document ${prefix}${index}`,
      publishedAt: '2026-01-01T00:00:00.000Z',
      ...extra,
    },
  }))
}

function operations(records: readonly RecordToWrite[]) {
  return records.map(({ collection, rkey, record }) => ({
    $type: 'com.atproto.repo.applyWrites#create' as const,
    collection,
    rkey,
    value: record,
  }))
}
