/** Rows that no replay gives back, after an incident and what people did since: each ends as the rules say. */
import { AtUri } from '@atproto/syntax'
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest'
import { leaflet } from '../../src/appview/leaflet/index.ts'
import { extract } from '../../src/backup/extract.ts'
import { rowId, type Snapshot } from '../../src/backup/snapshot.ts'
import { type Catalog, readCatalog } from '../../src/database/catalog.ts'
import { type Database, openDatabase } from '../../src/database/client.ts'
import { setMarks } from '../../src/database/marks.ts'
import type { AppView, JsonObject, RecordEvent, RecordUpsert, Refusal } from '../../src/events.ts'
import { Indexer } from '../../src/indexer/indexer.ts'
import { type ApplyOptions, applyReconcile, type ReconcileResult } from '../../src/reconcile/apply.ts'
import type { ConsentDecision } from '../../src/reconcile/consent/decision.ts'
import {
  assertCaughtUp,
  type PrepareReconcileOptions,
  prepareReconcile,
} from '../../src/reconcile/reconcile.ts'
import { encodeRecord, lexToJson } from '../../src/repo/record.ts'
import type { ReviewedRow } from '../../src/restore/review/reviewed-row.ts'
import { reviewedRows } from '../../src/restore/review/reviewed-rows.ts'
import { type Stack, startStack } from '../../src/stack/index.ts'
import { GARDENS_MIGRATION, gardens } from '../fixtures/gardens/index.ts'
import { dumpTables, OWN_TABLES, rowVersions, type TableDump } from './dump.ts'
import { put, remove } from './record-events.ts'

const AUTHOR = 'did:plc:author'
const READER = 'did:plc:reader'
const OTHER = 'did:plc:other'
const PUBLICATION = `at://${AUTHOR}/site.standard.publication/3aaaaaaaaaaa2`
const documentUri = (n: number) => `at://${AUTHOR}/site.standard.document/3bbbbbbbbbb${n + 2}2`
/** Its record breaks its lexicon: no replay gives its row, the reconcile inserts it. */
const BROKEN = documentUri(5)
const SUBSCRIPTION = `at://${READER}/site.standard.graph.subscription/3ccccccccccc2`
const RECOMMEND = `at://${READER}/site.standard.graph.recommend/3ccccccccccc2`
const COMMENT = `at://${READER}/pub.leaflet.comment/3ccccccccccc2`
let stack: Stack
let production: Database
let catalog: Catalog
let snapshot: Snapshot
let before: TableDump
const sql = (text: string) => stack.production.query(text)
const one = async (text: string) => (await sql(text))[0]

beforeAll(async () => {
  stack = await startStack({ backupHasOwnTables: true })
  production = openDatabase({ ...stack.production, label: 'production' })
  catalog = await readCatalog(production)
  await live()
  await stack.takeBackup()
  await saveTables()
  before = await dumpTables(stack.production, OWN_TABLES)
  const backup = openDatabase({ ...stack.backup, label: 'backup' })
  snapshot = await extract({ database: backup, catalog, appview: leaflet, did: AUTHOR })
})
afterAll(() => stack?.[Symbol.asyncDispose]())
beforeEach(() => resetTables())

// ---------------------------------------------------------------- before, the incident, and the replay after it

const publication = () =>
  put(PUBLICATION, { $type: 'site.standard.publication', name: 'Notes', url: 'https://notes.example' })
const document = (n: number, title = `Post ${n}`) =>
  put(documentUri(n), {
    $type: 'site.standard.document',
    site: PUBLICATION,
    title,
    tags: ['cats'],
    publishedAt: '2026-01-01T00:00:00.000Z',
  })
const broken = () => put(BROKEN, { $type: 'site.standard.document', title: 'no site' })
const recommend = (uri: string, subject: string) =>
  put(uri, {
    $type: 'site.standard.graph.recommend',
    document: subject,
    createdAt: '2026-01-02T00:00:00.000Z',
  })
const comment = (uri: string, subject: string) =>
  put(uri, { $type: 'pub.leaflet.comment', subject, plaintext: 'hm', createdAt: '2026-01-02T00:00:00.000Z' })
const subscription = (uri: string) =>
  put(uri, { $type: 'site.standard.graph.subscription', publication: PUBLICATION })
const records = () => [publication(), document(0), document(1), document(2), broken()]

async function index(...events: RecordEvent[]): Promise<void> {
  const indexer = new Indexer({ appview: leaflet, database: production })
  for (const event of events) await indexer.handle(event)
  await indexer.flush()
}

async function live(): Promise<void> {
  await sql(`insert into identities (atp_did) values ('${AUTHOR}'), ('${READER}'), ('${OTHER}');
    insert into bsky_profiles (did, record) values ('${READER}', '{}');
    insert into documents (uri, data, indexed, bsky_like_count) values ('${BROKEN}', '{"$type": "site.standard.document", "title": "no site"}', true, 7)`)
  await index(
    ...records(),
    subscription(SUBSCRIPTION),
    recommend(RECOMMEND, documentUri(0)),
    recommend(`${RECOMMEND.slice(0, -1)}3`, BROKEN),
    comment(COMMENT, documentUri(0)),
    comment(`${COMMENT.slice(0, -1)}3`, BROKEN),
    comment(`${COMMENT.slice(0, -1)}4`, documentUri(1)),
  )
  const draft = await one(`with e as (insert into entity_sets default values returning id),
      n as (insert into entities (id, set) select gen_random_uuid(), id from e returning id)
    insert into permission_tokens (root_entity) select id from n returning id`)
  await sql(`insert into custom_domains (domain, identity, confirmed) values ('notes.example', null, true);
    insert into publication_domains (publication, domain, identity) values ('${PUBLICATION}', 'notes.example', '${AUTHOR}');
    insert into leaflets_in_publications (publication, doc, leaflet, title) values ('${PUBLICATION}', '${documentUri(0)}', '${draft?.id}', 'draft');
    insert into leaflets_to_documents (leaflet, document, title) values ('${draft?.id}', '${documentUri(1)}', 'loose'), ('${draft?.id}', '${BROKEN}', 'loose');
    insert into publication_post_sends (publication, document, status) values ('${PUBLICATION}', '${documentUri(0)}', 'sent'), ('${PUBLICATION}', '${BROKEN}', 'sent');
    insert into bsky_posts (uri, post_view, cid) values ('at://did:plc:x/app.bsky.feed.post/1', '{}', 'c');
    insert into document_mentions_in_bsky (uri, link, document) values ('at://did:plc:x/app.bsky.feed.post/1', 'https://x', '${BROKEN}');
    update documents set bsky_like_count = 3, indexed = true where uri = '${documentUri(0)}';
    update publications set indexed_at = '2026-01-05 10:00:00.123456+00';
    update documents set indexed_at = '2026-01-05 10:00:00.123456+00';
    update documents_in_publications set indexed_at = '2026-01-05 10:00:00.123456+00';
    update publication_subscriptions set created_at = '2026-01-06 10:00:00.123456+00';
    update recommends_on_documents set indexed_at = '2026-01-06 10:00:00.123456+00';
    update comments_on_documents set indexed_at = '2026-01-06 10:00:00.123456+00'`)
}

