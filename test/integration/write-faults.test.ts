import { setTimeout as wait } from 'node:timers/promises'
import { afterAll, afterEach, beforeAll, describe, expect, test, vi } from 'vitest'
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
import type { Session, SessionProvider } from '../../src/pds/session.ts'
import { appPasswordSessions } from '../../src/pds/sessions/app-password.ts'
import type { RecordToWrite } from '../../src/pds/write.ts'
import { cidOfRecord } from '../../src/repo/record.ts'
import { Cleanup } from '../../src/stack/cleanup.ts'
import { type Stack, startStack } from '../../src/stack/index.ts'
import { startInngest } from '../../src/stack/inngest/index.ts'
import { fetchAs, sessionAs } from './account-writes.ts'
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
    expect(world.spent()).toEqual({ commits: plan.commits, points: plan.points })
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
    const plan = await world.plan(records)
    expect(plan).toMatchObject({ commits: 1, points: 20 * 3 + 10 * 2 })
    world.proxy.next = ['lose']
    expect(await world.write(records)).toMatchObject({ outcomes: { created: 20, overwritten: 10 } })
    expect(world.spent()).toEqual({ commits: plan.commits, points: plan.points })
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
    expect(world.spent()).toEqual({ commits: 0, points: 0 })
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
    expect(world.spent()).toEqual({ commits: 0, points: 0 })
    await world.expectAll([])
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
    expect(world.spent()).toEqual({ commits: 3, points: 1350 })
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
    // The refused batch took what was left of the hour with it.
    expect(world.spent()).toEqual({ commits: 2, points: 750 + 600 })
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
    // The host takes about 28 of them at a time, and a request that it does not read costs nothing.
    expect(plan.commits).toBe(2)
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
    // All are halved by bytes until the large one is alone: what is before it, and what is after it.
    expect(world.sizes()).toEqual([20, 20])
    expect(world.spent()).toEqual({ commits: 2, points: 40 * 3 })
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
    // It is searched for by halves; what is behind it goes in batches half as large, and then whole.
    expect(world.sizes()).toEqual([50, 25, 1, 1, 100, 100, 22])
    expect(world.spent()).toEqual({ commits: 7, points: 299 * 3 })
    await world.expectAll(records.filter(({ rkey }) => rkey !== 'doc-77'))
  })

  test('for two neighbours, always: they alone are failed, in the next run as well', async () => {
    await using world = await startWorld({ perHour: 100_000, perDay: 100_000 })
    world.proxy.bypassKey = stack.pds.rateLimitBypassKey
    const bad = ['doc-7', 'doc-8']
    world.proxy.decide = ({ operations }) =>
      operations.some(({ rkey }) => bad.includes(rkey)) ? { status: 500 } : 'pass'
    const records = documents(60)
    for (const written of [58, 0]) {
      const summary = await world.write(records)
      expect(summary).toMatchObject({ success: false, recordsWritten: written, outcomes: { failed: 2 } })
      expect(summary.notWritten.map(({ rkey }) => rkey)).toEqual(bad)
    }
    expect(world.spent().points).toBe(58 * 3)
    await world.expectAll(records.filter(({ rkey }) => !bad.includes(rkey)))
  })

  test('for everything is an outage: nothing is failed, the run ends and can go on', async () => {
    await using world = await startWorld()
    world.proxy.decide = () => ({ status: 500 })
    const records = documents(60)
    await expect(world.write(records)).rejects.toMatchObject({ name: 'UnavailableError', exitCode: 75 })
    expect(world.spent()).toEqual({ commits: 0, points: 0 })
    await world.expectAll([])
    world.proxy.decide = () => 'pass'
    expect(await world.write(records)).toMatchObject({ success: true, recordsWritten: 60 })
    expect(world.spent()).toEqual({ commits: 1, points: 180 })
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
    // The first call was refused, at its full price; half as many go next, and then what is left.
    expect(world.proxy.calls.map(({ status, operations }) => [status, operations.length])).toEqual([
      [400, 200],
      [200, 200],
      [200, 80],
    ])
    expect(world.spent()).toEqual({ commits: plan.commits, points: plan.points + 600 - 60 })
  })
})

