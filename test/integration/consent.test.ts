/** Rows of readers come back, or not, as their repos say: readers who stayed, left, moved, changed their minds. */

import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { leaflet } from '../../src/appview/leaflet/index.ts'
import { extract } from '../../src/backup/extract.ts'
import type { Snapshot } from '../../src/backup/snapshot.ts'
import { writeSnapshot } from '../../src/backup/snapshot-file.ts'
import { type Catalog, readCatalog } from '../../src/database/catalog.ts'
import { openDatabase } from '../../src/database/client.ts'
import { setMarks } from '../../src/database/marks.ts'
import { ConfigError, EXIT, RestoreError, UnavailableError } from '../../src/errors.ts'
import type { JsonObject, RecordEvent } from '../../src/events.ts'
import { Indexer } from '../../src/indexer/indexer.ts'
import { silentLogger } from '../../src/logger.ts'
import { createFetch } from '../../src/network/fetch.ts'
import { createIdentity } from '../../src/network/identity.ts'
import { createXrpc } from '../../src/network/xrpc.ts'
import type { ReconcileResult } from '../../src/reconcile/apply.ts'
import {
  type AskedReconcile,
  assertAccepted,
  type ConsentPolicy,
  prepareWithConsent,
  reconcileAsked,
} from '../../src/restore/consent.ts'
import { assertAuthorActive } from '../../src/restore/consent-author.ts'
import type { RestoreContext } from '../../src/restore/context.ts'
import { prepareWrite } from '../../src/restore/write.ts'
import { type Stack, startStack } from '../../src/stack/index.ts'
import { type LoopbackServer, serve } from '../unit/network/loopback-server.ts'
import { jsonOf, runCommand } from './command-line.ts'
import { OWN_TABLES, rowVersions } from './dump.ts'
import {
  changeDid,
  createReader,
  deactivate,
  deadUrl,
  moveTo,
  pointAt,
  putRecord,
  type Reader,
  type SecondPds,
  startSecondPds,
} from './reader-accounts.ts'
import { put, remove } from './record-events.ts'

const RKEY = '3jzfcijpj2z2a'
/** Of the subscriptions of those who left and came back. */
const NEW_RKEY = '3jzfcijpj2z2c'
/** Of the publication that its readers changed to. */
const OTHER_RKEY = '3jzfcijpj2z2b'
const SITE = { $type: 'site.standard.publication', name: 'Notes', url: 'https://notes.example' }
/** In no publication of the author's: what it hangs on is no part of this. */
const DOCUMENT = {
  $type: 'site.standard.document',
  site: 'https://notes.example',
  title: 'A post',
  publishedAt: '2026-01-01T00:00:00.000Z',
}
const POST = `app.bsky.feed.post/${RKEY}`
const SUBSCRIPTION = 'site.standard.graph.subscription'
const OLD_SUBSCRIPTION = 'pub.leaflet.graph.subscription'
const NAMES = [
  'stayed',
  'left',
  'leaves',
  'tombstoned',
  'again',
  'returned',
  'deleted',
  'tombstone',
  'homeless',
  'deactivated',
  'takendown',
  'moved',
  'away',
  'forged',
  'unproven',
  'changed',
  'nonsense',
  'migrated',
  'placeholder',
] as const
type Name = (typeof NAMES)[number]

let stack: Stack
let second: SecondPds
let forger: LoopbackServer
let context: RestoreContext
let author: Reader
let publication: string
let catalog: Catalog
let snapshot: Snapshot
let folder: string
const readers = {} as Record<Name, Reader>

const sql = (text: string, parameters: readonly unknown[] = []) => stack.production.query(text, parameters)
const publicationOf = (rkey = RKEY) => `at://${author.did}/site.standard.publication/${rkey}`
const documentUri = () => `at://${author.did}/site.standard.document/${RKEY}`
const uriOf = (name: Name) =>
  `at://${readers[name].did}/${name === 'migrated' ? OLD_SUBSCRIPTION : SUBSCRIPTION}/${RKEY}`
const subscriptionOf = (to = publication): JsonObject => ({ $type: SUBSCRIPTION, publication: to })