/** The author's records are deleted, the firehose says so, and the database's cascades take the rest. */
const incident = (...uris: string[]) =>
  index(
    ...(uris.length > 0 ? uris : records().map(({ uri }) => uri.toString()))
      .toReversed()
      .map((uri) => remove(uri)),
  )

/** They are written back under marks, and replayed. */
async function writtenBack(events: readonly RecordUpsert[] = records()): Promise<void> {
  const marks = events.map(({ uri, cid }) => ({
    uri: uri.toString(),
    cid: cid.toString(),
    did: AUTHOR,
    run: 'r',
  }))
  await setMarks(production, marks)
  await index(...events)
}

/** What of the repo and of the write a reconcile is told, and what it takes in place of the usual. */
type Told = Pick<
  PrepareReconcileOptions,
  'repo' | 'refused' | 'onConflict' | 'withParents' | 'consent' | 'unreachable' | 'includeDerived'
> &
  Pick<ApplyOptions, 'consentAgain'> & { appview?: AppView; snapshot?: Snapshot }

const prepare = (told: Told = {}) =>
  prepareReconcile({ database: production, catalog, appview: leaflet, snapshot, ...told })
async function reconcile(database = production, told: Told = {}): Promise<ReconcileResult> {
  const prepared = await prepare(told)
  return applyReconcile({ database, catalog, appview: leaflet, snapshot, ...told, ...prepared })
}
/** The author's repo with these records in it. */
function repoOf(events: readonly RecordUpsert[]): NonNullable<Told['repo']> {
  const found = new Map(events.map(({ uri, record }) => [`${uri.collection}/${uri.rkey}`, record]))
  return {
    get(collection, rkey) {
      const record = found.get(`${collection}/${rkey}`)
      if (record === undefined) return undefined
      const { cid, bytes } = encodeRecord(lexToJson(record) as JsonObject)
      return { collection, rkey, cid, bytes }
    },
  }
}
const refusedAs = (refusal: Refusal, ...uris: string[]) =>
  new Map(uris.map((uri) => [uri, { refusal, reason: 'no picture' }]))
/** Reconciles once more, and expects that no version of any row changed. */
async function again(told: Told = {}): Promise<ReconcileResult> {
  const versions = await rowVersions(stack.production, [])
  const result = await reconcile(production, told)
  expect(await rowVersions(stack.production, [])).toEqual(versions)
  return result
}
/** The rows as they would be written down for review, with nothing masked. */
async function review(told: Told = {}): Promise<ReviewedRow[]> {
  const bare = { ...leaflet, sensitiveColumns: [] }
  return [
    ...reviewedRows(await prepare(told), { snapshot: told.snapshot ?? snapshot, catalog, appview: bare }),
  ]
}
/** That the rows for review are those that were brought and set since, and hold what was said. */
async function expectAsReviewed(
  reviewed: readonly ReviewedRow[],
  { tables }: ReconcileResult,
): Promise<void> {
  const ids = reviewed.map(({ table, key }) => `${table} ${JSON.stringify(Object.values(key))}`)
  expect(new Set(ids).size).toBe(ids.length)
  const acted = tables.flatMap(({ table, rows }) =>
    rows.flatMap(({ id, outcome }) => (['restored', 'filled'].includes(outcome) ? [`${table} ${id}`] : [])),
  )
  expect(ids).toEqual(expect.arrayContaining(acted))
  for (const { table, key, values } of reviewed) {
    const where = Object.keys(key).map((column, index) => `"${column}"::text = $${index + 1}`)
    const texts = Object.keys(values).map((column) => `"${column}"::text as "${column}"`)
    const found = await stack.production.query(
      `select ${texts} from public."${table}" where ${where.join(' and ')}`,
      Object.values(key),
    )
    expect({ table, key, found }).toEqual({ table, key, found: [values] })
  }
}
/** Its outcome, by the first column of its key. */
function outcomeOf(result: ReconcileResult, table: string, key: string) {
  const rows = result.tables.find((candidate) => candidate.table === table)?.rows ?? []
  const found = rows.find(({ id }) => id.includes(JSON.stringify(key)))
  if (found === undefined) throw new Error(`${table} has no row ${key}`)
  const { id: _, ...rest } = found
  return rest
}
const dump = () => dumpTables(stack.production, OWN_TABLES)

async function saveTables(): Promise<void> {
  await sql('create schema saved')
  for (const { name } of catalog.tables) await sql(`create table saved.${name} as table public.${name}`)
}
async function resetTables(): Promise<void> {
  const columns = (name: string) => catalog.writableColumns(name).map((column) => `"${column}"`)
  const refill = catalog.tables.map(
    ({ name }) =>
      `insert into public.${name} (${columns(name)}) overriding system value select ${columns(name)} from saved.${name};`,
  )
  await sql(`set session_replication_role = replica;
    truncate ${catalog.tables.map(({ name }) => `public.${name}`).join(', ')};
    ${refill.join('\n')}
    set session_replication_role = origin;`)
}

// ---------------------------------------------------------------- all of it

describe('after an incident and nothing else', () => {
  test('every row is as it was, each has one outcome, and a second run changes no row version', async () => {
    await incident()
    expect((await one('select count(*)::int as n from leaflets_in_publications'))?.n).toBe(0)
    await writtenBack()
    const result = await reconcile()
    expect(await dump()).toEqual(before)
    for (const { table, key, rows } of snapshot.tables) {
      const found = result.tables.find((candidate) => candidate.table === table)?.rows ?? []
      expect(found.map(({ id }) => id).sort()).toEqual(rows.map((row) => rowId(row, key)).sort())
      for (const row of found)
        expect(['restored', 'filled', 'unchanged', 'derived'], `${table} ${JSON.stringify(row)}`).toContain(
          row.outcome,
        )
    }
    const versions = await rowVersions(stack.production, [])
    const again = await reconcile()
    expect(await rowVersions(stack.production, [])).toEqual(versions)
    const outcomes = again.tables.flatMap(({ rows }) => rows.map(({ outcome }) => outcome))
    expect(new Set(outcomes)).toEqual(new Set(['unchanged', 'derived']))
  })

  test('a plan writes nothing', async () => {
    await incident()
    await writtenBack()
    const versions = await rowVersions(stack.production, [])
    const { plan } = await prepare()
    expect(
      plan.tables.flatMap(({ rows }) => rows).filter(({ action }) => action !== 'none').length,
    ).toBeGreaterThan(5)
    expect(await rowVersions(stack.production, [])).toEqual(versions)
  })

  test('nothing is taken from the backup before a replay has finished', async () => {
    await incident()
    await expect(assertCaughtUp(production, AUTHOR)).rejects.toMatchObject({
      name: 'RestoreError',
      exitCode: 3,
    })
  })

  test('where nothing was lost nothing is written', async () => {
    const versions = await rowVersions(stack.production, [])
    const result = await reconcile()
    expect(await rowVersions(stack.production, [])).toEqual(versions)
    const outcomes = result.tables.flatMap(({ rows }) => rows.map(({ outcome }) => outcome))
    expect(new Set(outcomes)).toEqual(new Set(['unchanged', 'derived']))
  })
})

