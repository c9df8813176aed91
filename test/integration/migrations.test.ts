/** What the appview's schema does by itself, on a real PostgreSQL: the behaviour that a restore has to live with. */
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import {
  applyMigrations,
  type PostgresClient,
  type PostgresServer,
  startPostgres,
} from '../../scripts/generate/fresh-database.ts'

const FEBRUARY = '20260214000000_appview_february.sql'
const AUGUST = '20260815000000_appview_august.sql'
const SCHEMAS = { february: [FEBRUARY], august: [FEBRUARY, AUGUST] }
type SchemaName = keyof typeof SCHEMAS
const BOTH: SchemaName[] = ['february', 'august']

const ALICE = 'did:plc:alice'
const BOB = 'did:plc:bob'
const PUBLICATION = `at://${ALICE}/site.standard.publication/blog`
const DOCUMENT = `at://${ALICE}/site.standard.document/post`

const SQLSTATE = {
  foreignKey: '23503',
  duplicate: '23505',
  generatedColumn: '428C9',
  dateOutOfRange: '22008',
  noSuchTable: '42P01',
}

/** Tables with one row each below PUBLICATION or DOCUMENT, and the column that names it. */
const LINKS: Record<string, 'publication' | 'document' | 'both'> = {
  documents_in_publications: 'both',
  publication_subscriptions: 'publication',
  publication_domains: 'publication',
  leaflets_in_publications: 'publication',
  leaflets_to_documents: 'document',
  recommends_on_documents: 'document',
  comments_on_documents: 'document',
  document_mentions_in_bsky: 'document',
}

let postgres: PostgresServer
let databaseCount = 0

beforeAll(async () => {
  postgres = await startPostgres()
  for (const schema of BOTH) {
    const client = await postgres.createDatabase(schema)
    await applyMigrations(client, SCHEMAS[schema])
    // A database with a connection cannot be a template.
    await client.end()
  }
})

afterAll(async () => {
  await postgres?.stop()
})

function emptyDatabase(schema: SchemaName): Promise<PostgresClient> {
  databaseCount += 1
  return postgres.createDatabase(`test_${databaseCount}`, schema)
}

/** Alice's publication with one document, and everything that Bob and the editor hung onto the two. */
async function livedInDatabase(schema: SchemaName): Promise<PostgresClient> {
  const client = await emptyDatabase(schema)
  await client.query(`
    insert into identities (atp_did) values ('${ALICE}'), ('${BOB}');
    insert into bsky_profiles (did, record) values ('${BOB}', '{}');
    insert into custom_domains (domain, identity, confirmed) values ('blog.example', null, true);
    insert into bsky_posts (uri, post_view, cid) values ('at://${BOB}/app.bsky.feed.post/1', '{}', 'bafy');
    insert into publications (uri, name, identity_did) values ('${PUBLICATION}', 'Blog', '${ALICE}');
    insert into documents (uri, data) values ('${DOCUMENT}', '{"tags": ["Cats"]}');

    insert into documents_in_publications (publication, document) values ('${PUBLICATION}', '${DOCUMENT}');
    insert into publication_subscriptions (publication, identity, record, uri)
      values ('${PUBLICATION}', '${BOB}', '{}', 'at://${BOB}/site.standard.graph.subscription/1');
    insert into publication_domains (publication, domain, identity)
      values ('${PUBLICATION}', 'blog.example', '${ALICE}');
    insert into leaflets_in_publications (publication, doc, leaflet)
      select '${PUBLICATION}', '${DOCUMENT}', home_page from identities where atp_did = '${ALICE}';
    insert into leaflets_to_documents (document, leaflet)
      select '${DOCUMENT}', home_page from identities where atp_did = '${ALICE}';
    insert into recommends_on_documents (uri, record, document, recommender_did)
      values ('at://${BOB}/site.standard.graph.recommend/1', '{}', '${DOCUMENT}', '${BOB}');
    insert into comments_on_documents (uri, record, document, profile)
      values ('at://${BOB}/pub.leaflet.comment/1', '{}', '${DOCUMENT}', '${BOB}');
    insert into document_mentions_in_bsky (uri, link, document)
      values ('at://${BOB}/app.bsky.feed.post/1', 'https://blog.example/post', '${DOCUMENT}');
  `)
  return client
}

