/** Two thousand readers of one publication are asked, a few at a time, and all who still read it are back, proven. */

import { afterAll, beforeAll, expect, test } from 'vitest'
import { leaflet } from '../../src/appview/leaflet/index.ts'
import { extract } from '../../src/backup/extract.ts'
import { type Catalog, readCatalog } from '../../src/database/catalog.ts'
import { openDatabase } from '../../src/database/client.ts'
import { setMarks } from '../../src/database/marks.ts'
import { silentLogger } from '../../src/logger.ts'
import { createFetch } from '../../src/network/fetch.ts'
import { createIdentity } from '../../src/network/identity.ts'
import { createXrpc } from '../../src/network/xrpc.ts'
import { prepareWithConsent, reconcileAsked } from '../../src/restore/consent.ts'
import type { RestoreContext } from '../../src/restore/context.ts'
import { type Stack, startStack } from '../../src/stack/index.ts'
import { type StubReaders, startStubReaders } from './stub-readers.ts'

const AUTHOR = 'did:plc:authorauthorauthorauthor'
const PUBLICATION = `at://${AUTHOR}/site.standard.publication/3jzfcijpj2z2a`
const RECORD = { $type: 'site.standard.graph.subscription', publication: PUBLICATION }
const COUNT = 2000
const WITHDRAWN_EVERY = 40
const PER_HOST = 4
const TOTAL = 12

let stack: Stack
let stub: StubReaders
let context: RestoreContext
let catalog: Catalog

beforeAll(async () => {
  stack = await startStack({ backupHasOwnTables: true })
  stub = await startStubReaders({
    count: COUNT,
    hosts: 4,
    collection: 'site.standard.graph.subscription',
    rkey: '3jzfcijpj2z2a',
    record: RECORD,
    withdrawnEvery: WITHDRAWN_EVERY,
    latencyMs: 20,
  })
  context = {
    appview: leaflet,
    production: openDatabase({ ...stack.production, label: 'production' }),
    network: {
      identity: createIdentity({ plcUrl: stub.plcUrl, allowLocalhost: true }),
      xrpc: createXrpc({ fetch: createFetch({ allowLocalhost: true }) }),
    },
    logger: silentLogger,
  }
  catalog = await readCatalog(context.production)
})
afterAll(async () => {
  await stub?.[Symbol.asyncDispose]()
  await stack?.[Symbol.asyncDispose]()
})

async function lostPublication() {
  const sql = (text: string, parameters: readonly unknown[] = []) => stack.production.query(text, parameters)
  const insert = `insert into publications (uri, identity_did, name, record, indexed_at) values ($1, $2, 'Notes', '{}', $3)`
  await sql('insert into identities (atp_did) select jsonb_array_elements_text($1::jsonb)', [
    JSON.stringify([AUTHOR, ...stub.readers.map(({ did }) => did)]),
  ])
  await sql(insert, [PUBLICATION, AUTHOR, '2026-01-01'])
  await sql(
    `insert into publication_subscriptions (publication, identity, record, uri, created_at)
     select $1, r->>'did', $2::jsonb, r->>'uri', '2026-01-02 03:04:05.678901' from jsonb_array_elements($3::jsonb) r`,
    [PUBLICATION, JSON.stringify(RECORD), JSON.stringify(stub.readers)],
  )
  await stack.takeBackup()
  const backup = openDatabase({ ...stack.backup, label: 'backup' })
  const snapshot = await extract({ database: backup, catalog, appview: leaflet, did: AUTHOR })
  await sql('delete from publications')
  await setMarks(context.production, [{ uri: PUBLICATION, cid: 'c', did: AUTHOR, run: 'r' }])
  await sql(insert, [PUBLICATION, AUTHOR, new Date().toISOString()])
  return { database: context.production, catalog, appview: leaflet, snapshot }
}

test(`${COUNT} readers are asked within limits, and those who still read are back, proven`, async () => {
  const parts = await lostPublication()
  const startedMs = performance.now()
  const asked = await prepareWithConsent(context, parts, { limits: { perHost: PER_HOST, total: TOTAL } })
  const seconds = (performance.now() - startedMs) / 1000
  console.info(
    `${COUNT} proofs in ${seconds.toFixed(1)} s: ${Math.round(COUNT / seconds)}/s, stub hosts in this process`,
  )

  const withdrawn = COUNT / WITHDRAWN_EVERY
  expect(asked.counts).toEqual({
    asked: COUNT,
    same: COUNT - withdrawn,
    changed: 0,
    withdrawn,
    unreachable: 0,
  })
  expect(asked.share).toBeUndefined()
  expect(stub.served()).toBe(COUNT)
  expect(stub.most).toEqual({ host: PER_HOST, all: TOTAL })

  const { result } = await reconcileAsked(context, asked)
  const rows = result.tables.find(({ table }) => table === 'publication_subscriptions')?.rows ?? []
  const restored = rows.filter(({ outcome }) => outcome === 'restored')
  expect(restored).toHaveLength(COUNT - withdrawn)
  expect(restored.filter(({ unverified }) => unverified)).toEqual([])
  const back = await stack.production.query('select uri from publication_subscriptions order by uri')
  const meant = stub.readers.filter(({ isThere }) => isThere).map(({ uri }) => uri)
  expect(back.map(({ uri }) => uri)).toEqual(meant.sort())
  // Minutes have not passed: nobody is asked a second time.
  expect(stub.served()).toBe(COUNT)
})