describe('a run that dies', () => {
  test('wherever it does, the next one ends in the same rows', async () => {
    let callCount = 0
    for (let dieAt = 1; ; dieAt++) {
      await resetTables()
      await incident()
      await writtenBack()
      callCount = 0
      const mortal: Database = {
        ...production,
        call(name, batch) {
          if (++callCount === dieAt) throw new TypeError('the process died')
          return production.call(name, batch)
        },
      }
      const first = await reconcile(mortal).then(
        () => 'finished',
        (error: unknown) => String(error),
      )
      if (first === 'finished') break
      expect(first).toContain('the process died')
      await reconcile()
      expect({ dieAt, dump: await dump() }).toEqual({ dieAt, dump: before })
    }
    expect(callCount).toBeGreaterThan(5)
  })

  test('after its inserts, before the columns it held back: the same end, told as restored or derived', async () => {
    await incident()
    await writtenBack()
    let isDead = false
    const mortal: Database = {
      ...production,
      call(name, batch) {
        if (name === 'firehose_replay_set_columns' && !isDead) {
          isDead = true
          throw new TypeError('the process died')
        }
        return production.call(name, batch)
      },
    }
    await expect(reconcile(mortal)).rejects.toThrow('the process died')
    // Only what is counted was held back: the rest of the row came as it was.
    expect(
      await one(
        `select bsky_like_count as likes, recommend_count as recommends from documents where uri = '${BROKEN}'`,
      ),
    ).toEqual({ likes: 7, recommends: 1 })
    await reconcile()
    expect(
      await one(
        `select bsky_like_count as likes, recommend_count as recommends from documents where uri = '${BROKEN}'`,
      ),
    ).toEqual({ likes: 7, recommends: 1 })
    expect(await dump()).toEqual(before)
  })
})

describe('what people did since', () => {
  test('a draft that was edited after its document went is filled, and keeps the edit', async () => {
    await incident(documentUri(0))
    await sql(`update leaflets_in_publications set title = 'edited since'`)
    await writtenBack([document(0)])
    const result = await reconcile()
    expect(await one('select doc, title from leaflets_in_publications')).toEqual({
      doc: documentUri(0),
      title: 'edited since',
    })
    expect(outcomeOf(result, 'leaflets_in_publications', PUBLICATION)).toMatchObject({ outcome: 'filled' })
  })

  test('a draft that its author took off a document that stood all along stays off', async () => {
    await incident(documentUri(1))
    await sql('update leaflets_in_publications set doc = null')
    await writtenBack([document(1)])
    const result = await reconcile()
    expect(await one('select doc from leaflets_in_publications')).toEqual({ doc: null })
    expect(outcomeOf(result, 'leaflets_in_publications', PUBLICATION)).toMatchObject({ outcome: 'kept' })
  })

  test('a draft that is at another document by now stays there', async () => {
    await incident(documentUri(0))
    await sql(`update leaflets_in_publications set doc = '${documentUri(2)}'`)
    await writtenBack([document(0)])
    const result = await reconcile()
    expect(await one('select doc from leaflets_in_publications')).toEqual({ doc: documentUri(2) })
    expect(outcomeOf(result, 'leaflets_in_publications', PUBLICATION)).toMatchObject({ outcome: 'kept' })
  })

  test.each(['before the incident', 'after it'])(
    'a reader who unsubscribed %s stays unsubscribed',
    async (when) => {
      if (when === 'before the incident') await index(remove(SUBSCRIPTION))
      await incident()
      if (when === 'after it') await index(remove(SUBSCRIPTION))
      await writtenBack()
      const result = await reconcile()
      expect(await sql('select uri from publication_subscriptions')).toEqual([])
      expect(outcomeOf(result, 'publication_subscriptions', READER)).toMatchObject({ outcome: 'withdrawn' })
    },
  )

  test('a reader who subscribed anew is subscribed once, as now', async () => {
    await incident()
    const anew = `at://${READER}/site.standard.graph.subscription/3zzzzzzzzzzz2`
    await index(remove(SUBSCRIPTION), subscription(anew))
    await writtenBack()
    const result = await reconcile()
    expect(await sql('select uri from publication_subscriptions')).toEqual([{ uri: anew }])
    expect(outcomeOf(result, 'publication_subscriptions', READER)).toMatchObject({ outcome: 'kept' })
  })

  test('a document that its author deleted since the backup stays deleted, with what hung on it', async () => {
    await index(remove(documentUri(1)))
    await incident(PUBLICATION, documentUri(0), documentUri(2), BROKEN)
    await writtenBack([publication(), document(0), document(2), broken()])
    const result = await reconcile()
    expect(await sql(`select uri from documents where uri = '${documentUri(1)}'`)).toEqual([])
    expect(outcomeOf(result, 'documents', documentUri(1))).toMatchObject({ outcome: 'withdrawn' })
    const detail = expect.stringContaining(documentUri(1))
    expect(outcomeOf(result, 'comments_on_documents', `${COMMENT.slice(0, -1)}4`)).toMatchObject({
      outcome: 'blocked',
      reason: detail,
    })
  })

  test('a comment that its author deleted while its document stood stays deleted', async () => {
    await incident(documentUri(1), documentUri(2))
    await index(remove(COMMENT))
    await sql(`delete from record_state where uri = '${COMMENT}'`) // nobody listened when it went
    await writtenBack([document(1), document(2)])
    const result = await reconcile()
    expect(outcomeOf(result, 'comments_on_documents', COMMENT)).toMatchObject({ outcome: 'withdrawn' })
    expect(await sql(`select uri from comments_on_documents where uri = '${COMMENT}'`)).toEqual([])
  })

  test('a draft whose token is gone is blocked, and says by what', async () => {
    await incident()
    const leaflets = snapshot.tables.find(({ table }) => table === 'leaflets_in_publications')?.rows ?? []
    const [first] = leaflets
    const token = first?.leaflet ?? ''
    await sql(`delete from permission_tokens where id = '${token}'`)
    await writtenBack()
    const result = await reconcile()
    expect(outcomeOf(result, 'leaflets_in_publications', PUBLICATION)).toMatchObject({
      outcome: 'blocked',
      reason: expect.stringMatching(/^permission_tokens .*id/),
    })
    expect(await sql('select leaflet from leaflets_in_publications')).toEqual([])
  })

  test('a unique key that is taken is a conflict, and says by whom', async () => {
    await incident()
    await writtenBack()
    const taker = `at://${READER}/site.standard.graph.recommend/3zzzzzzzzzzz2`
    await sql(`delete from recommends_on_documents where document = '${documentUri(0)}'; delete from parked_events;
      insert into recommends_on_documents (uri, record, document, recommender_did) values ('${taker}', '{}', '${documentUri(0)}', '${READER}')`)
    const result = await reconcile()
    expect(outcomeOf(result, 'recommends_on_documents', RECOMMEND)).toMatchObject({
      outcome: 'conflict',
      reason: expect.stringContaining(taker),
    })
    expect(await sql(`select uri from recommends_on_documents where document = '${documentUri(0)}'`)).toEqual(
      [{ uri: taker }],
    )
  })

  test('a domain that serves another publication by now stays with it', async () => {
    await incident()
    const other = `at://${OTHER}/site.standard.publication/3aaaaaaaaaaa2`
    await index(
      put(other, { $type: 'site.standard.publication', name: 'Other', url: 'https://notes.example' }),
    )
    await sql(
      `insert into publication_domains (publication, domain, identity) values ('${other}', 'notes.example', '${OTHER}')`,
    )
    await writtenBack()
    for (const result of [await reconcile(), await again()]) {
      expect(outcomeOf(result, 'publication_domains', PUBLICATION)).toEqual({
        outcome: 'conflict',
        reason: `held by publication_domains {"domain": "notes.example", "publication": "${other}"}`,
      })
    }
    expect(await sql(`select publication from publication_domains where domain = 'notes.example'`)).toEqual([
      { publication: other },
    ])
  })

  test('a domain that is handed over between plan and apply stays with whom it went to', async () => {
    await incident()
    const other = `at://${OTHER}/site.standard.publication/3aaaaaaaaaaa2`
    await index(put(other, { $type: 'site.standard.publication', name: 'Other', url: 'https://o.example' }))
    await writtenBack()
    const prepared = await prepare()
    await sql(
      `insert into publication_domains (publication, domain, identity) values ('${other}', 'notes.example', '${OTHER}')`,
    )
    const parts = { database: production, catalog, appview: leaflet, snapshot }
    const result = await applyReconcile({ ...parts, ...prepared })
    expect(outcomeOf(result, 'publication_domains', PUBLICATION)).toMatchObject({
      outcome: 'conflict',
      reason: expect.stringContaining(other),
    })
  })

  test('a key of an expression, or of a part of a table, that is taken is a conflict, and says by whom', async () => {
    await incident()
    await sql(`create unique index taken_expression on comments_on_documents (lower(document || '/' || uri));
      create unique index taken_part on comments_on_documents ((record ->> 'plaintext')) where document = '${documentUri(1)}'`)
    try {
      await writtenBack()
      const [old, holder] = [`${COMMENT.slice(0, -1)}4`, `at://${OTHER}/pub.leaflet.comment/3ccccccccccc2`]
      await sql(`delete from comments_on_documents where uri = '${old}';
        insert into comments_on_documents (uri, record, document) values ('${holder}', '{"plaintext": "hm"}', '${documentUri(1)}')`)
      for (const result of [await reconcile(), await again()]) {
        expect(outcomeOf(result, 'comments_on_documents', old)).toEqual({
          outcome: 'conflict',
          reason: `held by comments_on_documents {"uri": "${holder}"}`,
        })
      }
    } finally {
      await sql('drop index taken_expression, taken_part')
    }
  })

  test('what a trigger counts is not set back where everybody withdrew, and what nobody counts is', async () => {
    await incident()
    await index(remove(RECOMMEND), remove(`${RECOMMEND.slice(0, -1)}3`))
    await writtenBack()
    const counts = `select recommend_count as recommends, bsky_like_count as likes, indexed from documents where uri in ('${documentUri(0)}', '${BROKEN}') order by uri`
    const result = await reconcile()
    expect(await sql(counts)).toEqual([
      { recommends: 0, likes: 3, indexed: true },
      { recommends: 0, likes: 7, indexed: true },
    ])
    expect(result.triggerKept).toContainEqual({ table: 'documents', column: 'recommend_count' })
    await again()
  })

  test('nor where those who recommended have no account any more', async () => {
    await incident()
    await index(remove(RECOMMEND), remove(`${RECOMMEND.slice(0, -1)}3`))
    await sql(`delete from identities where atp_did = '${READER}'`)
    await writtenBack()
    await reconcile()
    expect(await one(`select recommend_count as n from documents where uri = '${documentUri(0)}'`)).toEqual({
      n: 0,
    })
    await again()
  })

  test('a domain that was given up altogether blocks its row', async () => {
    await incident()
    await sql(`delete from custom_domains`)
    await writtenBack()
    const result = await reconcile()
    expect(outcomeOf(result, 'publication_domains', PUBLICATION)).toMatchObject({
      outcome: 'blocked',
      reason: expect.stringContaining('notes.example'),
    })
  })

  test('what came to a restored row since is kept, and a row that somebody made is left whole', async () => {
    await incident()
    await writtenBack()
    await sql(`update documents set bsky_like_count = 9 where uri = '${documentUri(0)}';
      insert into publication_post_sends (publication, document, status) values ('${PUBLICATION}', '${documentUri(0)}', 'failed')`)
    const send = () =>
      one(`select status, started_at::text from publication_post_sends where document = '${documentUri(0)}'`)
    const made = await send()
    const result = await reconcile()
    expect(
      await one(
        `select bsky_like_count as likes, indexed_at::text from documents where uri = '${documentUri(0)}'`,
      ),
    ).toMatchObject({ likes: 9, indexed_at: '2026-01-05 10:00:00.123456+00' })
    expect(outcomeOf(result, 'publication_post_sends', documentUri(0))).toMatchObject({ outcome: 'kept' })
    expect(await send()).toEqual(made)
  })
})