async function count(client: PostgresClient, table: string): Promise<number> {
  const { rows } = await client.query<{ count: number }>(`select count(*)::int as count from ${table}`)
  return rows[0]?.count ?? Number.NaN
}

async function counts(client: PostgresClient, tables: readonly string[]): Promise<Record<string, number>> {
  const entries: [string, number][] = []
  for (const table of tables) entries.push([table, await count(client, table)])
  return Object.fromEntries(entries)
}

/** The first row's only column. */
async function value(client: PostgresClient, sql: string): Promise<unknown> {
  const { rows } = await client.query<Record<string, unknown>>(sql)
  return Object.values(rows[0] ?? {})[0]
}

async function expectRefused(client: PostgresClient, sql: string, code: string): Promise<void> {
  await expect(client.query(sql)).rejects.toMatchObject({ code })
}

async function tableNames(client: PostgresClient): Promise<string[]> {
  const { rows } = await client.query<{ name: string }>(
    `select relname as name from pg_class where relnamespace = 'public'::regnamespace and relkind = 'r'
     order by relname`,
  )
  return rows.map(({ name }) => name)
}

async function edgesBelowRoots(client: PostgresClient): Promise<string[]> {
  const { rows } = await client.query<{ edge: string }>(`
    select format('%s.%s > %s %s', conrelid::regclass, a.attname, confrelid::regclass, confdeltype) as edge
    from pg_constraint
    join pg_attribute a on a.attrelid = conrelid and a.attnum = conkey[1]
    where contype = 'f' and confrelid in ('publications'::regclass, 'documents'::regclass)`)
  return rows.map(({ edge }) => edge).sort()
}

/** Edges as `child.column > parent rule`; the rule is pg_constraint's: c CASCADE, n SET NULL, a NO ACTION. */
const FEBRUARY_EDGES = [
  'comments_on_documents.document > documents c',
  'document_mentions_in_bsky.document > documents c',
  'documents_in_publications.document > documents c',
  'documents_in_publications.publication > publications c',
  'leaflets_in_publications.doc > documents n',
  'leaflets_in_publications.publication > publications c',
  'leaflets_to_documents.document > documents c',
  'publication_domains.publication > publications c',
  'publication_subscriptions.publication > publications c',
  'recommends_on_documents.document > documents c',
]
const AUGUST_EDGES = [
  'document_tags.uri > documents c',
  'publication_pages.document > documents a',
  'publication_pages.publication > publications c',
  'publication_post_sends.document > documents c',
  'publication_post_sends.publication > publications c',
]

