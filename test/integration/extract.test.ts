/** From a lived-in production over its backup to the snapshot file, against what SQL says is there. */
import { appendFile, mkdir, mkdtemp, readdir, readFile, rm, stat, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { leaflet } from '../../src/appview/leaflet/index.ts'
import { assertDifferent } from '../../src/backup/backup-check.ts'
import { backupCatalog, droppedTables, refuseHiddenRows } from '../../src/backup/backup-schema.ts'
import { extract, extractTo } from '../../src/backup/extract.ts'
import type { Snapshot, SnapshotTable } from '../../src/backup/snapshot.ts'
import { readSnapshot, writeSnapshot } from '../../src/backup/snapshot-file.ts'
import { type Catalog, readCatalog } from '../../src/database/catalog.ts'
import { type Database, openDatabase } from '../../src/database/client.ts'
import { ConfigError, RestoreError, SnapshotError, UnavailableError } from '../../src/errors.ts'
import type { AppView } from '../../src/events.ts'
import { type Stack, startStack } from '../../src/stack/index.ts'

const ALICE = 'did:plc:alice'
/** Its DID is also a LIKE pattern that matches Mallory's. */
const WEB = 'did:web:a_b.example%3A8080'
const MALLORY = 'did:web:aXb.exampleYZ3A8080'
const BOB = 'did:plc:bob'
const SUBSCRIBERS = 2600

const PUBLICATION = `at://${ALICE}/site.standard.publication/blog`
const OTHER_PUBLICATION = `at://${ALICE}/pub.leaflet.publication/old`
const BOBS_PUBLICATION = `at://${BOB}/site.standard.publication/bobs`
const DOCUMENT = `at://${ALICE}/site.standard.document/post`
const SECOND = `at://${ALICE}/pub.leaflet.document/se.cond,(x)`
const BOBS_DOCUMENT = `at://${BOB}/site.standard.document/his`

const FILL = `
  insert into identities (atp_did, email, created_at)
    select d, d || '@example.com', '2025-01-01 00:00:00.000001+00' from unnest(array['${ALICE}', '${BOB}', '${WEB}', '${MALLORY}']) d;
  insert into identities (atp_did) select 'did:plc:reader' || i from generate_series(1, ${SUBSCRIBERS}) i;
  insert into bsky_profiles (did, record, handle) values ('${BOB}', '{"n": 9007199254740993}', 'bob.test');
  insert into custom_domains (domain, identity, confirmed) values ('blog.example', '${BOB}@example.com', true);
  insert into bsky_posts (uri, post_view, cid) values ('at://${BOB}/app.bsky.feed.post/1', '{}', 'bafy');

  insert into publications (uri, name, identity_did, record, indexed_at, draft_leaflet) values
    ('${PUBLICATION}', 'Blog 🙂', '${ALICE}', '{"big": 123456789012345678901234567890.10, "e": 1e400}', '2026-02-14 08:00:00.000001+00',
     (select home_page from identities where atp_did = '${BOB}')),
    ('${OTHER_PUBLICATION}', E'Old\\n"tab\\t', '${ALICE}', null, 'infinity', null),
    ('${BOBS_PUBLICATION}', 'Bob''s', '${BOB}', '{}', now(), null),
    ('at://${WEB}/site.standard.publication/w', 'Web', '${WEB}', '{}', now(), null),
    ('at://${MALLORY}/site.standard.publication/w', 'Not hers', '${MALLORY}', '{}', now(), null);
  insert into documents (uri, data, indexed_at) values
    ('${DOCUMENT}', '{"tags": ["Cats", "dogs"], "publishedAt": "2026-01-01T00:00:00.123456Z", "n": 9007199254740993}', '2026-02-14 08:00:00.999999+00'),
    ('${SECOND}', '{"publishedAt": "no date"}', '2026-02-14 08:00:00.1+00'),
    ('${BOBS_DOCUMENT}', '{"tags": ["Bobs"]}', now());
  insert into documents_in_publications (publication, document, members_only) values
    ('${PUBLICATION}', '${DOCUMENT}', true), ('${PUBLICATION}', '${SECOND}', false),
    ('${BOBS_PUBLICATION}', '${SECOND}', false), ('${BOBS_PUBLICATION}', '${BOBS_DOCUMENT}', false);

  insert into publication_subscriptions (publication, identity, record, uri, created_at)
    select '${PUBLICATION}', 'did:plc:reader' || i, jsonb_build_object('i', 9007199254740992 + i),
      'at://did:plc:reader' || i || '/site.standard.graph.subscription/s', '2026-01-01 00:00:00.000001+00'::timestamptz + i * interval '1 microsecond'
    from generate_series(1, ${SUBSCRIBERS}) i;
  insert into publication_subscriptions (publication, identity, record, uri)
    values ('${BOBS_PUBLICATION}', '${ALICE}', '{}', 'at://${ALICE}/site.standard.graph.subscription/b');
  insert into publication_domains (publication, domain, identity) values ('${PUBLICATION}', 'blog.example', '${ALICE}');
  insert into leaflets_in_publications (publication, doc, leaflet, title, tags)
    select '${PUBLICATION}', '${DOCUMENT}', home_page, 'draft', array['a', null, 'NULL', '', 'x"y,{z}\\']
    from identities where atp_did = '${ALICE}';
  insert into leaflets_in_publications (publication, doc, leaflet, tags)
    select '${BOBS_PUBLICATION}', '${SECOND}', home_page, null from identities where atp_did = '${BOB}';
  insert into leaflets_to_documents (document, leaflet) select '${SECOND}', home_page from identities where atp_did = '${ALICE}';
  insert into recommends_on_documents (uri, record, document, recommender_did)
    values ('at://${BOB}/site.standard.graph.recommend/1', '{}', '${DOCUMENT}', '${BOB}');
  insert into comments_on_documents (uri, record, document, profile)
    values ('at://${BOB}/pub.leaflet.comment/1', '{"a": 1}', '${SECOND}', '${BOB}'),
           ('at://${BOB}/pub.leaflet.comment/2', '{"a": 1}', '${BOBS_DOCUMENT}', null);
  insert into document_mentions_in_bsky (uri, link, document) values ('at://${BOB}/app.bsky.feed.post/1', 'https://x', '${DOCUMENT}');
  insert into publication_post_sends (publication, document) values ('${PUBLICATION}', '${DOCUMENT}');
  insert into publication_pages (document, publication, record, sort_order) values ('${DOCUMENT}', '${PUBLICATION}', '{"n": 9007199254740993}', 'a0');

  -- Two steps below a document, by a key of two columns, with a row that refers to itself.
  insert into notes values (1, '${DOCUMENT}', 'one, "two"', null), (2, '${DOCUMENT}', 'more', 1), (1, '${BOBS_DOCUMENT}', 'his', null);
  update notes set reply = 1 where number = 1;
  insert into note_lines (id, number, document, line)
    select i, 1 + i % 2, '${DOCUMENT}', 'line ' || i from generate_series(1, 300) i;
  insert into note_lines values (1000, 1, '${BOBS_DOCUMENT}', 'his');

  insert into kinds (id, document) values (1, '${DOCUMENT}'), (2, '${DOCUMENT}');
  update kinds set small = -32768, big = 9223372036854775807, exact = 'NaN', fixed = -12345678901234567890.00000000010000000000,
    double = 5e-324, single = 'Infinity', flag = false, short = 'ab', padded = 'ab ', bytes = '\\x00ff0a',
    day = '0044-03-15 BC', moment = '-infinity', instant = '294276-12-31 23:59:59.999999+00', clock = '24:00:00',
    zoned = '23:59:59.999999+05:30', span = '-1 year 2 mons -3 days 04:05:06.000007',
    loose = '{"n": [9007199254740993, 1.50, 1e400, -0.0], "s": "\\u00fc \\" \\\\ "}', strict = E' {"a": 1,\\n "a":  12345678901234567890}',
    texts = array['a', null, 'NULL', '', 'x"y,{z}\\', E'ü\\n\\t'], grid = '[2:3][0:1]={{1,NULL},{3,4}}', jsons = array['{"a": 1}'::jsonb, null],
    span_of = '[1,5)', days = '[2026-01-01,infinity)', many = '{[1,3),[5,)}', pair = row(1, 'a,"b"(', null),
    pairs = array[row(1, null, '{}')::kind_pair], mood = 'so "so"', moods = '{sad,"so \\"so\\"",NULL}', spot = '(0.1,-1e-300)',
    net = '10.0.0.1/8', bits = '0010', words = 'a fat cat', positive = 12.50, odd = E'\\x01\\x7f\\u2028🙂' where id = 1;
  insert into cased (name, document) select case when i % 2 = 0 then 'ÄPFEL ' else 'äpfel ' end || i, '${DOCUMENT}' from generate_series(1, 250) i;
  insert into cased_lines (name, line) select case when i % 2 = 0 then 'äpfel ' else 'ÄPFEL ' end || i, i from generate_series(1, 250) i;
  insert into sorted (name, at, document)
    select chr(32 + i % 90) || case i % 3 when 0 then 'é' when 1 then 'e' else 'E-' end || i % 7,
      timestamptz '2026-01-01 00:00:00.000001+00' + i * interval '1 microsecond', '${DOCUMENT}' from generate_series(1, 400) i;
  insert into slots (id, slot, document) select case when i % 3 = 0 then i::text end, i, '${DOCUMENT}' from generate_series(1, 300) i;
  insert into "Odd Table" select i % 7, 'k' || i, '${DOCUMENT}' from generate_series(1, 220) i;
  insert into "Odd Lines" select i, i % 7, 'k' || i from generate_series(1, 220) i;
  insert into bookmarks (uri, record, about) values
    ('a', '{"subject": {"uri": "${DOCUMENT}"}}', null),
    ('b', '{"subject": {"uri": "${BOBS_DOCUMENT}"}}', '${SECOND}'),
    ('c', '{"subject": "${DOCUMENT}"}', '${BOBS_DOCUMENT}'),
    ('d', '{"subject": {"uri": "${DOCUMENT}"}, "also": {"uri": "${BOBS_DOCUMENT}"}}', '${DOCUMENT}'),
    ('e', '{"subject": {"uri": null}}', 'https://x'),
    ('f', '{"also": {"uri": "${DOCUMENT}"}}', null);
  insert into rings (id, document, next) values
    (4, '${BOBS_DOCUMENT}', null), (3, '${BOBS_DOCUMENT}', null), (2, '${BOBS_DOCUMENT}', 3), (1, '${DOCUMENT}', 2);
  insert into hooks (id, ring) values (1, 3), (2, 4);
  update rings set hook = 2, next = 2 where id = 3;
`

/** Shapes that the appview's tables do not have; the foreign keys alone must lead there. */
const MORE_TABLES = `
  create table notes (
    number bigint, document text references documents (uri) on delete cascade, body text, reply bigint,
    primary key (number, document),
    foreign key (reply, document) references notes (number, document) on delete cascade
  );
  create table note_lines (
    id text primary key, number bigint, document text, line text,
    foreign key (number, document) references notes (number, document) on delete cascade
  );
  create type kind_pair as (n bigint, t text, j jsonb);
  create type kind_mood as enum ('sad', 'so "so"', 'glad');
  create domain kind_positive as numeric(10, 2) check (value > 0);
  create table kinds (
    id bigint primary key, document text references documents (uri) on delete cascade,
    small smallint, big bigint, exact numeric, fixed numeric(40, 20), double double precision, single real, flag boolean,
    short varchar(5), padded char(5), bytes bytea, day date, moment timestamp, instant timestamptz, clock time, zoned timetz,
    span interval, loose jsonb, strict json, texts text[], grid int[], jsons jsonb[], span_of int4range, days tstzrange,
    many int4multirange, pair kind_pair, pairs kind_pair[], mood kind_mood, moods kind_mood[], spot point, net inet,
    bits bit varying, words tsvector, positive kind_positive, odd text
  );

  create collation nocase (provider = icu, locale = 'und-u-ks-level2', deterministic = false);
  create table cased (name text collate nocase primary key, document text references documents (uri) on delete cascade);
  create table cased_lines (name text collate nocase references cased (name) on delete cascade, line bigint, primary key (name, line));
  create table sorted (
    name text collate "und-x-icu", at timestamptz, document text references documents (uri) on delete cascade, primary key (name, at)
  );
  create table slots (id text unique, slot bigint not null unique, document text references documents (uri) on delete cascade);
  create table "Odd Table" (
    "order" bigint, "theKey" text, "ofDocument" text references documents (uri) on delete cascade,
    primary key ("order", "theKey")
  );
  create table "Odd Lines" (
    "limit" bigint primary key, "select" bigint, "aB" text,
    foreign key ("select", "aB") references "Odd Table" on delete cascade
  );
  create table bookmarks (uri text primary key, record jsonb, about text);
  -- Round in a circle over rows that are not the account's, and up from there.
  create table hooks (id bigint primary key, ring bigint);
  create table rings (
    id bigint primary key, document text references documents (uri) on delete cascade,
    next bigint references rings, hook bigint references hooks
  );
  alter table hooks add foreign key (ring) references rings;
`

/** `subject` and `about` go with their document; what is named in passing is only needed. */
const APPVIEW: AppView = {
  ...leaflet,
  virtualReferences: [
    ...(leaflet.virtualReferences ?? []),
    ...(
      [
        [['record', 'subject', 'uri'], 'cascade'],
        [['about'], 'cascade'],
        [['record', 'also', 'uri'], 'no action'],
      ] as const
    ).map(([path, onDelete]) => ({
      child: 'bookmarks',
      path,
      parent: 'documents',
      parentColumn: 'uri',
      onDelete,
    })),
  ],
}

/** Which rows must be there, by SQL of its own: no look at a foreign key. */
const OWN_ROWS: Record<string, string> = {
  publications: `identity_did = '${ALICE}'`,
  documents: `uri like 'at://${ALICE}/%'`,
  documents_in_publications: `document like 'at://${ALICE}/%'`,
  publication_subscriptions: `publication = '${PUBLICATION}'`,
  publication_domains: 'true',
  leaflets_in_publications: 'true',
  leaflets_to_documents: 'true',
  recommends_on_documents: 'true',
  comments_on_documents: `document = '${SECOND}'`,
  document_mentions_in_bsky: 'true',
  publication_post_sends: 'true',
  publication_pages: 'true',
  document_tags: `uri = '${DOCUMENT}'`,
  notes: `document = '${DOCUMENT}'`,
  note_lines: `document = '${DOCUMENT}'`,
  kinds: 'true',
  cased: 'true',
  cased_lines: 'true',
  sorted: 'true',
  slots: 'true',
  'Odd Table': 'true',
  'Odd Lines': 'true',
  bookmarks: `uri in ('a', 'b', 'd')`,
  rings: 'id = 1',
}
const READERS_AND_OWNERS = `(atp_did like 'did:plc:reader%' or atp_did in ('${ALICE}', '${BOB}'))`
const PARENT_ROWS: Record<string, string> = {
  identities: READERS_AND_OWNERS,
  permission_tokens: `id in (select home_page from identities where ${READERS_AND_OWNERS})`,
  entities: `id in (select root_entity from permission_tokens t join identities i on i.home_page = t.id where ${READERS_AND_OWNERS})`,
  entity_sets: `id in (select e.set from entities e join permission_tokens t on t.root_entity = e.id join identities i on i.home_page = t.id where ${READERS_AND_OWNERS})`,
  custom_domains: 'true',
  bsky_posts: 'true',
  // Of tables that the delete takes rows from as well, and these are not taken.
  publications: `uri = '${BOBS_PUBLICATION}'`,
  documents: `uri = '${BOBS_DOCUMENT}'`,
  rings: 'id in (2, 3, 4)',
  hooks: 'id = 2',
}

let stack: Stack
let folder: string
let production: Database
let backup: Database
let catalog: Catalog
let snapshot: Snapshot

function open(database: { url: string; serviceKey: string }, label: string): Database {
  return openDatabase({ url: database.url, serviceKey: database.serviceKey, label })
}

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'extract-test-'))
  stack = await startStack()
  for (const side of [stack.production, stack.backup]) await side.query(MORE_TABLES)
  await stack.production.query(FILL)
  await stack.takeBackup()
  production = open(stack.production, 'production')
  backup = open(stack.backup, 'backup')
  catalog = await readCatalog(production)
  snapshot = await extract({ database: backup, catalog, appview: APPVIEW, did: ALICE })
})
afterAll(async () => {
  await stack?.[Symbol.asyncDispose]()
  await rm(folder, { recursive: true, force: true })
})

