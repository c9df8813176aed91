/** What a write would do, planned for a real account: nothing is written to the PDS by any of this. */
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest'
import { leaflet } from '../../src/appview/leaflet/index.ts'
import { extract } from '../../src/backup/extract.ts'
import type { Snapshot } from '../../src/backup/snapshot.ts'
import { type Catalog, readCatalog } from '../../src/database/catalog.ts'
import { openDatabase } from '../../src/database/client.ts'
import type { JsonObject } from '../../src/events.ts'
import { silentLogger } from '../../src/logger.ts'
import { createFetch } from '../../src/network/fetch.ts'
import { createHostQueues } from '../../src/network/host-queues.ts'
import { createIdentity } from '../../src/network/identity.ts'
import { createXrpc } from '../../src/network/xrpc.ts'
import { BlobFinder } from '../../src/pds/blobs/finder.ts'
import type { MissingBlobPolicy } from '../../src/pds/blobs/policy.ts'
import { servedBlobs } from '../../src/pds/blobs/served.ts'
import type { PlannedRecord } from '../../src/pds/plan.ts'
import type { WriteOp } from '../../src/pds/session.ts'
import { cidOfRecord } from '../../src/repo/record.ts'
import type { RestoreContext, WriterRequest } from '../../src/restore/context.ts'
import { replayAccount } from '../../src/restore/replay.ts'
import { executeWrite, type PrepareWriteOptions, prepareWrite } from '../../src/restore/write.ts'
import { type Account, type Stack, startStack } from '../../src/stack/index.ts'
import { blobOf, pictureOf } from '../../src/stack/scenario/images.ts'
import { applyWrites, fetchAs } from './account-writes.ts'

const DOCUMENT = 'site.standard.document'
const PICTURE = pictureOf('cover')
const PAID = 'only for those who paid'

let stack: Stack
let account: Account
let context: RestoreContext
let catalog: Catalog
let snapshot: Snapshot
/** What the author had on the PDS, by record key. */
let records: Record<string, JsonObject>

const uriOf = (rkey: string, collection = DOCUMENT) => `at://${account.did}/${collection}/${rkey}`
const publicationUri = () => uriOf('blog', 'site.standard.publication')
const block = (block: JsonObject): JsonObject => ({ block })
const text = (plaintext: string) => block({ $type: 'pub.leaflet.blocks.text', plaintext })
const content = (...blocks: JsonObject[]): JsonObject => ({
  $type: 'pub.leaflet.content',
  pages: [{ $type: 'pub.leaflet.pages.linearDocument', id: 'one', blocks }],
})
const delimiter = block({ $type: 'pub.leaflet.blocks.membersOnlyDelimiter' })
const post = (title: string, extra: JsonObject = {}): JsonObject => ({
  $type: DOCUMENT,
  site: publicationUri(),
  title,
  publishedAt: '2026-02-14T09:30:00.000Z',
  ...extra,
})

beforeAll(async () => {
  stack = await startStack({ backupHasOwnTables: true })
  account = await stack.createAccount('author.test')
  const production = openDatabase({ ...stack.production, label: 'production' })
  context = {
    appview: leaflet,
    production,
    network: {
      identity: createIdentity({ plcUrl: stack.plcUrl, allowLocalhost: true }),
      xrpc: createXrpc({ fetch: createFetch({ allowLocalhost: true }) }),
    },
    logger: silentLogger,
  }
  catalog = await readCatalog(production)
  await publish()
  await stack.takeBackup()
  const backup = openDatabase({ ...stack.backup, label: 'backup' })
  snapshot = await extract({ database: backup, catalog, appview: leaflet, did: account.did })
  await lose()
}, 60_000)
afterAll(() => stack[Symbol.asyncDispose]())