describe.each(BOTH)('the schema of %s', (schema) => {
  it('makes four rows for every identity, also when an upsert becomes an update', async () => {
    const client = await emptyDatabase(schema)
    const tables = ['entity_sets', 'entities', 'permission_tokens', 'permission_token_rights']
    const upsert = `insert into identities (atp_did) values ('${ALICE}')
      on conflict (atp_did) do update set atp_did = excluded.atp_did`
    await client.query(upsert)
    expect(Object.values(await counts(client, tables))).toEqual([1, 1, 1, 1])
    await client.query(upsert)
    expect(Object.values(await counts(client, tables))).toEqual([2, 2, 2, 2])
    expect(await count(client, 'identities')).toBe(1)
  })

  it('fails to make them under an empty search_path', async () => {
    const client = await emptyDatabase(schema)
    await client.query(`set search_path = ''`)
    await expectRefused(client, 'insert into public.identities default values', SQLSTATE.noSuchTable)
  })

  it('deletes an identity and its publications with its home page', async () => {
    const client = await livedInDatabase(schema)
    await client.query('delete from leaflets_in_publications; delete from entity_sets')
    expect(await counts(client, ['identities', 'publications', 'documents'])).toEqual({
      identities: 0,
      publications: 0,
      documents: 1,
    })
  })

  it('refuses a custom domain and a draft that leave their reference to its default', async () => {
    const client = await livedInDatabase(schema)
    await expectRefused(
      client,
      `insert into custom_domains (domain, confirmed) values ('x.example', true)`,
      SQLSTATE.foreignKey,
    )
    const draft = (columns: string, values: string) => `insert into leaflets_in_publications
      (publication, leaflet${columns}) select '${PUBLICATION}', home_page${values} from identities
      where atp_did = '${BOB}'`
    await expectRefused(client, draft('', ''), SQLSTATE.foreignKey)
    await client.query(draft(', doc', ', null'))
  })

  it('computes sort_date and refuses a value for it', async () => {
    const client = await emptyDatabase(schema)
    const insert = (publishedAt: string) => `insert into documents (uri, data, indexed_at)
      values ('${DOCUMENT}', '{"publishedAt": "${publishedAt}"}', '2026-02-01T00:00:00Z')
      on conflict (uri) do update set data = excluded.data returning sort_date`
    const indexedAt = new Date('2026-02-01T00:00:00Z')
    expect(await value(client, insert('2026-01-01T00:00:00Z'))).toEqual(new Date('2026-01-01T00:00:00Z'))
    expect(await value(client, insert('2027-01-01T00:00:00Z'))).toEqual(indexedAt)
    expect(await value(client, insert('yesterday'))).toEqual(indexedAt)
    await expectRefused(client, insert('2026-13-01T00:00:00Z'), SQLSTATE.dateOutOfRange)
    await expectRefused(
      client,
      `insert into documents (uri, data, sort_date) values ('at://x/y/z', '{}', now())`,
      SQLSTATE.generatedColumn,
    )
    await client.query(`set timezone = 'America/New_York'`)
    expect(await value(client, insert('2026-01-01T00:00:00'))).toEqual(new Date('2026-01-01T05:00:00Z'))
  })

  it('takes one recommend per person and document, whichever collection it came in', async () => {
    const client = await livedInDatabase(schema)
    await expectRefused(
      client,
      `insert into recommends_on_documents (uri, record, document, recommender_did)
       values ('at://${BOB}/pub.leaflet.interactions.recommend/1', '{}', '${DOCUMENT}', '${BOB}')`,
      SQLSTATE.duplicate,
    )
  })

  it('counts recommends on insert and delete, not on update', async () => {
    const client = await livedInDatabase(schema)
    const recommendCount = () =>
      value(client, `select recommend_count from documents where uri = '${DOCUMENT}'`)
    expect(await recommendCount()).toBe(1)
    await client.query(
      `insert into documents (uri, data) values ('at://${ALICE}/site.standard.document/2', '{}')`,
    )
    await client.query(
      `update recommends_on_documents set document = 'at://${ALICE}/site.standard.document/2'`,
    )
    expect(await recommendCount()).toBe(1)
    await client.query(`update recommends_on_documents set document = '${DOCUMENT}'`)
    await client.query('delete from recommends_on_documents')
    expect(await recommendCount()).toBe(0)
  })

  it("deletes a publication's rows and keeps its documents", async () => {
    const client = await livedInDatabase(schema)
    await client.query(`delete from publications where uri = '${PUBLICATION}'`)
    const expected = Object.entries(LINKS).map(([table, of]) => [table, of === 'document' ? 1 : 0])
    expect(await counts(client, Object.keys(LINKS))).toEqual(Object.fromEntries(expected))
    expect(await count(client, 'documents')).toBe(1)
  })

  it("deletes a document's rows and turns its post into a draft", async () => {
    const client = await livedInDatabase(schema)
    await client.query(`delete from documents where uri = '${DOCUMENT}'`)
    const expected = Object.entries(LINKS).map(([table, of]) => [table, of === 'publication' ? 1 : 0])
    expect(await counts(client, Object.keys(LINKS))).toEqual(Object.fromEntries(expected))
    expect(await value(client, 'select doc from leaflets_in_publications')).toBeNull()
  })

  it('shows no row and no error to the public roles, and all to service_role', async () => {
    const client = await livedInDatabase(schema)
    const tables = await tableNames(client)
    const all = await counts(client, tables)
    expect(all.documents).toBe(1)
    for (const role of ['anon', 'authenticated']) {
      await client.query(`set role ${role}`)
      expect(new Set(Object.values(await counts(client, tables)))).toEqual(new Set([0]))
    }
    await client.query('set role service_role')
    expect(await counts(client, tables)).toEqual(all)
    await client.query(`insert into identities (atp_did) values ('did:plc:carol')`)
  })

  it('has row-level security on every table and no policy', async () => {
    const client = await emptyDatabase(schema)
    const unprotected = `select count(*)::int from pg_class
      where relnamespace = 'public'::regnamespace and relkind = 'r' and not relrowsecurity`
    expect(await value(client, unprotected)).toBe(0)
    expect(await count(client, 'pg_policies')).toBe(0)
  })
})