function named(tables: readonly SnapshotTable[], name: string): SnapshotTable {
  const found = tables.find(({ table }) => table === name)
  if (found === undefined) throw new Error(`The snapshot lacks ${name}.`)
  return found
}

/** All rows of a table as text, straight from the server. */
async function direct(table: string, where: string): Promise<unknown[]> {
  const columns = catalog.table(table).columns.map(({ name }) => `"${name}"::text`)
  return stack.backup.query(`select ${columns.join(', ')} from "${table}" where ${where}`)
}

/** Without an order of their own. */
function sorted(rows: Iterable<unknown>): string[] {
  return [...rows].map((row) => JSON.stringify(row)).sort()
}

describe('extract', () => {
  test('takes exactly the tables that the foreign keys reach, parents first', () => {
    expect(snapshot.tables.map(({ table }) => table).sort()).toEqual(Object.keys(OWN_ROWS).sort())
    // Profiles are no parents here: the comments' key to them went in the later schema.
    expect(snapshot.parents.map(({ table }) => table).sort()).toEqual(Object.keys(PARENT_ROWS).sort())
    for (const tables of [snapshot.tables, snapshot.parents]) {
      const order = tables.map(({ table }) => table)
      for (const { child, parent } of catalog.foreignKeys) {
        if (child === parent || !order.includes(child) || !order.includes(parent)) continue
        if (parent === 'rings') continue // in a circle with hooks: no order is right
        expect(order.indexOf(parent)).toBeLessThan(order.indexOf(child))
      }
    }
  })

  test.each(Object.entries(OWN_ROWS))('has every value of %s', async (table, where) => {
    const { rows } = named(snapshot.tables, table)
    expect(rows.length).toBeGreaterThan(0)
    expect(sorted(rows)).toEqual(sorted(await direct(table, where)))
  })

  test.each(Object.entries(PARENT_ROWS))('has every value of the parents in %s', async (table, where) => {
    const { rows } = named(snapshot.parents, table)
    expect(rows.length).toBeGreaterThan(0)
    expect(sorted(rows)).toEqual(sorted(await direct(table, where)))
  })

  test('loses no digit, microsecond or NULL', () => {
    const [publication] = named(snapshot.tables, 'publications').rows.filter(({ uri }) => uri === PUBLICATION)
    expect(publication?.record).toContain('123456789012345678901234567890.10')
    expect(publication?.indexed_at).toContain('08:00:00.000001')
    const [draft] = named(snapshot.tables, 'leaflets_in_publications').rows.filter(
      ({ title }) => title === 'draft',
    )
    expect(draft?.tags).toBe('{a,NULL,"NULL","","x\\"y,{z}\\\\"}')
    expect(named(snapshot.tables, 'publication_subscriptions').rows).toHaveLength(SUBSCRIBERS)
    expect(named(snapshot.parents, 'identities').rows).toHaveLength(SUBSCRIBERS + 2)
  })

  test('names sections and generated columns, and says where it comes from', () => {
    expect(named(snapshot.tables, 'comments_on_documents').section).toBe('comments')
    expect(named(snapshot.tables, 'document_tags').section).toBe('otherTables.document_tags')
    expect(named(snapshot.parents, 'identities').section).toBe('parents.identities')
    const generated = named(snapshot.tables, 'documents').columns.filter((column) => column.generated)
    expect(generated).toEqual([{ name: 'sort_date', type: 'timestamp with time zone', generated: true }])
    expect(snapshot.meta).toMatchObject({ from: backup.name, appview: 'leaflet', emptySections: [] })
  })

  test('gives the same rows in the same order when it runs again', async () => {
    const counts = new Map<string, number>()
    const onTable = (table: string, count: number) => counts.set(table, count)
    const again = await extract({ database: backup, catalog, appview: APPVIEW, did: ALICE, onTable })
    expect(again.tables).toEqual(snapshot.tables)
    expect(again.parents).toEqual(snapshot.parents)
    expect(counts.get('publication_subscriptions')).toBe(SUBSCRIBERS)
    expect(counts.get('identities')).toBe(SUBSCRIBERS + 2)
  })

  test('takes a DID for what it is and not for a pattern', async () => {
    const web = await extract({ database: backup, catalog, appview: APPVIEW, did: WEB })
    expect(named(web.tables, 'publications').rows.map(({ uri }) => uri)).toEqual([
      `at://${WEB}/site.standard.publication/w`,
    ])
    // Nothing refers to a document of this account, and its tables are there all the same.
    expect(web.tables.map(({ table }) => table)).toEqual(snapshot.tables.map(({ table }) => table))
    expect(named(web.parents, 'identities').rows.map(({ atp_did }) => atp_did)).toEqual([WEB])
  })

  test('lists sections that no table fills', async () => {
    const appview: AppView = {
      ...APPVIEW,
      sections: { ...APPVIEW.sections, table_of_another_day: 'anotherDay' },
    }
    const { meta } = await extract({ database: backup, catalog, appview, did: BOB })
    expect(meta.emptySections).toEqual(['anotherDay'])
  })

  test('is refused for an account that has nothing there, or for what is no DID', async () => {
    const nobody = extract({ database: backup, catalog, appview: APPVIEW, did: 'did:plc:nobody' })
    await expect(nobody).rejects.toThrow(RestoreError)
    await expect(nobody).rejects.toMatchObject({
      message: `The backup (${backup.name}) holds no publications or documents of did:plc:nobody.`,
      hint: expect.stringContaining('wrong DID'),
    })
    for (const did of ['alice.test', 'did:plc:*', '']) {
      await expect(extract({ database: backup, catalog, appview: APPVIEW, did })).rejects.toThrow(ConfigError)
    }
  })

  test('is refused with a key that sees no rows, and with a wrong one', async () => {
    expect(() =>
      openDatabase({ url: stack.backup.url, serviceKey: stack.backup.anonKey, label: 'backup' }),
    ).toThrow(ConfigError)
    const wrong = openDatabase({ url: stack.backup.url, serviceKey: 'sb_secret_wrong', label: 'backup' })
    await expect(extract({ database: wrong, catalog, appview: APPVIEW, did: ALICE })).rejects.toThrow(
      ConfigError,
    )
  })

  test('says when the backup cannot be reached', async () => {
    const gone = openDatabase({ url: 'http://127.0.0.1:9', serviceKey: 'sb_secret_x', label: 'backup' })
    await expect(extract({ database: gone, catalog, appview: APPVIEW, did: ALICE })).rejects.toThrow(
      UnavailableError,
    )
  })
})