describe('a missing parent', () => {
  test('blocks, and says which; with parents, profiles, posts and domains come first, and nothing else does', async () => {
    await incident()
    await sql(`delete from custom_domains; delete from bsky_posts; delete from bsky_profiles`)
    await writtenBack()
    const plan = (await prepare()).plan.tables
    expect(plan.find(({ table }) => table === 'publication_domains')?.rows).toEqual([
      {
        id: expect.any(String),
        action: 'none',
        outcome: 'blocked',
        reason: 'custom_domains {"domain": "notes.example"}',
      },
    ])
    const blocked = await reconcile()
    expect(outcomeOf(blocked, 'document_mentions_in_bsky', documentUri(5))).toEqual({
      outcome: 'blocked',
      reason: 'bsky_posts {"uri": "at://did:plc:x/app.bsky.feed.post/1"}',
    })
    const withParents = { withParents: true }
    const reviewed = await review(withParents)
    const result = await reconcile(production, withParents)
    await expectAsReviewed(reviewed, result)
    expect(reviewed.map(({ table }) => table)).toEqual(
      expect.arrayContaining(['custom_domains', 'bsky_posts']),
    )
    expect(await sql(`select uri from restore_marks where uri like 'row %'`)).toEqual([])
    for (const [table, key] of [
      ['custom_domains', 'notes.example'],
      ['bsky_posts', 'at://did:plc:x/app.bsky.feed.post/1'],
      ['publication_domains', PUBLICATION],
      ['document_mentions_in_bsky', documentUri(5)],
    ] as const)
      expect(outcomeOf(result, table, key)).toMatchObject({ outcome: 'restored' })
    const now = await dump()
    for (const table of ['custom_domains', 'bsky_posts', 'publication_domains', 'document_mentions_in_bsky'])
      expect(now.get(table)).toEqual(before.get(table))
    await again(withParents)
  })

  test('is never an identity or a token', async () => {
    await incident()
    await sql(`delete from publications; delete from identities where atp_did = '${READER}'`)
    await sql('delete from permission_tokens where id in (select leaflet from leaflets_to_documents) or true')
    await sql(`insert into identities (atp_did) values ('${AUTHOR}')`)
    await writtenBack()
    const result = await reconcile(production, { withParents: true })
    expect(outcomeOf(result, 'publication_subscriptions', READER)).toMatchObject({
      outcome: expect.stringMatching(/blocked|withdrawn/),
    })
    expect(outcomeOf(result, 'leaflets_in_publications', PUBLICATION)).toMatchObject({
      outcome: 'blocked',
      reason: expect.stringContaining('permission_tokens'),
    })
    expect(await sql(`select 1 from identities where atp_did = '${READER}'`)).toEqual([])
    await again({ withParents: true })
  })
})

