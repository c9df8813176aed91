/** What is replayed after a gap, and what a window of the past may say of it: real PDS, real tables. */

import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest'
import { leaflet } from '../../src/appview/leaflet/index.ts'
import type { CliContext } from '../../src/cli/context.ts'
import { liveAnswers } from '../../src/cli/live-sources.ts'
import { answerLetters } from '../../src/cli/replay-letters.ts'
import { openDatabase } from '../../src/database/client.ts'
import { type DeadLetter, readDeadLetters } from '../../src/database/dead-letters.ts'
import { readReceipt } from '../../src/database/receipts.ts'
import { UnavailableError } from '../../src/errors.ts'
import { writeBrokenRepo } from '../../src/indexer/dead-letters.ts'
import { silentLogger } from '../../src/logger.ts'
import { createFetch } from '../../src/network/fetch.ts'
import { createIdentity } from '../../src/network/identity.ts'
import { createXrpc, type Xrpc } from '../../src/network/xrpc.ts'
import { answerAccount } from '../../src/restore/account-status.ts'
import type { RestoreContext } from '../../src/restore/context.ts'
import { replayAccount } from '../../src/restore/replay.ts'
import { type ReplayKnownOptions, replayKnownAccounts } from '../../src/restore/replay-known.ts'
import { replayAccountFromRelay } from '../../src/restore/replay-relay.ts'
import { type Account, type Stack, startStack } from '../../src/stack/index.ts'
import { applyWrites, fetchAs } from './account-writes.ts'

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