describe('assertDifferent', () => {
  test('accepts a backup without our functions', async () => {
    await assertDifferent(production, backup, catalog)
  })

  test('refuses the same database, also by another URL, and names both', async () => {
    await expect(assertDifferent(production, production, catalog)).rejects.toThrow(ConfigError)
    const url = stack.production.url.replace('127.0.0.1', 'localhost')
    const alias = openDatabase({ url, serviceKey: stack.production.serviceKey, label: 'backup' })
    const refused = assertDifferent(production, alias, catalog)
    await expect(refused).rejects.toThrow(ConfigError)
    await expect(refused).rejects.toThrow(production.name)
    await expect(refused).rejects.toThrow(alias.name)
  })

  test('takes a refusal for no answer', async () => {
    const wrong = openDatabase({ url: stack.backup.url, serviceKey: 'sb_secret_wrong', label: 'backup' })
    await expect(assertDifferent(production, wrong, catalog)).rejects.toThrow(/refuses this key/)
    const gone = openDatabase({ url: 'http://127.0.0.1:9', serviceKey: 'sb_secret_x', label: 'backup' })
    await expect(assertDifferent(production, gone, catalog)).rejects.toThrow(UnavailableError)
  })
})

describe('the snapshot file', () => {
  test('holds every value, for its owner alone, and leaves nothing else behind', async () => {
    const path = join(folder, 'runs', 'alice', 'snapshot.json')
    const options = { database: backup, catalog, appview: APPVIEW, did: ALICE }
    const read = await extractTo(path, options)
    expect(read.meta).toMatchObject({ ...snapshot.meta, extractedAt: expect.any(String), dropped: [] })
    for (const [index, table] of [...read.tables, ...read.parents].entries()) {
      const expected = [...snapshot.tables, ...snapshot.parents][index]
      expect({ ...table, rows: undefined }).toEqual({ ...expected, rows: undefined })
      expect(table.rows.map((row) => JSON.stringify(row))).toEqual(
        expected?.rows.map((row) => JSON.stringify(row)),
      )
    }
    expect((await stat(path)).mode & 0o777).toBe(0o600)
    expect((await stat(join(folder, 'runs'))).mode & 0o777).toBe(0o700)
    expect((await stat(join(folder, 'runs', 'alice'))).mode & 0o777).toBe(0o700)
    await writeSnapshot(path, read)
    expect(await readdir(join(folder, 'runs', 'alice'))).toEqual(['snapshot.json'])
  })

  test('takes the place of a readable one and is not readable then', async () => {
    const path = join(folder, 'before.json')
    await writeFile(path, 'before', { mode: 0o644 })
    await writeSnapshot(path, snapshot)
    expect((await stat(path)).mode & 0o777).toBe(0o600)
  })

  test('that fails to be written leaves the one before and no other file', async () => {
    const place = join(folder, 'failing')
    const path = join(place, 'snapshot.json')
    await writeSnapshot(path, snapshot)
    const before = await readFile(path, 'utf8')
    const broken = {
      ...snapshot,
      get parents(): never {
        throw new Error('half way')
      },
    }
    await expect(writeSnapshot(path, broken)).rejects.toThrow(/cannot be written.*half way/)
    expect(await readFile(path, 'utf8')).toBe(before)
    expect(await readdir(place)).toEqual(['snapshot.json'])
    await mkdir(join(place, 'folder'))
    await expect(writeSnapshot(join(place, 'folder'), snapshot)).rejects.toThrow(SnapshotError)
    expect((await readdir(place)).sort()).toEqual(['folder', 'snapshot.json'])
  })

  test('is read from where it was, also when another takes its name', async () => {
    const path = join(folder, 'replaced.json')
    await writeSnapshot(path, snapshot)
    const read = await readSnapshot(path)
    await writeSnapshot(path, { ...snapshot, tables: [] })
    const rows = named(read.tables, 'publications').rows
    expect([...rows]).toEqual([...named(snapshot.tables, 'publications').rows])
    expect(rows.find(({ uri }) => uri === PUBLICATION)).toBeDefined()
    expect((await readSnapshot(path)).tables).toEqual([])
  })

  test('is not read on when it was written into', async () => {
    const path = join(folder, 'written-into.json')
    await writeSnapshot(path, snapshot)
    const { tables } = await readSnapshot(path)
    await appendFile(path, ' ')
    expect(() => [...named(tables, 'documents').rows]).toThrow(/cannot be read: it was changed/)
  })

  test('that is missing or cut short is a SnapshotError', async () => {
    await expect(readSnapshot(join(folder, 'nowhere.json'))).rejects.toThrow(SnapshotError)
    await expect(readSnapshot(folder)).rejects.toThrow(SnapshotError)
    const path = join(folder, 'cut.json')
    await writeSnapshot(path, snapshot)
    await writeFile(path, (await readFile(path)).subarray(0, 100_000))
    await expect(readSnapshot(path)).rejects.toThrow(/cut short/)
  })
})