describe('a row that was changed since, by an operator who means it,', () => {
  test('is set back, its old values are told, and a second run changes nothing', async () => {
    await incident(documentUri(0))
    await sql(`update leaflets_in_publications set title = 'edited since'`)
    await writtenBack([document(0)])
    await sql(`update documents set bsky_like_count = 9 where uri = '${documentUri(0)}'`)
    const told = { onConflict: 'overwrite' } as const
    const result = await reconcile(production, told)
    expect(outcomeOf(result, 'leaflets_in_publications', PUBLICATION)).toMatchObject({ outcome: 'restored' })
    expect(await dump()).toEqual(before)
    expect(result.overwritten).toContainEqual({
      table: 'leaflets_in_publications',
      id: expect.any(String),
      columns: ['doc', 'title'],
      old: { doc: null, title: 'edited since' },
    })
    expect(result.overwritten).toContainEqual(
      expect.objectContaining({
        table: 'documents',
        old: expect.objectContaining({ bsky_like_count: '9' }),
      }),
    )
    expect((await again(told)).overwritten).toEqual([])
  })

  test('stays where somebody changes it between plan and apply', async () => {
    await incident(documentUri(0))
    await sql(`update leaflets_in_publications set title = 'edited since'`)
    await writtenBack([document(0)])
    const parts = { database: production, catalog, appview: leaflet, snapshot }
    const prepared = await prepareReconcile({ ...parts, onConflict: 'overwrite' })
    await sql(`update leaflets_in_publications set title = 'and once more'`)
    const result = await applyReconcile({ ...parts, ...prepared })
    expect(outcomeOf(result, 'leaflets_in_publications', PUBLICATION)).toMatchObject({ outcome: 'kept' })
    expect(result.overwritten).toEqual([])
    expect(await one('select title from leaflets_in_publications')).toEqual({ title: 'and once more' })
  })
})

describe('consent', () => {
  const CID = 'bafyreihdwdcefgh4dqkjv67uzcmw7ojee6xedzdetojuzjevtenxquvyku'
  /** The reader's rows went, and nobody listened to what the reader did. */
  const unheard = async () => {
    await incident()
    await writtenBack()
    await sql(`delete from comments_on_documents where uri = '${COMMENT}'; delete from parked_events;
      delete from record_state where uri = '${COMMENT}'`)
  }
  const said = (decision: ConsentDecision) => new Map([[COMMENT, decision]])
  const same: ConsentDecision = { consent: 'same', cid: CID, rev: '3zzzzzzzzzzz2' }
  const comments = () => sql(`select uri from comments_on_documents where uri = '${COMMENT}'`)

  test('that is given: restored and verified, and what the record was stands in the index', async () => {
    await unheard()
    const result = await reconcile(production, { consent: said(same) })
    expect(outcomeOf(result, 'comments_on_documents', COMMENT)).toEqual({ outcome: 'restored' })
    expect(await one(`select rev, cid, deleted from record_state where uri = '${COMMENT}'`)).toEqual({
      rev: '3zzzzzzzzzzz2',
      cid: CID,
      deleted: false,
    })
    // An old event that is heard late takes nothing away.
    await index(remove(COMMENT))
    expect(await comments()).toHaveLength(1)
    await again({ consent: said(same) })
  })

  test.each<[string, ConsentDecision | undefined, Told['unreachable'], object, number]>([
    ['for another record', { consent: 'changed', cid: CID, rev: '3z' }, undefined, { outcome: 'derived' }, 0],
    [
      'that is withdrawn',
      { consent: 'withdrawn', reason: 'gone' },
      undefined,
      { outcome: 'withdrawn', reason: 'gone' },
      0,
    ],
    ['that nobody gave', { consent: 'unreachable', reason: 'down' }, undefined, { unverified: true }, 1],
    ['that must be given', { consent: 'unreachable', reason: 'down' }, 'skip', { outcome: 'blocked' }, 0],
    ['that nobody asked for', undefined, undefined, { outcome: 'restored', unverified: true }, 1],
  ])('%s', async (_, decision, unreachable, outcome, count) => {
    await unheard()
    const told: Told = { ...(decision && { consent: said(decision) }), ...(unreachable && { unreachable }) }
    const result = await reconcile(production, told)
    expect(outcomeOf(result, 'comments_on_documents', COMMENT)).toMatchObject(outcome)
    expect(await comments()).toHaveLength(count)
    await again(told)
  })

  test('that is taken back between plan and insert', async () => {
    await unheard()
    const asked: string[] = []
    const result = await reconcile(production, {
      consent: said(same),
      async consentAgain(uris) {
        asked.push(...uris)
        return said({ consent: 'withdrawn', reason: 'deleted just now' })
      },
    })
    expect(asked).toContain(COMMENT)
    expect(outcomeOf(result, 'comments_on_documents', COMMENT)).toEqual({
      outcome: 'withdrawn',
      reason: 'deleted just now',
    })
    expect(await comments()).toEqual([])
  })
})

describe('between plan and apply', () => {
  const applyAfter = async (change: string) => {
    await incident(documentUri(0))
    await writtenBack([document(0)])
    const prepared = await prepare()
    await sql(change)
    return applyReconcile({ database: production, catalog, appview: leaflet, snapshot, ...prepared })
  }

  test('a column that was filled by someone is kept', async () => {
    const result = await applyAfter(`update leaflets_in_publications set doc = '${documentUri(2)}'`)
    expect(await one('select doc from leaflets_in_publications')).toEqual({ doc: documentUri(2) })
    expect(outcomeOf(result, 'leaflets_in_publications', PUBLICATION)).toMatchObject({
      outcome: 'kept',
      reason: expect.any(String),
    })
  })

  test('a row that came is kept as it came', async () => {
    const result = await applyAfter(
      `insert into publication_post_sends (publication, document, status) values ('${PUBLICATION}', '${documentUri(0)}', 'now')`,
    )
    expect(
      await one(`select status from publication_post_sends where document = '${documentUri(0)}'`),
    ).toEqual({ status: 'now' })
    expect(outcomeOf(result, 'publication_post_sends', documentUri(0))).toMatchObject({ outcome: 'kept' })
  })

  test('a row whose parent went is blocked, and costs only itself', async () => {
    const result = await applyAfter(`delete from documents where uri = '${documentUri(0)}'`)
    expect(outcomeOf(result, 'publication_post_sends', documentUri(0))).toMatchObject({ outcome: 'blocked' })
    expect(outcomeOf(result, 'leaflets_in_publications', PUBLICATION)).not.toMatchObject({
      outcome: 'restored',
    })
  })

  test('a row that went while it was to be set is not told as set', async () => {
    const result = await applyAfter('delete from leaflets_in_publications')
    expect(outcomeOf(result, 'leaflets_in_publications', PUBLICATION)).toMatchObject({ outcome: 'kept' })
  })

  test('a reader who withdraws is heard', async () => {
    await incident()
    await writtenBack()
    await sql(`delete from comments_on_documents where uri = '${COMMENT}'; delete from parked_events`)
    const prepared = await prepare()
    await index(remove(COMMENT))
    const result = await applyReconcile({
      database: production,
      catalog,
      appview: leaflet,
      snapshot,
      ...prepared,
    })
    expect(outcomeOf(result, 'comments_on_documents', COMMENT)).toMatchObject({ outcome: 'withdrawn' })
    expect(new AtUri(COMMENT).host).toBe(READER)
  })
})