beforeAll(async () => {
  stack = await startStack({ backupHasOwnTables: true })
  second = await startSecondPds(stack.plcUrl)
  context = contextOf()
  author = await createReader(stack.pds.url, 'author.test')
  publication = publicationOf()
  await sql('insert into identities (atp_did) values ($1)', [author.did])
  for (const rkey of [RKEY, OTHER_RKEY]) {
    await putRecord(author, `site.standard.publication/${rkey}`, SITE)
    await sql(
      `insert into publications (uri, identity_did, name, record, indexed_at) values ($1, $2, 'Notes', $3, '2026-01-01')`,
      [publicationOf(rkey), author.did, JSON.stringify(SITE)],
    )
  }
  await Promise.all(
    NAMES.map(async (name) => {
      const isOnSecond = name === 'takendown' || name === 'deleted'
      readers[name] = await createReader(isOnSecond ? second.url : stack.pds.url, `${name}.test`)
    }),
  )
  for (const name of NAMES) await subscribe(name)
  await sql(`insert into documents (uri, data, indexed_at) values ($1, $2, '2026-01-01')`, [
    documentUri(),
    JSON.stringify(DOCUMENT),
  ])
  await putRecord(author, `site.standard.document/${RKEY}`, DOCUMENT)
  for (const name of ['stayed', 'left'] as const) await quote(name)
  await stack.takeBackup()
  catalog = await readCatalog(context.production)
  const backup = openDatabase({ ...stack.backup, label: 'backup' })
  snapshot = await extract({ database: backup, catalog, appview: leaflet, did: author.did })
  folder = await mkdtemp(join(tmpdir(), 'firehose-replay-consent-'))
  await writeSnapshot(join(folder, 'snapshot.json'), snapshot)
  await liveOn()
  await incident()
}, 120_000)
afterAll(async () => {
  if (folder !== undefined) await rm(folder, { recursive: true, force: true })
  await forger?.[Symbol.asyncDispose]()
  await second?.[Symbol.asyncDispose]()
  await stack?.[Symbol.asyncDispose]()
})

function contextOf(): RestoreContext {
  return {
    appview: leaflet,
    production: openDatabase({ ...stack.production, label: 'production' }),
    network: {
      identity: createIdentity({ plcUrl: stack.plcUrl, allowLocalhost: true }),
      xrpc: createXrpc({ fetch: createFetch({ allowLocalhost: true }) }),
    },
    logger: silentLogger,
  }
}

/** In the repo and in the tables, each as the appview leaves it. */
async function subscribe(name: Name): Promise<void> {
  const { did } = readers[name]
  const isMigrated = name === 'migrated'
  const old = publication.replace('site.standard', 'pub.leaflet')
  const record = isMigrated ? { $type: OLD_SUBSCRIPTION, publication: old } : subscriptionOf()
  const cid = await putRecord(readers[name], `${String(record.$type)}/${RKEY}`, record)
  const held = name === 'placeholder' ? { uri: uriOf(name), cid } : record
  await sql('insert into identities (atp_did) values ($1)', [did])
  await sql(
    `insert into publication_subscriptions (publication, identity, record, uri, created_at) values ($1, $2, $3, $4, '2026-01-02 03:04:05.678901')`,
    [publication, did, JSON.stringify(held), uriOf(name)],
  )
}

/** A post on Bluesky about a document, which nothing here indexes. */
async function quote(name: Name): Promise<void> {
  const cid = await putRecord(readers[name], POST, { $type: 'app.bsky.feed.post', text: 'Read this' })
  const uri = `at://${readers[name].did}/${POST}`
  await sql(`insert into bsky_posts (uri, post_view, cid) values ($1, '{}', $2)`, [uri, cid])
  await sql(
    `insert into document_mentions_in_bsky (uri, link, document) values ($1, 'https://x.example', $2)`,
    [uri, documentUri()],
  )
}