describe('a backup of an older schema', () => {
  const extracted = (options: { catalog?: Catalog; did?: string } = {}) =>
    extract({ database: backup, catalog, appview: APPVIEW, did: WEB, ...options })

  test('gives what it has and says what it lacks', async () => {
    await stack.backup.query('alter table publications drop column name, drop column indexed_at')
    await stack.backup.query('drop table note_lines')
    const older = await extracted({ did: ALICE })
    expect(older.meta.lacking).toEqual([
      { table: 'note_lines' },
      { table: 'publications', columns: ['indexed_at', 'name'] },
    ])
    expect(older.tables.map(({ table }) => table)).not.toContain('note_lines')
    const publications = named(older.tables, 'publications')
    expect(publications.columns.map(({ name }) => name)).not.toContain('name')
    expect([...publications.rows]).toEqual([
      expect.not.objectContaining({ indexed_at: expect.anything() }),
      expect.not.objectContaining({ name: expect.anything() }),
    ])
    expect(sorted(named(older.tables, 'notes').rows)).toEqual(sorted(named(snapshot.tables, 'notes').rows))
    await writeSnapshot(join(folder, 'older.json'), older)
    const read = await readSnapshot(join(folder, 'older.json'))
    expect(read.meta).toMatchObject({ lacking: older.meta.lacking })
  })

  test('is refused where rows could not be told apart', async () => {
    await stack.backup.query('alter table publication_pages drop column id')
    await expect(extracted()).rejects.toThrow(ConfigError)
    await expect(extracted()).rejects.toThrow('lacks "publication_pages.id"')
    await expect(extracted()).rejects.toMatchObject({ table: 'publication_pages' })
    await stack.backup.query('alter table publication_pages add column id bigint')
  })

  test('is refused where rows are there and could not be found', async () => {
    await stack.backup.query('alter table slots drop column document')
    await expect(extracted()).rejects.toThrow(ConfigError)
    await expect(extracted()).rejects.toThrow('lacks "slots.document", by which')
    await stack.backup.query('alter table slots add column document text')
  })

  test('of a table without a key is refused by name', async () => {
    await stack.production.query('alter table slots alter column slot drop not null')
    const refused = readCatalog(production).then((changed) => extracted({ catalog: changed }))
    await expect(refused).rejects.toThrow(ConfigError)
    await expect(refused).rejects.toThrow('"slots" has no primary key')
    await stack.production.query('alter table slots alter column slot set not null')
  })

  test('may have what production has no more, where it can be asked', async () => {
    const { has, table } = catalog
    const later: Catalog = {
      ...catalog,
      has: (name) => name !== 'notes' && has(name),
      table: (name) => ({ ...table(name), columns: table(name).columns.filter((c) => c.name !== 'grid') }),
    }
    expect(droppedTables(await readCatalog(production), later, APPVIEW)).toEqual([
      { table: 'kinds', columns: ['grid'] },
      { table: 'notes' },
    ])
    expect(await backupCatalog(backup)).toBeUndefined()
  })

  test('whose rows are hidden from the key is refused, where it can be asked', async () => {
    const theirs = await readCatalog(production)
    const { table } = theirs
    refuseHiddenRows(theirs, APPVIEW, backup)
    for (const hidden of ['note_lines', 'entity_sets']) {
      const hiding: Catalog = {
        ...theirs,
        table: (name) => ({ ...table(name), rowSecurity: name === hidden }),
      }
      expect(() => refuseHiddenRows(hiding, APPVIEW, backup)).toThrow(ConfigError)
      expect(() => refuseHiddenRows(hiding, APPVIEW, backup)).toThrow(`backup database: "${hidden}"`)
    }
  })
})
