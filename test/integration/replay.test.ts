import { AtpAgent } from '@atproto/api'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { leaflet } from '../../src/appview/leaflet/index.ts'
import { openDatabase } from '../../src/database/client.ts'
import { silentLogger } from '../../src/logger.ts'
import { createFetch } from '../../src/network/fetch.ts'
import { createIdentity } from '../../src/network/identity.ts'
import { createXrpc } from '../../src/network/xrpc.ts'
import { assertCaughtUp } from '../../src/reconcile/reconcile.ts'
import type { RestoreContext } from '../../src/restore/context.ts'
import { replayAccount } from '../../src/restore/replay.ts'
import { type Account, type Stack, startStack } from '../../src/stack/index.ts'

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