/** What the readers do between the backup and the restore. */
async function liveOn(): Promise<void> {
  const path = `${SUBSCRIPTION}/${RKEY}`
  const { plcUrl } = stack
  for (const left of [path, POST]) await putRecord(readers.left, left, null)
  for (const name of ['again', 'returned'] as const) {
    await putRecord(readers[name], path, null)
    await putRecord(readers[name], `${SUBSCRIPTION}/${NEW_RKEY}`, subscriptionOf())
  }
  const { accountManager, actorStore } = second.pds.ctx
  await accountManager.deleteAccount(readers.deleted.did)
  await actorStore.destroy(readers.deleted.did)
  await changeDid(plcUrl, readers.tombstone, null)
  await changeDid(plcUrl, readers.homeless, { services: {} })
  await deactivate(readers.deactivated)
  await accountManager.takedownAccount(readers.takendown.did, { applied: true, ref: 'test' })
  readers.moved = await moveTo(readers.moved, second.url, plcUrl)
  // The PDS keeps the imported commit, which the old key signed, until something is written.
  await putRecord(readers.moved, 'app.bsky.feed.post/3jzfcijpj2z2a', {
    $type: 'app.bsky.feed.post',
    text: 'hm',
  })
  await pointAt(plcUrl, readers.away, await deadUrl())
  await putRecord(readers.changed, path, subscriptionOf(publicationOf(OTHER_RKEY)))
  await putRecord(readers.nonsense, path, { $type: SUBSCRIPTION, publication: 'nothing' })
  // Says of one reader what another's repo says, and of the other that there is no such record, without a proof.
  forger = await serve(async (request, response) => {
    const url = new URL(request.url ?? '', stack.pds.url)
    if (url.searchParams.get('did') === readers.unproven.did) {
      response.writeHead(404, { 'content-type': 'application/json' })
      response.end(JSON.stringify({ error: 'RecordNotFound', message: 'Could not locate record' }))
      return
    }
    url.searchParams.set('did', readers.left.did)
    response.end(Buffer.from(await (await fetch(url)).arrayBuffer()))
  })
  for (const name of ['forged', 'unproven'] as const) await pointAt(plcUrl, readers[name], forger.url)
}

/**
 * The publication goes with its subscriptions, and a replay brings it back. Readers have never been indexed here, but
 * for two: one whose new subscription came in meanwhile, and one whose delete did.
 */
async function incident(): Promise<void> {
  await sql('delete from publications where uri = $1', [publication])
  await sql('delete from documents')
  const again = `at://${readers.again.did}/${SUBSCRIPTION}/${NEW_RKEY}`
  await index(put(again, subscriptionOf()))
  const marks = [publication, documentUri()].map((uri) => ({ uri, cid: 'c', did: author.did, run: 'r' }))
  await setMarks(context.production, marks)
  await index(put(publication, SITE), put(documentUri(), DOCUMENT))
}

async function index(...events: RecordEvent[]): Promise<void> {
  const indexer = new Indexer({ appview: leaflet, database: context.production })
  for (const event of events) await indexer.handle(event)
  await indexer.flush()
}

const parts = () => ({ database: context.production, catalog, appview: leaflet, snapshot })
const limits = { attempts: 2, firstDelayMs: 10 }
const ask = (policy: ConsentPolicy = {}) => prepareWithConsent(context, parts(), { limits, ...policy })

const OLD_MOMENT = '2026-01-02 03:04:05.678901+00'
/** Nobody answers for these, or nothing that can be believed. */
const UNANSWERED: readonly string[] = ['away', 'forged', 'unproven']

const nameIn = (text: string) => NAMES.find((name) => text.includes(readers[name].did)) ?? text

function planned({ prepared: { plan } }: AskedReconcile): string[] {
  const rows = plan.tables.find(({ table }) => table === 'publication_subscriptions')?.rows ?? []
  return rows.flatMap(({ id, action }) => (action === 'insert' ? [nameIn(id)] : []))
}

async function subscriptions(): Promise<Map<string, Record<string, unknown>>> {
  const rows = await sql(
    'select uri, identity, publication, record, created_at::text from publication_subscriptions',
  )
  return new Map(rows.map((row) => [nameIn(String(row.identity)), row]))
}

/** Three of the readers' hosts are away, and asked three times each. */
const reconcile = (...args: string[]) =>
  runCommand(['reconcile', '--snapshot', join(folder, 'snapshot.json'), '--without-catch-up', ...args], {
    cwd: folder,
    env: {
      SUPABASE_URL: stack.production.url,
      SUPABASE_SERVICE_ROLE_KEY: stack.production.serviceKey,
      FIREHOSE_REPLAY_PLC_URL: stack.plcUrl,
      FIREHOSE_REPLAY_ALLOW_LOCALHOST: '1',
    },
  })

function outcomes(result: ReconcileResult): Record<string, string> {
  const rows = result.tables.find(({ table }) => table === 'publication_subscriptions')?.rows ?? []
  return Object.fromEntries(
    rows.map(({ id, outcome, unverified }) => {
      return [nameIn(id), unverified ? `${outcome}, unverified` : outcome]
    }),
  )
}