describe('a record that could not be written', () => {
  const REFUSED = [PUBLICATION, documentUri(0)]
  const written = () => records().filter(({ uri }) => !REFUSED.includes(uri.toString()))
  const told = (events = written()): Told => ({
    repo: repoOf(events),
    refused: refusedAs('blob-missing', ...REFUSED),
  })

  test('has its row all the same, with everything that hangs there; a second run changes nothing', async () => {
    await incident()
    await writtenBack(written())
    expect(await sql(`select document from documents_in_publications`)).toEqual([])
    const result = await reconcile(production, told())
    expect(await dump()).toEqual(before)
    const why = 'its record could not be written (blob-missing): no picture'
    for (const [table, uri = ''] of [
      ['publications', PUBLICATION],
      ['documents', documentUri(0)],
    ] as const) {
      expect(outcomeOf(result, table, uri)).toEqual({ outcome: 'restored', reason: why })
    }
    expect(outcomeOf(result, 'documents_in_publications', documentUri(0))).toEqual({
      outcome: 'restored',
      reason: why,
    })
    expect(outcomeOf(result, 'documents_in_publications', documentUri(1))).toMatchObject({
      outcome: 'restored',
      reason: expect.stringContaining('waits'),
    })
    expect(outcomeOf(result, 'publication_subscriptions', READER)).toMatchObject({ outcome: 'restored' })
    expect(await sql('select * from parked_events')).toEqual([])

    const versions = await rowVersions(stack.production, [])
    const again = await reconcile(production, told())
    expect(await rowVersions(stack.production, [])).toEqual(versions)
    expect(outcomeOf(again, 'publications', PUBLICATION)).toEqual({ outcome: 'unchanged', reason: why })
    const outcomes = again.tables.flatMap(({ rows }) => rows.map(({ outcome }) => outcome))
    expect(new Set(outcomes)).toEqual(new Set(['unchanged', 'derived']))
  })

  test('has it where all were refused, and where the index has never seen a record of the account', async () => {
    const all = records().map(({ uri }) => uri.toString())
    await incident()
    await reconcile(production, { repo: repoOf([]), refused: refusedAs('too-large', ...all) })
    expect(await dump()).toEqual(before)

    await resetTables()
    await incident()
    await sql('truncate record_state, parked_events')
    await reconcile(production, { repo: repoOf([]), refused: refusedAs('too-large', ...all) })
    expect(await dump()).toEqual(before)
  })

  test('a run that dies: wherever it does, the next one ends in the same rows', async () => {
    const newcomer = `at://${OTHER}/site.standard.graph.subscription/3ccccccccccc2`
    let callCount = 0
    for (let dieAt = 1; ; dieAt++) {
      await resetTables()
      await incident()
      await writtenBack(written())
      // One who came while the publication was gone is in no backup: he waits in the index.
      await index(subscription(newcomer))
      callCount = 0
      const mortal: Database = {
        ...production,
        call(name, batch) {
          if (++callCount === dieAt) throw new TypeError('the process died')
          return production.call(name, batch)
        },
      }
      const first = await reconcile(mortal, told()).then(
        () => 'finished',
        (error: unknown) => String(error),
      )
      if (first === 'finished') break
      expect(first).toContain('the process died')
      await reconcile(production, told())
      expect(
        await sql(`delete from publication_subscriptions where uri = '${newcomer}' returning 1`),
      ).toHaveLength(1)
      expect({ dieAt, dump: await dump() }).toEqual({ dieAt, dump: before })
    }
    expect(callCount).toBeGreaterThan(5)
  })

  test('what a record stands for in the repo by now is not what the backup links', async () => {
    const moved = put(documentUri(1), {
      $type: 'site.standard.document',
      site: 'https://elsewhere.example',
      title: 'Post 1',
      tags: ['cats'],
      publishedAt: '2026-01-01T00:00:00.000Z',
    })
    await incident()
    const events = [document(2), broken(), moved]
    await writtenBack(events)
    await reconcile(production, told(events))
    expect(await sql(`select * from documents_in_publications where document = '${documentUri(1)}'`)).toEqual(
      [],
    )
  })

  test('is withdrawn where nobody says that it was refused, or another one is there', async () => {
    await incident()
    await writtenBack(written())
    for (const refused of [undefined, refusedAs('conflict', ...REFUSED)]) {
      const { plan } = await prepare({ repo: repoOf(written()), ...(refused && { refused }) })
      const rows = plan.tables.find(({ table }) => table === 'publications')?.rows
      expect(rows).toMatchObject([{ action: 'none', outcome: 'withdrawn' }])
    }
    const { plan } = await prepare(told(records()))
    const rows = plan.tables.find(({ table }) => table === 'publications')?.rows
    expect(rows).toMatchObject([{ action: 'none', outcome: 'withdrawn' }])
  })

  test('keeps no reader away: who comes later hangs on the row', async () => {
    await incident()
    await writtenBack(written())
    await reconcile(production, told())
    const anew = `at://${OTHER}/site.standard.graph.subscription/3ccccccccccc2`
    await index(
      subscription(anew),
      recommend(`at://${OTHER}/site.standard.graph.recommend/2`, documentUri(0)),
    )
    expect(await sql(`select uri from publication_subscriptions where uri = '${anew}'`)).toHaveLength(1)
    expect(
      await sql(`select uri from recommends_on_documents where recommender_did = '${OTHER}'`),
    ).toHaveLength(1)
  })

  test('is no longer waited for, and written later after all, confirms its row', async () => {
    await incident()
    await writtenBack(written())
    await reconcile(production, told())
    await sql(`insert into replay_receipts (did, rev, commit) values ('${AUTHOR}', '3zzzzzzzzzzzz', 'c')`)
    await assertCaughtUp(production, AUTHOR)
    const own = ['record_state', 'restore_marks', 'parked_events']
    const versions = await rowVersions(stack.production, own)
    await writtenBack([publication(), document(0)])
    const result = await reconcile(production, { repo: repoOf(records()) })
    expect(await rowVersions(stack.production, own)).toEqual(versions)
    expect(outcomeOf(result, 'publications', PUBLICATION)).toEqual({ outcome: 'derived' })
    expect(await dump()).toEqual(before)
  })
})