/** What the PDS has, and what the appview makes of it. */
async function publish(): Promise<void> {
  await upload(PICTURE.bytes, PICTURE.mimeType)
  records = {
    blog: { $type: 'site.standard.publication', name: 'Notes', url: 'https://notes.example' },
    plain: post('Plain'),
    illustrated: post('Illustrated', { coverImage: blobOf(PICTURE) }),
    members: post('For members', { content: content(text('free'), delimiter) }),
    filled: post('Filled in', { preferences: { $type: 'pub.leaflet.publication#preferences' } }),
    odd: post('Odd', { tags: 'no list' }),
  }
  const creates = Object.entries(records).map(([rkey, value]) => createOf(rkey, value))
  await applyWrites(account, creates)
  await replayAccount(context, account.did)
  const whole = post('For members', { content: content(text('free'), delimiter, text(PAID)) })
  await stack.production.query('update documents set data = $1 where uri = $2', [
    JSON.stringify(whole),
    uriOf('members'),
  ])
  // A record that breaks its lexicon is never indexed: the app itself wrote its row.
  await stack.production.query('insert into documents (uri, data) values ($1, $2)', [
    uriOf('odd'),
    JSON.stringify(records.odd),
  ])
  const reference = { uri: uriOf('filled'), cid: cidOfRecord(records.filled ?? {}) }
  await stack.production.query(
    'insert into comments_on_documents (uri, record, document) values ($1, $2, $3)',
    [
      'at://did:plc:reader/pub.leaflet.comment/a',
      JSON.stringify({ attachment: { document: reference } }),
      uriOf('filled'),
    ],
  )
}

async function upload(bytes: Uint8Array, contentType: string): Promise<JsonObject> {
  const response = await fetchAs(account, '/xrpc/com.atproto.repo.uploadBlob', {
    method: 'POST',
    headers: { 'content-type': contentType },
    body: Buffer.from(bytes),
  })
  const { blob } = (await response.json()) as { blob: JsonObject }
  return blob
}

const createOf = (rkey: string, value: JsonObject): WriteOp => ({
  $type: 'com.atproto.repo.applyWrites#create',
  collection: String(value.$type),
  rkey,
  value,
})
const deleteOf = (rkey: string, { $type }: JsonObject): WriteOp => ({
  $type: 'com.atproto.repo.applyWrites#delete',
  collection: String($type),
  rkey,
})

/** The records go, and with them their rows; tombstones stay, but for those that nobody kept. */
async function lose(): Promise<void> {
  await applyWrites(
    account,
    Object.entries(records).map(([rkey, record]) => deleteOf(rkey, record)),
  )
  await stack.production.query('delete from documents')
  await stack.production.query('delete from publications')
  await stack.production.query('update record_state set deleted = true')
  await stack.production.query('delete from record_state where uri = $1', [uriOf('filled')])
}

const prepare = (options: Partial<PrepareWriteOptions> = {}) =>
  prepareWrite(context, { snapshot, catalog, onConflict: 'overwrite', ...options })
const byKey = (planned: readonly PlannedRecord[]) =>
  Object.fromEntries(planned.map((record) => [record.uri.split('/').at(-1) ?? '', record]))

test('every record is there, with what proves it, and no paid text', async () => {
  const { plan, records: prepared, overwritten } = await prepare()
  const planned = byKey(plan.records)
  expect(Object.keys(planned).sort()).toEqual(Object.keys(records).sort())
  for (const [rkey, record] of Object.entries(records))
    expect(planned[rkey], rkey).toMatchObject({ action: 'create', cid: cidOfRecord(record) })
  expect(planned).toMatchObject({
    blog: { proof: 'proven', provenBy: 'tombstone' },
    plain: { proof: 'proven', provenBy: 'tombstone' },
    members: { proof: 'proven', provenBy: 'tombstone' },
    filled: { proof: 'proven', provenBy: 'strong-reference' },
    odd: { proof: 'proven', warning: expect.stringContaining('breaks its lexicon') },
  })
  expect(plan).toMatchObject({ counts: { create: 6 }, warnings: 1 })
  expect(plan.provenBy).toEqual({ tombstone: 5, 'strong-reference': 1, repo: 0 })
  expect(plan.scope).toBeUndefined()
  expect(JSON.stringify(prepared)).not.toContain(PAID)
  expect(overwritten).toEqual([])
})