test('a replay without deletes has not seen what the author deleted meanwhile', async () => {
  await write('kept')
  await write('deleted')
  await replayAccount(context, account.did)
  await applyWrites(account, [
    { $type: 'com.atproto.repo.applyWrites#delete', collection: DOCUMENT, rkey: 'deleted' },
  ])
  // By hand, while nobody listens: its receipt is of the repo's head.
  await replayAccount(context, account.did)
  expect(await titles()).toEqual(['deleted', 'kept'])
  expect((await afterGap()).counts).toEqual({ replayed: 1, unchanged: 0, failed: 0 })
  expect(await titles()).toEqual(['kept'])
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

describe('accounts that nobody here knows, behind a gap', () => {
  const listing = (pages: Record<string, { dids: string[]; cursor?: string }>): Xrpc => ({
    ...context.network.xrpc,
    listReposByCollection: async (_, collection, cursor = '') => {
      const { dids, cursor: next } = pages[`${collection} ${cursor}`] ?? { dids: [] }
      return { dids, cursor: next }
    },
  })

  test('are replayed where a relay lists them, page by page; those that are gone are nobody', async () => {
    await write('new')
    const next = await stack.createAccount(`next${accountCount}.test`)
    const xrpc = listing({
      [`${DOCUMENT} `]: { dids: [account.did, 'not a DID'], cursor: 'more' },
      [`${DOCUMENT} more`]: { dids: [next.did, account.did, 'did:plc:aaaaaaaaaaaaaaaaaaaaaaaa'] },
    })
    const { counts, failed } = await afterGap(xrpc, { listedBy: 'ws://relay.example' })
    expect(failed).toEqual([])
    expect(counts).toEqual({ replayed: 2, unchanged: 1, failed: 0, listing: { accounts: 3 } })
    expect(await titles()).toEqual(['new'])
  })

  test('stay unknown where nobody lists them, and that is said', async () => {
    await write('new')
    const { counts } = await afterGap(undefined, { listedBy: stack.pds.url.replace(/^http/, 'ws') })
    expect(counts.listing).toEqual({ accounts: 0, incomplete: expect.any(String) })
    expect(await titles()).toEqual([])
  })

  test('of a listing without end are no more than the bound', async () => {
    const endless: Xrpc = {
      ...context.network.xrpc,
      listReposByCollection: async () => ({ dids: [account.did], cursor: 'again' }),
    }
    const { counts } = await afterGap(endless, { listedBy: 'ws://relay.example' })
    expect(counts.listing?.incomplete).toMatch(/pages/)
  })
})

describe('an account that a relay says is gone', () => {
  const deleting = (): RestoreContext => ({
    ...context,
    appview: { ...leaflet, onAccount: ({ active }) => (active ? 'keep' : 'delete') },
  })
  const claim = (status = 'deleted') => ({ did: account.did, seq: 7, active: false, status })
  const ask = (asked: RestoreContext = deleting()) =>
    answerAccount(asked, claim(), { signal: new AbortController().signal, attempts: 1 })
  const away = (): RestoreContext => ({
    ...deleting(),
    network: {
      ...context.network,
      xrpc: {
        ...context.network.xrpc,
        getRepoStatus: () => Promise.reject(new UnavailableError('the host answered 503')),
      },
    },
  })
  const call = async (name: 'activateAccount' | 'deactivateAccount') => {
    const answer = await fetchAs(account, `/xrpc/com.atproto.server.${name}`, {
      method: 'POST',
      headers: { 'content-type': 'application/json' },
      body: name === 'deactivateAccount' ? '{}' : '',
    })
    expect(answer.status).toBe(200)
  }
  const letters = () => stack.production.query('select uri, code from dead_letters order by id')

  test('stays when its PDS serves it', async () => {
    await write('one')
    await replayAccount(context, account.did)
    expect(await ask()).toEqual({ outcome: 'kept' })
    expect(await titles()).toEqual(['one'])
  })

  test('goes when its PDS confirms it, with rows of which there is no record state; what hangs there waits', async () => {
    await write('one')
    const uri = `at://${account.did}/site.standard.publication/p`
    await applyWrites(account, [
      {
        $type: 'com.atproto.repo.applyWrites#create',
        collection: 'site.standard.publication',
        rkey: 'p',
        value: { $type: 'site.standard.publication', name: 'p', url: 'https://example.com' },
      },
    ])
    await replayAccount(context, account.did)
    // As if the appview's own indexer had written it.
    await stack.production.query(`delete from record_state where uri = '${uri}'`)
    const reader = await stack.createAccount(`reader${accountCount}.test`)
    await applyWrites(reader, [
      {
        $type: 'com.atproto.repo.applyWrites#create',
        collection: 'site.standard.graph.subscription',
        rkey: 's',
        value: { $type: 'site.standard.graph.subscription', publication: uri },
      },
    ])
    await replayAccount(context, reader.did)
    const subscriptions = 'select uri from publication_subscriptions'
    expect(await stack.production.query(subscriptions)).toHaveLength(1)

    await call('deactivateAccount')
    expect(await ask()).toEqual({ outcome: 'deleted', count: 2 })
    expect(await titles()).toEqual([])
    expect(await stack.production.query('select uri from publications')).toEqual([])
    expect(await stack.production.query(subscriptions)).toEqual([])
    expect(await stack.production.query('select uri from parked_events')).toEqual([
      { uri: `at://${reader.did}/site.standard.graph.subscription/s` },
    ])
    // Whatever the repo says later is newer.
    await call('activateAccount')
    await replayAccount(context, account.did)
    expect(await titles()).toEqual(['one'])
  })

  test('of which there is no DID any more goes, too', async () => {
    const did = 'did:plc:aaaaaaaaaaaaaaaaaaaaaaab'
    const uri = `at://${did}/${DOCUMENT}/x`
    await stack.production.query(`insert into documents (uri, data) values ($1, '{"title": "x"}')`, [uri])
    const answer = await answerAccount(
      deleting(),
      { ...claim(), did },
      { signal: new AbortController().signal, attempts: 1 },
    )
    expect(answer).toEqual({ outcome: 'deleted', count: 1 })
    expect(await titles()).toEqual([])
  })

  test('that comes back while nobody listens has its records again after the gap', async () => {
    await write('back')
    await replayAccount(context, account.did)
    await call('deactivateAccount')
    expect(await ask()).toEqual({ outcome: 'deleted', count: 1 })
    await call('activateAccount')
    await afterGap()
    expect(await titles()).toContain('back')
  })

  test('whose host asks for minutes is left to a letter: frames of others wait behind it', async () => {
    await stack.production.query('delete from dead_letters')
    const busyFor = (ms: number) => () =>
      Promise.reject(new UnavailableError('the host answered 429', { retryAtMs: Date.now() + ms }))
    const xrpc: Xrpc = { ...context.network.xrpc, getRepoStatus: busyFor(60_000) }
    const answers = liveAnswers(
      { ...deleting(), network: { ...context.network, xrpc } } as CliContext,
      'wss://relay.example',
    )
    await answers.onAccount(claim())
    expect(await letters()).toEqual([{ uri: `at://${account.did}`, code: 'ACCOUNT' }])
  }, 20_000)

  test('stays when nobody who knows can be asked; a letter asks again', async () => {
    await stack.production.query('delete from dead_letters')
    await write('one')
    await replayAccount(context, account.did)
    const asCli = (of: RestoreContext) => of as CliContext
    await liveAnswers(asCli(away()), 'wss://relay.example').onAccount(claim())
    expect(await titles()).toEqual(['one'])
    expect(await letters()).toEqual([{ uri: `at://${account.did}`, code: 'ACCOUNT' }])

    const retry = async (of: RestoreContext) => {
      const all: DeadLetter[] = []
      for await (const page of readDeadLetters(context.production)) all.push(...page)
      return answerLetters(asCli(of), account.did, all, new AbortController().signal)
    }
    expect(await retry(away())).toMatchObject([{ outcome: 'dead-lettered' }])
    await call('deactivateAccount')
    expect(await retry(deleting())).toMatchObject([{ outcome: 'applied' }])
    expect(await titles()).toEqual([])
    expect(await letters()).toEqual([])
  })
})

describe('a broken repo', () => {
  const fetching = (changed: Partial<Xrpc> = {}) => {
    const { xrpc } = context.network
    const asked: string[] = []
    const counting: Xrpc = {
      ...xrpc,
      getRepoStream: (...question) => {
        asked.push(question[1])
        return xrpc.getRepoStream(...question)
      },
      ...changed,
    }
    const answers = liveAnswers(
      { ...context, network: { ...context.network, xrpc: counting } } as CliContext,
      'wss://relay.example',
    )
    const broken = () =>
      answers.onBrokenRepo(
        { did: account.did, seq: 1, rev: '', reason: 'broken' },
        new AbortController().signal,
      )
    return { asked, broken }
  }
  const note = () =>
    applyWrites(account, [
      {
        $type: 'com.atproto.repo.applyWrites#create',
        collection: 'com.example.note',
        rkey: 'n',
        value: { $type: 'com.example.note' },
      },
    ])

  test('of which nothing is known, and which holds nothing of ours, is not fetched', async () => {
    await note()
    const { asked, broken } = fetching()
    await broken()
    expect(asked).toEqual([])
  })

  test.each<[string, () => Promise<unknown>, Partial<Xrpc>]>([
    ['holds a record of ours', () => write('one'), {}],
    [
      'has a host that does not say',
      async () => undefined,
      { listCollections: () => Promise.reject(new UnavailableError('away')) },
    ],
    ['is said to hold nothing at all', async () => undefined, { listCollections: async () => [] }],
    [
      'has a row here',
      () =>
        stack.production.query(`insert into documents (uri, data) values ($1, '{"title": "x"}')`, [
          `at://${account.did}/${DOCUMENT}/x`,
        ]),
      {},
    ],
  ])('is fetched when it %s', async (_, prepare, changed) => {
    await note()
    await prepare()
    const { asked, broken } = fetching(changed)
    await broken()
    expect(asked).toEqual([account.did])
  })
})

test('what a broken frame named as deleted outlives the letters that follow it', async () => {
  const { did } = account
  await stack.production.query('delete from dead_letters')
  const deletes = [{ collection: DOCUMENT, rkey: 'x' }]
  await writeBrokenRepo(context.production, { did, seq: 1, rev: '', reason: 'away', deletes })
  await writeBrokenRepo(context.production, { did, seq: 2, rev: '', reason: 'away' })
  await writeBrokenRepo(context.production, { did, seq: 3, rev: '', reason: 'away' })
  const kept = await stack.production.query('select event from dead_letters order by id')
  expect(kept.map(({ event }) => event)).toEqual([JSON.stringify({ deletes }), '{}'])
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
  expect(await readReceipt(context.production, did)).toEqual({ ...receipt, withDeletes: false })
})