describe('while the PDS cannot be written', () => {
  const all = () => records().map(({ uri }) => uri.toString())
  /** The repo as it is read now: at a revision after everything that happened so far. */
  const told = (events: readonly RecordUpsert[] = [], includeDerived: Told['includeDerived'] = {}): Told => ({
    repo: Object.assign(repoOf(events), { rev: publication().rev }),
    includeDerived,
  })
  const own = ['record_state', 'restore_marks', 'parked_events']
  const WRITES = new Set([
    'firehose_replay_mark',
    'firehose_replay_apply',
    'firehose_replay_restore',
    'firehose_replay_sweep',
    'firehose_replay_set_columns',
  ])

  test('every row comes from the backup, and the plan says which records are missing; a second run changes nothing', async () => {
    await incident()
    const now = told()
    const { plan } = await prepare(now)
    expect([...(plan.withoutRecords ?? [])].sort()).toEqual(all().sort())
    const result = await reconcile(production, now)
    expect(await dump()).toEqual(before)
    expect(outcomeOf(result, 'documents', documentUri(0))).toEqual({
      outcome: 'restored',
      reason: 'its record is not in the repo: the row rests on the backup alone',
    })
    expect(outcomeOf(await again(now), 'documents', documentUri(0))).toMatchObject({ outcome: 'unchanged' })
  })

  test('without the repo it is refused: what is missing is not known', async () => {
    await expect(prepare({ includeDerived: {} })).rejects.toMatchObject({ name: 'ConfigError' })
  })

  test('a run that dies: wherever it does, the next one ends in the same rows', async () => {
    for (let dieAt = 1; ; dieAt++) {
      await resetTables()
      await incident()
      const now = told()
      let callCount = 0
      const mortal: Database = {
        ...production,
        call(name, batch) {
          if (WRITES.has(name) && ++callCount === dieAt) throw new TypeError('the process died')
          return production.call(name, batch)
        },
      }
      const first = await reconcile(mortal, now).then(
        () => 'finished',
        (error: unknown) => String(error),
      )
      if (first === 'finished') break
      expect(first).toContain('the process died')
      await reconcile(production, now)
      expect({ dieAt, dump: await dump() }).toEqual({ dieAt, dump: before })
    }
  })

  test.each(['knows', 'has never heard of'])(
    'an index that %s the deletes is not misled by one that comes late',
    async (knows) => {
      const late = all().map((uri) => remove(uri, { $type: 'x' }))
      const lateCreate = document(0, 'from before')
      await incident()
      if (knows !== 'knows') await sql('truncate record_state, parked_events')
      await reconcile(production, told())
      const versions = await rowVersions(stack.production, own)
      await index(lateCreate, ...late.toReversed())
      expect(await rowVersions(stack.production, own)).toEqual(versions)
      // One that its author deletes after all: the revision decides.
      await index(remove(documentUri(0)))
      expect(await sql(`select uri from documents where uri = '${documentUri(0)}'`)).toEqual([])
    },
  )

  test('written and replayed later, they are confirmed: no row of the tables has a new version', async () => {
    await incident()
    await reconcile(production, told())
    const versions = await rowVersions(stack.production, own)
    const written = records()
    await writtenBack(written)
    expect(await rowVersions(stack.production, own)).toEqual(versions)
    const result = await reconcile(production, told(written))
    expect(await rowVersions(stack.production, own)).toEqual(versions)
    expect(outcomeOf(result, 'documents', documentUri(0))).toEqual({ outcome: 'derived' })
    const standing = await sql(
      `select uri from record_state where uri like 'at://${AUTHOR}/%' and not deleted`,
    )
    expect(standing).toHaveLength(written.length)
    expect(await sql('select * from parked_events')).toEqual([])
  })

  test('what has been edited before it was written is told apart from the rest', async () => {
    await incident()
    await reconcile(production, told())
    const versions = await rowVersions(stack.production, own)
    await writtenBack([publication(), document(0, 'another title'), document(1), document(2), broken()])
    const now = await rowVersions(stack.production, own)
    const changed = [...now].filter(([row, version]) => versions.get(row) !== version).map(([row]) => row)
    expect(changed).toEqual([`documents ${documentUri(0)}`])
    expect([...now.keys()].sort()).toEqual([...versions.keys()].sort())
  })

  test('a record that the repo has and the index has not is left to the replay', async () => {
    await incident()
    const back = document(1)
    const result = await reconcile(production, told([back]))
    expect(outcomeOf(result, 'documents', documentUri(1))).toMatchObject({
      outcome: 'derived',
      reason: expect.stringContaining('has not brought it'),
    })
    await index(back)
    await reconcile(production, told([back]))
    expect(await dump()).toEqual(before)
  })

  test('all but those exempted, or only those named; the exempted stay away with what hangs there', async () => {
    await incident()
    const except = await prepare(told([], { except: [documentUri(0)] }))
    expect(except.plan.withoutRecords).not.toContain(documentUri(0))
    expect(except.plan.withoutRecords).toHaveLength(all().length - 1)
    const only = await reconcile(production, told([], { uris: [PUBLICATION] }))
    expect(outcomeOf(only, 'publications', PUBLICATION)).toMatchObject({ outcome: 'restored' })
    expect(outcomeOf(only, 'documents', documentUri(0))).toEqual({
      outcome: 'withdrawn',
      reason: 'its record is not in the repo',
    })
    expect(await sql('select uri from documents')).toEqual([])
    await reconcile(production, told())
    expect(await dump()).toEqual(before)
  })

  test('a comment of its own that the author has deleted stays deleted: nobody would write it again', async () => {
    const remark = `at://${AUTHOR}/pub.leaflet.comment/3ccccccccccc2`
    await sql(`insert into bsky_profiles (did, record) values ('${AUTHOR}', '{}')`)
    await index(comment(remark, documentUri(0)))
    const whole = await extract({ database: production, catalog, appview: leaflet, did: AUTHOR })
    await index(remove(remark))
    await incident()
    const result = await reconcile(production, { ...told(), snapshot: whole })
    expect(outcomeOf(result, 'comments_on_documents', remark)).toEqual({
      outcome: 'withdrawn',
      reason: 'its record is not in the repo',
    })
    expect(await sql(`select uri from comments_on_documents where uri = '${remark}'`)).toEqual([])
  })
})