describe('restricted', () => {
  test('to a record or a collection: the rest is not planned, and still expected by a comparison', async () => {
    const { plan, records: prepared } = await prepare({ scope: { uris: [uriOf('plain')] } })
    expect(plan.records.map(({ uri }) => uri)).toEqual([uriOf('plain')])
    expect(plan).toMatchObject({ counts: { create: 1 }, scope: { uris: [uriOf('plain')], leftOut: 5 } })
    expect(prepared).toHaveLength(6)
    const collections = ['site.standard.publication']
    expect((await prepare({ scope: { collections } })).plan.records.map(({ uri }) => uri)).toEqual([
      publicationUri(),
    ])
  })

  test('only what is in it is sent, and marked', async () => {
    const requests: WriterRequest[] = []
    const prepared = await prepare({ scope: { uris: [uriOf('plain')] } })
    await executeWrite(
      context,
      async (request) => {
        requests.push(request)
        return { success: true, recordsWritten: 1, batchCount: 1, notWritten: [] }
      },
      prepared,
      { run: 'run', onConflict: 'overwrite' },
    )
    expect(requests.map(({ records: sent }) => sent)).toEqual([
      [{ collection: DOCUMENT, rkey: 'plain', record: records.plain, replaces: null }],
    ])
    const marks = await stack.production.query('select uri from restore_marks')
    expect(marks).toEqual([{ uri: uriOf('plain') }])
    await stack.production.query('delete from restore_marks')
  })

  test.each<[string, () => Partial<PrepareWriteOptions>]>([
    ['a record', () => ({ scope: { uris: [uriOf('nobody')] } })],
    ['a collection', () => ({ scope: { collections: ['com.example.note'] } })],
    ['an exemption', () => ({ except: [uriOf('nobody')] })],
  ])('%s that the snapshot does not hold is wrong usage', async (_, options) => {
    await expect(prepare(options())).rejects.toMatchObject({ name: 'ConfigError', exitCode: 2 })
  })
})

describe('a key that is taken', () => {
  const edited = () => post('Written anew')
  let there: JsonObject | undefined
  afterEach(async () => {
    if (there !== undefined) await applyWrites(account, [deleteOf('plain', there)])
    there = undefined
  })
  async function put(record: JsonObject): Promise<void> {
    await applyWrites(account, [createOf('plain', record)])
    there = record
  }

  test('the plan names what it overwrites, and the old value is at hand', async () => {
    await put(edited())
    const { plan, overwritten } = await prepare()
    expect(byKey(plan.records).plain).toMatchObject({
      action: 'overwrite',
      currentCid: cidOfRecord(edited()),
      currentBytes: expect.any(Number),
    })
    expect(overwritten).toEqual([{ uri: uriOf('plain'), cid: cidOfRecord(edited()), record: edited() }])
  })

  test('with `fail` the plan shows what is in the way, and nothing is sent', async () => {
    await put(edited())
    const prepared = await prepare({ onConflict: 'fail' })
    expect(prepared.plan.counts).toMatchObject({ create: 5, refuse: 1 })
    expect(byKey(prepared.plan.records).plain).toMatchObject({ action: 'refuse', refusal: 'conflict' })
    const sent: WriterRequest[] = []
    const writing = executeWrite(
      context,
      async (request) => {
        sent.push(request)
        return { success: true, recordsWritten: 0, batchCount: 0, notWritten: [] }
      },
      prepared,
      { run: 'run', onConflict: 'fail' },
    )
    await expect(writing).rejects.toMatchObject({ name: 'RestoreError', uri: uriOf('plain') })
    expect(sent).toEqual([])
    expect(await stack.production.query('select uri from restore_marks')).toEqual([])
    const { plan } = await prepare({ onConflict: 'fail', except: [uriOf('plain')] })
    expect(plan.counts).toMatchObject({ create: 5, keep: 1, refuse: 0 })
  })

  test('one by one it can be exempted, as often as one likes', async () => {
    const except = [uriOf('plain'), uriOf('illustrated')]
    await put(edited())
    for (const _ of [1, 2]) {
      const { plan, overwritten } = await prepare({ except })
      expect(byKey(plan.records)).toMatchObject({
        plain: { action: 'keep', reason: 'exempted by the operator' },
        illustrated: { action: 'create' },
      })
      expect(overwritten).toEqual([])
    }
  })

  test('a record that holds its pages in a blob stays: the row is what the app made of it', async () => {
    const blobPages = await upload(Buffer.from('[]'), 'application/json')
    await put(post('Plain', { content: { $type: 'pub.leaflet.content', pages: [], blobPages } }))
    const { plan, overwritten } = await prepare()
    expect(byKey(plan.records).plain).toMatchObject({
      action: 'keep',
      reason: expect.stringContaining('in a blob'),
    })
    expect(overwritten).toEqual([])
  })
})