describe('refusals for good', () => {
  const refused = { status: 403, error: 'Forbidden', message: 'no' }

  test('of single records cost those, and few points more', async () => {
    await using world = await startWorld()
    const bad = ['doc-30', 'doc-210']
    world.proxy.decide = ({ operations }) =>
      operations.some(({ rkey }) => bad.includes(rkey)) ? refused : 'pass'
    const records = documents(300)
    const summary = await world.write(records)
    expect(summary).toMatchObject({ success: false, recordsWritten: 298, outcomes: { failed: 2 } })
    expect(summary.notWritten.map(({ rkey }) => rkey)).toEqual(bad)
    expect(world.spent().points).toBe(298 * 3)
    expect(world.proxy.calls.length).toBeLessThan(2 + 2 * 2 * Math.log2(200))
    await world.expectAll(records.filter(({ rkey }) => !bad.includes(rkey)))
  })

  test('of everything end the run with the refusal, before the points are gone', async () => {
    await using world = await startWorld()
    world.proxy.decide = () => refused
    const records = documents(1000)
    await expect(world.write(records)).rejects.toMatchObject({
      name: 'PdsError',
      error: 'Forbidden',
      exitCode: 3,
    })
    expect(world.proxy.calls.map(({ operations }) => operations.length)).toEqual([
      200, 100, 50, 25, 12, 6, 3, 1, 1, 1, 1, 1, 1,
    ])
    world.proxy.decide = () => 'pass'
    expect(await world.write(records.slice(0, 300))).toMatchObject({ success: true, recordsWritten: 300 })
  })
})

describe('a second writer', () => {
  test('that commits all the time: one refused batch, then no call depends on theirs', async () => {
    await using world = await startWorld({ perHour: 100_000, perDay: 100_000 })
    world.proxy.bypassKey = stack.pds.rateLimitBypassKey
    world.proxy.delayMs = 200
    const before = documents(5, { title: 'made again' })
    await world.outside.applyWrites(operations(before))
    const stop = new AbortController()
    const others = world.keepWriting(100, stop.signal)
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
    // What was to be five commits: the overwrites are one each now.
    expect(world.spent()).toEqual({ commits: 5 + 5, points: plan.points + burned })
    // The five overwrites one by one: a swap of the record, not of the commit.
    expect(world.sizes().filter((size) => size === 1)).toHaveLength(5)
  })

  test('that commits once a second: one batch is refused at its full price, and none after it', async () => {
    await using world = await startWorld()
    world.proxy.delayMs = 350
    // Its first commit comes after the plan was made, whatever the clock says.
    world.beforeFirstWrite = () => world.outside.applyWrites(operations(documents(1, {}, 'other-first-')))
    const stop = new AbortController()
    const records = documents(900)
    const plan = await world.plan(records)
    const others = world.keepWriting(1000, stop.signal)
    const summary = await world.write(records)
    stop.abort()
    expect(await others).toBeGreaterThan(1)
    expect(summary).toMatchObject({ success: true, outcomes: { created: 900 } })
    await world.expectAll(records, 'doc-')
    expect(world.proxy.calls.filter(({ status }) => status !== 200)).toMatchObject([{ error: 'InvalidSwap' }])
    expect(plan).toMatchObject({ commits: 5, points: 2700 })
    expect(world.spent()).toEqual({ commits: plan.commits, points: plan.points + 600 })
  })

  test('that writes the same records: each call that meets one of theirs fails whole, and the next is half as large', async () => {
    await using world = await startWorld()
    const records = documents(400)
    const plan = await world.plan(records)
    let meetings = 3
    world.proxy.beforeWrite = async (call) => {
      if (meetings-- <= 0) return
      const theirs = call.operations.slice(-10).map(({ rkey }) => rkey)
      await world.outside.applyWrites(operations(records.filter(({ rkey }) => theirs.includes(rkey))))
    }
    expect(await world.write(records)).toMatchObject({ success: true, recordsWritten: 400 })
    expect(world.proxy.calls.map(({ error, operations }) => [error, operations.length])).toEqual([
      // From here on no call depends on another's commits, only on what is there under its keys.
      ['InvalidSwap', 200],
      ['InternalServerError', 200],
      ['InternalServerError', 100],
      [undefined, 50],
      [undefined, 100],
      [undefined, 200],
      [undefined, 20],
    ])
    expect(plan).toMatchObject({ commits: 2, points: 1200 })
    // Thirty of them are theirs; the host counts the three calls that it refused.
    expect(world.spent()).toEqual({ commits: 4, points: 370 * 3 + 600 + 600 + 300 })
    await world.expectAll(records)
  })
})