describe('a row that is fuller than its record', () => {
  const PAID = documentUri(6)
  const block = (plaintext: string) => ({ block: { $type: 'pub.leaflet.blocks.text', plaintext } })
  const FREE = [block('free'), { block: { $type: 'pub.leaflet.blocks.membersOnlyDelimiter' } }]
  const post = (title: string, blocks: JsonObject[]): JsonObject => ({
    $type: 'site.standard.document',
    site: PUBLICATION,
    title,
    publishedAt: '2026-01-01T00:00:00.000Z',
    content: {
      $type: 'pub.leaflet.content',
      pages: [{ $type: 'pub.leaflet.pages.linearDocument', id: '1', blocks }],
    },
  })
  const cut = (title = 'Paid') => put(PAID, post(title, FREE))
  /** A number that no double holds, in what only the database has. */
  const whole = (title = 'Paid') =>
    JSON.stringify(post(title, [...FREE, block('paid')])).replace(
      '"paid"',
      '"paid", "n": 12345678901234567890.10',
    )
  const now = () =>
    one(
      `select data, data::text as text, indexed_at::text, bsky_like_count as likes from documents where uri = '${PAID}'`,
    )

  async function withPaidPost(data = whole()): Promise<Snapshot> {
    await index(cut())
    await sql(`update documents set data = '${data}', bsky_like_count = 5,
      indexed_at = '2026-01-05 10:00:00.123456+00' where uri = '${PAID}'`)
    return extract({ database: production, catalog, appview: leaflet, did: AUTHOR })
  }

  test('gets its text back after the replay, to the digit; neither a second run nor a replay changes it', async () => {
    const own = await withPaidPost()
    const old = await now()
    await incident(PAID)
    const record = cut()
    await writtenBack([record])
    expect((await now())?.text).not.toContain('paid')
    const told = { snapshot: own, repo: repoOf([...records(), record]) }
    const reviewed = await review(told)
    expect(reviewed.find(({ key }) => key.uri === PAID)).toMatchObject({
      values: { data: expect.stringContaining('12345678901234567890.10') },
      now: { data: expect.not.stringContaining('paid') },
    })
    const result = await reconcile(production, told)
    await expectAsReviewed(reviewed, result)
    expect(outcomeOf(result, 'documents', PAID)).toEqual({
      outcome: 'restored',
      reason: 'the record in the repo is the shorter form of this row',
    })
    expect(await now()).toEqual(old)
    expect(old?.text).toContain('12345678901234567890.10')

    const versions = await rowVersions(stack.production, [])
    expect(outcomeOf(await reconcile(production, told), 'documents', PAID)).toEqual({ outcome: 'derived' })
    expect(await rowVersions(stack.production, [])).toEqual(versions)
    await index(record, cut())
    expect(await now()).toEqual(old)
  })

  test('without the repo at hand, as long as the row was made anew since the restore began', async () => {
    const own = await withPaidPost()
    const old = await now()
    await incident(PAID)
    await writtenBack([cut()])
    await reconcile(production, { snapshot: own })
    expect(await now()).toEqual(old)
  })

  test('keeps it where the row came from the backup before its record was written', async () => {
    const own = await withPaidPost()
    const old = await now()
    await incident(PAID)
    const events = records()
    const missing = { snapshot: own, repo: Object.assign(repoOf(events), { rev: publication().rev }) }
    await reconcile(production, { ...missing, includeDerived: {} })
    expect(await now()).toEqual(old)
    const record = cut()
    const versions = await rowVersions(stack.production, ['record_state', 'restore_marks'])
    await writtenBack([record])
    await reconcile(production, { snapshot: own, repo: repoOf([...events, record]) })
    expect(await rowVersions(stack.production, ['record_state', 'restore_marks'])).toEqual(versions)
  })

  test('what its author has written since is kept', async () => {
    const own = await withPaidPost()
    await incident(PAID)
    const record = cut()
    await writtenBack([record])
    await sql(
      `update documents set data = '${JSON.stringify(post('Rewritten', FREE))}' where uri = '${PAID}'`,
    )
    const since = await now()
    const told = { snapshot: own, repo: repoOf([...records(), record]) }
    expect(outcomeOf(await reconcile(production, told), 'documents', PAID)).toMatchObject({ outcome: 'kept' })
    expect(await now()).toEqual(since)
  })

  test('of a newer record only what the handler names is set back, and its digits with it', async () => {
    const own = await withPaidPost()
    await incident(PAID)
    const record = cut('New title')
    await writtenBack([record])
    const told = { snapshot: own, repo: repoOf([...records(), record]) }
    expect(outcomeOf(await reconcile(production, told), 'documents', PAID)).toEqual({
      outcome: 'filled',
      reason: 'the record in the repo is a newer, shorter form of this row',
    })
    const after = await now()
    expect(after?.text).toContain('New title')
    expect(after?.text).toContain('12345678901234567890.10')
    const versions = await rowVersions(stack.production, [])
    expect(outcomeOf(await reconcile(production, told), 'documents', PAID)).toMatchObject({ outcome: 'kept' })
    expect(await rowVersions(stack.production, [])).toEqual(versions)
  })

  test('comes from the backup where its handler takes nothing from the record in the repo', async () => {
    const own = await withPaidPost(JSON.stringify(post('Paid', [block('long')])))
    const old = await now()
    await incident(PAID)
    const inBlob = put(PAID, {
      ...post('Paid', []),
      content: {
        $type: 'pub.leaflet.content',
        pages: [],
        blobPages: {
          $type: 'blob',
          ref: { $link: 'bafkreihdwdcefgh4dqkjv67uzcmw7ojee6xedzdetojuzjevtenxquvyku' },
          mimeType: 'application/json',
          size: 1,
        },
      },
    })
    await writtenBack([inBlob])
    const told = { snapshot: own, repo: repoOf([...records(), inBlob]) }
    expect(outcomeOf(await reconcile(production, { snapshot: own }), 'documents', PAID)).toMatchObject({
      outcome: 'derived',
      reason: expect.stringContaining('has not brought it'),
    })
    expect(outcomeOf(await reconcile(production, told), 'documents', PAID)).toMatchObject({
      outcome: 'restored',
    })
    expect(await now()).toEqual(old)
  })
})

test('a row that names one whose record was refused gets it back, and what else it had, in one run', async () => {
  const garden = await startStack({ migrations: [GARDENS_MIGRATION] })
  try {
    const database = openDatabase({ ...garden.production, label: 'production' })
    const parts = { database, catalog: await readCatalog(database), appview: gardens }
    const apply = async (...events: RecordEvent[]) => {
      const indexer = new Indexer(parts)
      for (const event of events) await indexer.handle(event)
      await indexer.flush()
    }
    const plot = put(`at://${AUTHOR}/example.garden.plot/1`, { $type: 'example.garden.plot', title: 'North' })
    const planting = (rkey: string, follows?: string) =>
      put(`at://${AUTHOR}/example.garden.planting/${rkey}`, {
        $type: 'example.garden.planting',
        plot: plot.uri.toString(),
        crops: ['leek'],
        ...(follows && { follows }),
      })
    const first = planting('1')
    const second = planting('2', first.uri.toString())
    await apply(plot, first, second)
    await garden.production.query(
      `update plantings set noticed = '2025-03-02 06:00:00.457+00', remarks = 'slugs', expected_kg = 0.10;
       update "plantingCrops" set harvested_kg = 9007199254740993.50`,
    )
    const rows = await dumpTables(garden.production, OWN_TABLES)
    const own = await extract({ ...parts, did: AUTHOR })

    await apply(...[second, first].map(({ uri }) => remove(uri.toString())))
    const again = planting('2', first.uri.toString())
    await setMarks(database, [
      { uri: again.uri.toString(), cid: again.cid.toString(), did: AUTHOR, run: 'r' },
    ])
    await apply(again)
    const told = {
      ...parts,
      snapshot: own,
      repo: repoOf([plot, again]),
      refused: refusedAs('blob-missing', first.uri.toString()),
    }
    const run = async () => applyReconcile({ ...told, ...(await prepareReconcile(told)) })
    expect(outcomeOf(await run(), 'plantings', again.uri.toString())).toMatchObject({ outcome: 'filled' })
    expect(await dumpTables(garden.production, OWN_TABLES)).toEqual(rows)
    const versions = await rowVersions(garden.production, [])
    await run()
    expect(await rowVersions(garden.production, [])).toEqual(versions)
  } finally {
    await garden[Symbol.asyncDispose]()
  }
})