describe('blobs', () => {
  const blobs = (policy?: MissingBlobPolicy, has = false) => ({
    supply: {
      isServed: servedBlobs(account.pdsUrl, account.did, {
        fetch: createFetch({ allowLocalhost: true }),
        queues: createHostQueues(),
      }),
      finder: new BlobFinder(account.did, [
        { name: 'folder', fetch: async (cid) => (has && cid === PICTURE.cid ? PICTURE.bytes : undefined) },
      ]),
    },
    ...(policy && { policy }),
  })
  const missing = () => [
    expect.objectContaining({ cid: PICTURE.cid, mimeType: PICTURE.mimeType, uris: [uriOf('illustrated')] }),
  ]

  test('that can be had are counted, and their record goes back as it was', async () => {
    const { plan } = await prepare({ blobs: blobs('refuse-record', true) })
    expect(plan.counts).toMatchObject({ create: 6, refuse: 0 })
    expect(plan.blobs).toEqual({
      counts: { served: 0, upload: 1, missing: 0 },
      uploadBytes: PICTURE.bytes.length,
      uploadDays: 1,
      missing: [],
    })
    expect(plan.estimateMs).toBeGreaterThan((await prepare()).plan.estimateMs)
  })

  test('that cannot be had cost their record, by default', async () => {
    const { plan, records: prepared } = await prepare({ blobs: blobs() })
    expect(plan.counts).toMatchObject({ create: 5, refuse: 1 })
    expect(byKey(plan.records).illustrated).toMatchObject({ action: 'refuse', refusal: 'blob-missing' })
    expect(plan.blobs).toMatchObject({ counts: { upload: 0, missing: 1 }, missing: missing() })
    expect(prepared.find(({ uri }) => uri === uriOf('illustrated'))).toMatchObject({
      refusal: 'blob-missing',
    })
  })

  test('or the record goes back without them', async () => {
    const { plan, records: prepared } = await prepare({ blobs: blobs('strip') })
    expect(plan).toMatchObject({ counts: { create: 6 }, blobs: { missing: missing() } })
    const stripped = post('Illustrated')
    expect(byKey(plan.records).illustrated).toMatchObject({
      cid: cidOfRecord(stripped),
      proof: 'different',
      differs: expect.stringContaining(PICTURE.cid),
    })
    expect(prepared.find(({ uri }) => uri === uriOf('illustrated'))).toMatchObject({ record: stripped })
  })

  test('or nothing goes on', async () => {
    await expect(prepare({ blobs: blobs('fail') })).rejects.toMatchObject({ name: 'RestoreError' })
  })

  test('are asked for only where their record is to be written', async () => {
    const scope = { uris: [uriOf('plain')] }
    const { plan } = await prepare({ scope, blobs: blobs('fail') })
    expect(plan).toMatchObject({ counts: { create: 1 }, blobs: { missing: [] } })
  })
})