describe('the schema of february', () => {
  it('has exactly the ten known edges below publications and documents', async () => {
    const client = await emptyDatabase('february')
    expect(await edgesBelowRoots(client)).toEqual(FEBRUARY_EDGES)
  })

  it('refuses a comment by somebody without a profile row', async () => {
    const client = await livedInDatabase('february')
    await expectRefused(
      client,
      `insert into comments_on_documents (uri, record, profile) values ('at://x/y/z', '{}', '${ALICE}')`,
      SQLSTATE.foreignKey,
    )
    await client.query('delete from bsky_profiles')
    expect(await value(client, 'select profile from comments_on_documents')).toBeNull()
  })
})

describe('the schema of august', () => {
  it('adds its edges to those of february', async () => {
    const client = await emptyDatabase('august')
    expect(await edgesBelowRoots(client)).toEqual([...FEBRUARY_EDGES, ...AUGUST_EDGES].sort())
  })

  it('keeps a comment by somebody without a profile row', async () => {
    const client = await livedInDatabase('august')
    await client.query('delete from bsky_profiles')
    expect(await value(client, 'select profile from comments_on_documents')).toBe(BOB)
  })

  it('fills document_tags and tag_counts for rows from before it', async () => {
    const client = await livedInDatabase('february')
    await applyMigrations(client, [AUGUST])
    expect(await value(client, 'select members_only from documents_in_publications')).toBe(false)
    expect(await tagCounts(client)).toEqual({ cats: 1 })
  })

  it('keeps document_tags and tag_counts by triggers', async () => {
    const client = await livedInDatabase('august')
    const tag = (tags: string) =>
      client.query(`update documents set data = '{"tags": ${tags}}'
      where uri = '${DOCUMENT}'`)
    await client.query(`insert into documents (uri, data)
      values ('at://${BOB}/site.standard.document/1', '{"tags": ["CATS", "cats", "Dogs", 7, null]}')`)
    expect(await tagCounts(client)).toEqual({ cats: 2, dogs: 1 })
    await tag('["dogs"]')
    expect(await tagCounts(client)).toEqual({ cats: 1, dogs: 2 })
    await tag('"dogs"')
    expect(await tagCounts(client)).toEqual({ cats: 1, dogs: 1 })
    await client.query(`delete from documents where uri like 'at://${BOB}/%'`)
    expect(await tagCounts(client)).toEqual({})
    expect(await count(client, 'document_tags')).toBe(0)
  })

  it('collides with the rows of document_tags that a restore brings', async () => {
    const client = await livedInDatabase('august')
    await expectRefused(
      client,
      `insert into document_tags (uri, tag) values ('${DOCUMENT}', 'cats')`,
      SQLSTATE.duplicate,
    )
  })

  it('does not delete a document that a page shows, until the publication is gone', async () => {
    const client = await livedInDatabase('august')
    await client.query(`insert into publication_pages (document, publication, sort_order)
      values ('${DOCUMENT}', '${PUBLICATION}', 'a0')`)
    await expectRefused(client, `delete from documents where uri = '${DOCUMENT}'`, SQLSTATE.foreignKey)
    await client.query(`delete from publications where uri = '${PUBLICATION}'`)
    await client.query(`delete from documents where uri = '${DOCUMENT}'`)
    expect(await counts(client, ['publication_pages', 'documents'])).toEqual({
      publication_pages: 0,
      documents: 0,
    })
  })

  it.each(['publications', 'documents'])('loses the guard of sent posts with %s', async (table) => {
    const client = await livedInDatabase('august')
    await client.query(`insert into publication_post_sends (publication, document)
      values ('${PUBLICATION}', '${DOCUMENT}')`)
    expect(await value(client, 'select status from publication_post_sends')).toBe('pending')
    await client.query(`delete from ${table}`)
    expect(await count(client, 'publication_post_sends')).toBe(0)
  })
})

async function tagCounts(client: PostgresClient): Promise<Record<string, number>> {
  const { rows } = await client.query<{ tag: string; documentCount: number }>(
    'select tag, document_count::int as "documentCount" from tag_counts order by tag',
  )
  return Object.fromEntries(rows.map(({ tag, documentCount }) => [tag, documentCount]))
}