describe('a session', () => {
  /** Date alone: timers and the network go on. The PDS runs in this process and lives in the same time. */
  const passMs = (ms: number) => vi.useFakeTimers({ toFake: ['Date'], now: Date.now() + ms })

  afterEach(() => {
    vi.useRealTimers()
  })

  /** Once, when the second batch is on its way. */
  const atSecondBatch = (world: World, happens: () => Promise<unknown>): void => {
    world.proxy.beforeWrite = async () => {
      if (world.proxy.calls.length === 2) await happens()
    }
  }

  test('that expires is renewed, and the batch that met it goes once', async () => {
    await using world = await startWorld()
    const records = documents(450)
    const plan = await world.plan(records)
    atSecondBatch(world, async () => passMs(3 * HOUR_MS))
    expect(await world.write(records)).toMatchObject({ success: true, recordsWritten: 450, batchCount: 3 })
    // The PDS looks at the session before it counts anything.
    expect(world.proxy.calls.map(({ status, error }) => error ?? status)).toEqual([
      200,
      'ExpiredToken',
      200,
      200,
    ])
    expect(world.spent()).toEqual({ commits: plan.commits, points: plan.points })
    await world.expectAll(records)
  })

  test('that expires and was revoked ends the run with what to do next, and another one goes on from there', async () => {
    await using world = await startWorld()
    const records = documents(450)
    const plan = await world.plan(records)
    const { password } = world
    const made = await world.asOwner('createAppPassword', { name: 'restore' })
    world.password = String(made.password)
    atSecondBatch(world, async () => {
      await world.asOwner('revokeAppPassword', { name: 'restore' })
      passMs(3 * HOUR_MS)
    })
    await expect(world.write(records)).rejects.toMatchObject({
      name: 'SessionError',
      hint: expect.stringMatching(/^Log in again.*run the same command again/),
    })
    expect(world.spent()).toEqual({ commits: 1, points: 600 })
    await world.expectAll(records.slice(0, 200))
    world.password = password
    expect(await world.write(records)).toMatchObject({
      success: true,
      recordsWritten: 250,
      outcomes: { same: 200, created: 250 },
    })
    expect(world.spent()).toEqual({ commits: plan.commits, points: plan.points })
    await world.expectAll(records)
  })

  test('of an account that is deactivated meanwhile ends the run, and it goes on when it is active again', async () => {
    await using world = await startWorld()
    const records = documents(450)
    const plan = await world.plan(records)
    atSecondBatch(world, () => world.asOwner('deactivateAccount', {}))
    await expect(world.write(records)).rejects.toMatchObject({ name: 'SessionError' })
    await world.asOwner('activateAccount')
    expect(world.spent()).toEqual({ commits: 1, points: 600 + 600 })
    await world.expectAll(records.slice(0, 200))
    expect(await world.write(records)).toMatchObject({ success: true, recordsWritten: 250 })
    // The PDS looks at the account after it has counted.
    expect(world.spent()).toEqual({ commits: plan.commits, points: plan.points + 600 })
    await world.expectAll(records)
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
  /** What the next login is made with. @defaultValue the account's own */
  password: string
  /** As the account's owner, past the proxy. */
  asOwner(method: string, body?: object): Promise<JsonObject>
  /** Returns how many records it wrote. */
  keepWriting(everyMs: number, signal: AbortSignal): Promise<number>
}

/** One account, a proxy with faults before its PDS, and a clock that jumps. */
async function startWorld(pointLimits?: PointLimits): Promise<World> {
  const account = await stack.createAccount(`faults${++accountCount}.test`)
  const { did } = account
  const proxy = await startFaultProxy(account.pdsUrl)
  const network = localNetwork()
  let { password } = account
  const provider = appPasswordSessions(() => password, {
    identity: network.identity,
    fetch: proxy.fetch(createFetch({ allowLocalhost: true })),
  })
  const outside = await sessionAs(account)
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
  const ended = new AbortController()
  const others: Promise<number>[] = []
  const world: World = {
    did,
    proxy,
    network,
    sessionProvider,
    outside,
    get password() {
      return password
    },
    set password(other) {
      password = other
    },
    async asOwner(method, body) {
      const response = await fetchAs(account, `/xrpc/com.atproto.server.${method}`, {
        method: 'POST',
        ...(body && { body: JSON.stringify(body), headers: { 'content-type': 'application/json' } }),
      })
      const text = await response.text()
      if (!response.ok) throw new Error(`${method}: ${response.status} ${text}`)
      return text === '' ? {} : JSON.parse(text)
    },
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
    keepWriting(everyMs, given) {
      const signal = AbortSignal.any([given, ended.signal])
      const writing = (async () => {
        let count = 0
        for (; !signal.aborted; count++) {
          await outside.applyWrites(operations(documents(1, {}, `other-${count}-`)))
          await wait(everyMs, undefined, { signal }).catch(() => undefined)
        }
        return count
      })()
      others.push(writing)
      return writing
    },
    async [Symbol.asyncDispose]() {
      ended.abort()
      await Promise.all(others)
      await proxy[Symbol.asyncDispose]()
    },
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
