/** What is replayed after a gap, and what a window of the past may say of it: real PDS, real tables. */

import { afterAll, beforeAll, beforeEach, expect, test } from 'vitest'
import { leaflet } from '../../src/appview/leaflet/index.ts'
import { openDatabase } from '../../src/database/client.ts'
import { readReceipt } from '../../src/database/receipts.ts'
import { UnavailableError } from '../../src/errors.ts'
import { silentLogger } from '../../src/logger.ts'
import { createFetch } from '../../src/network/fetch.ts'
import { createIdentity } from '../../src/network/identity.ts'
import { createXrpc, type Xrpc } from '../../src/network/xrpc.ts'
import type { RestoreContext } from '../../src/restore/context.ts'
import { replayAccount } from '../../src/restore/replay.ts'
import { type ReplayKnownOptions, replayKnownAccounts } from '../../src/restore/replay-known.ts'
import { replayAccountFromRelay } from '../../src/restore/replay-relay.ts'
import { type Account, type Stack, startStack } from '../../src/stack/index.ts'
import { applyWrites } from './account-writes.ts'

const DOCUMENT = 'site.standard.document'

let stack: Stack
let context: RestoreContext
let account: Account
let accountCount = 0

beforeAll(async () => {
  stack = await startStack()
  context = {
    appview: leaflet,
    production: openDatabase({ ...stack.production, label: 'production' }),
    network: {
      identity: createIdentity({ plcUrl: stack.plcUrl, allowLocalhost: true }),
      xrpc: createXrpc({ fetch: createFetch({ allowLocalhost: true }) }),
    },
    logger: silentLogger,
  }
})
afterAll(() => stack?.[Symbol.asyncDispose]())
beforeEach(async () => {
  account = await stack.createAccount(`author${++accountCount}.test`)
  for (const table of ['documents', 'record_state', 'replay_receipts'])
    await stack.production.query(`delete from ${table}`)
})

const write = (...titles: string[]) =>
  applyWrites(
    account,
    titles.map((title) => ({
      $type: 'com.atproto.repo.applyWrites#create',
      collection: DOCUMENT,
      rkey: title,
      value: {
        $type: DOCUMENT,
        site: 'https://example.com',
        title,
        publishedAt: '2026-01-01T00:00:00.000Z',
      },
    })),
  )
const titles = async () =>
  (await stack.production.query(`select data->>'title' as title from documents order by 1`)).map(
    ({ title }) => title,
  )

async function afterGap(xrpc: Xrpc = context.network.xrpc, options: Partial<ReplayKnownOptions> = {}) {
  const failed: unknown[] = []
  const counts = await replayKnownAccounts(
    { ...context, network: { ...context.network, xrpc } },
    {
      onFailed: async (_, error) => void failed.push(error),
      signal: new AbortController().signal,
      retry: { firstDelayMs: 1, attempts: 3 },
      ...options,
    },
  )
  return { counts, failed }
}

/** Answers `times` questions for a repo with 503. */
function busy(times: number): { xrpc: Xrpc; asked: () => number } {
  let count = 0
  const { xrpc } = context.network
  return {
    asked: () => count,
    xrpc: {
      ...xrpc,
      async getRepoStream(...question) {
        if (++count <= times) throw new UnavailableError('the host answered 503')
        return xrpc.getRepoStream(...question)
      },
    },
  }
}

test('an account that only the tables know is replayed, once', async () => {
  await write('known')
  await replayAccount(context, account.did)
  await stack.production.query('delete from record_state')
  await stack.production.query('delete from replay_receipts')
  await write('missed')
  expect(await afterGap()).toEqual({ counts: { replayed: 1, unchanged: 0, failed: 0 }, failed: [] })
  expect(await titles()).toEqual(['known', 'missed'])
  // Now that the record state knows it, too, it is still one account.
  expect((await afterGap()).counts).toEqual({ replayed: 0, unchanged: 1, failed: 0 })
})

test('a host that is busy for a moment is asked again', async () => {
  await write('known')
  await replayAccount(context, account.did)
  await write('missed')
  const host = busy(2)
  expect(await afterGap(host.xrpc)).toEqual({
    counts: { replayed: 1, unchanged: 0, failed: 0 },
    failed: [],
  })
  expect(await titles()).toEqual(['known', 'missed'])
})

test('a host that stays busy leaves the account as failed, after its attempts', async () => {
  await write('known')
  await replayAccount(context, account.did)
  await write('missed')
  const host = busy(Number.POSITIVE_INFINITY)
  const { counts, failed } = await afterGap(host.xrpc)
  expect(counts).toEqual({ replayed: 0, unchanged: 0, failed: 1 })
  expect(failed).toMatchObject([{ message: expect.stringContaining('503') }])
  expect(host.asked()).toBe(3)
})

test('a window of the past does not take back what the index has reached since', async () => {
  const { did } = account
  const window = { service: stack.pds.url.replace(/^http/, 'ws'), cursor: 0 }
  await write('one')
  const first = await replayAccountFromRelay(context, did, window)
  expect(first.receipt).toBeDefined()
  await write('two')
  const { receipt } = await replayAccount(context, did)
  expect(receipt.rev > (first.receipt?.rev ?? '')).toBe(true)

  const past = await replayAccountFromRelay(context, did, { ...window, until: first.window.seq })
  expect(past.chain?.rev).toBe(first.receipt?.rev)
  expect(past.receipt).toEqual(receipt)
  expect(await readReceipt(context.production, did)).toEqual(receipt)
})