describe('consent', () => {
  test('is what each repo says, where its DID document points now', async () => {
    const { consent, counts, share } = await ask()
    const said = Object.fromEntries(
      NAMES.map((name) => {
        const decision = consent?.decisions().get(uriOf(name))
        const words = decision && 'reason' in decision ? `: ${decision.reason}` : ''
        return [name, `${decision?.consent}${words}`.replaceAll(readers[name].did, 'DID')]
      }),
    )
    expect(said).toEqual({
      stayed: 'same',
      leaves: 'same',
      tombstoned: 'same',
      moved: 'same',
      migrated: 'same',
      placeholder: 'same',
      changed: 'changed',
      left: 'withdrawn: its author has deleted the record',
      // Its new record has the row already.
      again: 'undefined',
      returned: 'withdrawn: its author has deleted the record',
      nonsense: expect.stringMatching(
        /^withdrawn: its author has changed the record since, to one that stands/,
      ),
      deleted: 'withdrawn: its account is not on its host any more',
      tombstone: expect.stringMatching(/^withdrawn: its account (has been deleted|does not exist)/),
      homeless: 'withdrawn: The DID document of its account names no PDS',
      deactivated: 'withdrawn: its account is deactivated',
      takendown: 'withdrawn: its account is taken down',
      away: expect.stringMatching(/^unreachable: localhost:\d+ could not be reached/),
      forged: expect.stringMatching(/^unreachable: The repository is that of did:plc/),
      unproven: expect.stringMatching(/^unreachable: .* answered RecordNotFound/),
    })
    expect(counts).toEqual({ asked: 20, same: 7, changed: 1, withdrawn: 9, unreachable: 3 })
    expect(share).toMatchObject({ withdrawn: 9, of: 18 })
  })

  test('stops where so many are withdrawn, until somebody says that it is right', async () => {
    const asked = await ask()
    const refused = assertAccepted(asked, {})
    await expect(refused).rejects.toThrow(/^9 of 18 records of other accounts \(50 %\) are withdrawn/)
    await expect(refused).rejects.toMatchObject({
      exitCode: EXIT.usage,
      hint: expect.stringContaining('--accept-withdrawn'),
    })
    await expect(assertAccepted(asked, { acceptWithdrawn: async () => false })).rejects.toThrow(ConfigError)
    await assertAccepted(asked, { acceptWithdrawn: async ({ withdrawn }) => withdrawn === 9 })
  })

  test('the command stops there, changes nothing, and says how to go on', async () => {
    const before = await rowVersions(stack.production, OWN_TABLES)
    const ended = await reconcile()
    expect(ended).toMatchObject({ code: EXIT.usage, stdout: '' })
    expect(ended.stderr).toContain('9 of 18 records of other accounts (50 %) are withdrawn')
    expect(ended.stderr).toContain('hint: No row was brought back.')
    expect(ended.stderr).toContain('add --accept-withdrawn')
    expect(await rowVersions(stack.production, OWN_TABLES)).toEqual(before)
  })

  test('is not asked for where the backup is trusted, and rows without an answer stay away where told', async () => {
    const trusting = await ask({ trustBackup: true })
    expect(trusting.counts.asked).toBe(0)
    expect(planned(trusting)).toHaveLength(NAMES.length - 1)
    const skipping = planned(await ask({ unreachable: 'skip' }))
    expect(skipping).toEqual(planned(await ask()).filter((name) => !UNANSWERED.includes(name)))
    expect(skipping).toContain('stayed')
  })

  test('stops too where so many are withdrawn only after the plan', async () => {
    const before = await rowVersions(stack.production, OWN_TABLES)
    const asked = { ...(await ask({ limits: { ...limits, maxAgeMs: 1 } })), share: undefined }
    await expect(reconcileAsked(context, asked)).rejects.toThrow(/^9 of 18 records of other accounts/)
    expect(await rowVersions(stack.production, OWN_TABLES)).toEqual(before)
  })

  test('decides what comes back, and is asked for again when it has grown old', async () => {
    await sql('delete from bsky_posts')
    const policy: ConsentPolicy = { unreachable: 'skip', limits: { ...limits, maxAgeMs: 1 } }
    const asked = await prepareWithConsent(context, { ...parts(), withParents: true }, policy)
    await putRecord(readers.leaves, `${SUBSCRIPTION}/${RKEY}`, null)
    await index(remove(uriOf('tombstoned')))
    const { result, counts } = await reconcileAsked(context, asked)
    expect(outcomes(result)).toEqual({
      ...Object.fromEntries(NAMES.map((name) => [name, 'withdrawn'])),
      ...Object.fromEntries(['stayed', 'moved', 'migrated', 'placeholder'].map((name) => [name, 'restored'])),
      ...Object.fromEntries(UNANSWERED.map((name) => [name, 'blocked'])),
      changed: 'kept',
      again: 'kept',
    })
    expect(counts).toMatchObject({ asked: 20, withdrawn: 10, unreachable: 3 })
    const rows = await subscriptions()
    expect(rows.get('stayed')).toMatchObject({ record: subscriptionOf(), created_at: OLD_MOMENT })
    expect(rows.get('migrated')).toMatchObject({
      publication,
      record: { publication: publication.replace('site.standard', 'pub.leaflet') },
      created_at: OLD_MOMENT,
    })
    expect(rows.get('placeholder')?.record).toEqual({ uri: uriOf('placeholder'), cid: expect.any(String) })
    // The present value came through its handler.
    expect(rows.get('changed')).toMatchObject({
      publication: publicationOf(OTHER_RKEY),
      record: subscriptionOf(publicationOf(OTHER_RKEY)),
    })
    expect(rows.get('again')?.uri).toContain(NEW_RKEY)
    expect(rows.size).toBe(6)
    // Told apart although there is a changed record, whose rows are looked at again.
    expect(result.tables.find(({ table }) => table === 'bsky_posts')).toMatchObject({ ofParents: true })
    const mentions = result.tables.find(({ table }) => table === 'document_mentions_in_bsky')?.rows ?? []
    expect(Object.fromEntries(mentions.map(({ id, outcome }) => [nameIn(id), outcome]))).toEqual({
      stayed: 'restored',
      left: 'withdrawn',
    })
    expect(mentions.some(({ unverified }) => unverified)).toBe(false)
  })

  test('is asked for again of rows that were left away for want of an answer', async () => {
    const { result, counts } = await reconcileAsked(context, await ask())
    expect(counts).toEqual({ asked: 3, same: 0, changed: 0, withdrawn: 0, unreachable: 3 })
    expect(outcomes(result)).toMatchObject(
      Object.fromEntries(UNANSWERED.map((name) => [name, 'restored, unverified'])),
    )
    expect((await subscriptions()).size).toBe(9)
  })

  test('by command, once more: nobody is asked, and nothing changes', async () => {
    const before = await rowVersions(stack.production, OWN_TABLES)
    const ended = await reconcile('--json')
    expect(ended.code).toBe(EXIT.complete)
    expect(jsonOf(ended).consent).toEqual({ asked: 0, same: 0, changed: 0, withdrawn: 0, unreachable: 0 })
    const said = outcomes(jsonOf(ended) as unknown as ReconcileResult)
    expect(new Set(Object.values(said))).toEqual(new Set(['unchanged', 'withdrawn', 'kept']))
    expect(await rowVersions(stack.production, OWN_TABLES)).toEqual(before)
  })
})

describe('an author who has left', () => {
  test.each([
    ['deactivated', /is deactivated, as localhost:\d+ says\. Such an account is not restored\.$/],
    ['takendown', /is taken down, as/],
    ['deleted', /is not on its host any more, as/],
    ['tombstone', /has no repository: .*(deleted|does not exist)/],
    ['homeless', /has no repository: .* names no PDS/],
  ] as const)('is not restored: %s', async (name, message) => {
    const { did } = readers[name]
    const refused = assertAuthorActive(did, context.network)
    await expect(refused).rejects.toThrow(message)
    await expect(refused).rejects.toBeInstanceOf(RestoreError)
    const planned = prepareWrite(context, {
      snapshot: { ...snapshot, did },
      catalog,
      onConflict: 'overwrite',
    })
    await expect(planned).rejects.toThrow(message)
  })

  test('one who has not is', async () => {
    await expect(assertAuthorActive(author.did, context.network)).resolves.toMatchObject({ did: author.did })
    await expect(assertAuthorActive(readers.away.did, context.network)).rejects.toBeInstanceOf(
      UnavailableError,
    )
  })
})
