/** What our migration brings: who may use it, and that it holds with the appview's triggers and several writers. */
import { setTimeout as sleep } from 'node:timers/promises'
import { createClient } from '@supabase/supabase-js'
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest'
import { leaflet } from '../../src/appview/leaflet/index.ts'
import { constantDefault, readCatalog } from '../../src/database/catalog.ts'
import { type Database, openDatabase } from '../../src/database/client.ts'
import { databaseErrorOf } from '../../src/database/failure.ts'
import type { RecordEvent } from '../../src/events.ts'
import { applyEvents } from '../../src/indexer/apply.ts'
import { handlersOf } from '../../src/indexer/batch.ts'
import { Indexer } from '../../src/indexer/indexer.ts'
import { type DatabaseConnection, type Stack, startStack } from '../../src/stack/index.ts'
import { put, remove } from './record-events.ts'

const AUTHOR = 'did:plc:author'
const READER = 'did:plc:reader'
const PUBLICATION = `at://${AUTHOR}/site.standard.publication/3aaaaaaaaaaa2`
const OUR_TABLES = [
  'dead_letters',
  'firehose_cursors',
  'parked_events',
  'record_state',
  'replay_receipts',
  'restore_marks',
  'write_failures',
  'write_requests',
]

let stack: Stack
let database: Database
let connections: DatabaseConnection[]
const sql = (text: string) => stack.production.query(text)

beforeAll(async () => {
  stack = await startStack()
  database = openDatabase({ ...stack.production, label: 'production' })
  connections = [await stack.production.connect(), await stack.production.connect()]
})
afterAll(() => stack?.[Symbol.asyncDispose]())
beforeEach(async () => {
  await sql(`truncate identities, publications, documents, entity_sets, tag_counts, ${OUR_TABLES} cascade`)
})

const documentUri = (n: number) => `at://${AUTHOR}/site.standard.document/3bbbbbbbbbb${n + 2}2`
const publication = (name = 'Notes') =>
  put(PUBLICATION, { $type: 'site.standard.publication', name, url: 'https://notes.example' })
const document = (n: number, title = `Post ${n}`, site = PUBLICATION) =>
  put(documentUri(n), {
    $type: 'site.standard.document',
    site,
    title,
    tags: ['cats', title],
    publishedAt: '2026-01-01T00:00:00.000Z',
  })
const recommend = (n: number, rkey: string, did = READER) =>
  put(`at://${did}/site.standard.graph.recommend/${rkey}`, {
    $type: 'site.standard.graph.recommend',
    document: documentUri(n),
    createdAt: '2026-01-02T00:00:00.000Z',
  })
const subscription = (rkey: string, did = READER, collection = 'site.standard.graph.subscription') =>
  put(`at://${did}/${collection}/${rkey}`, { $type: collection, publication: PUBLICATION })

async function index(events: readonly RecordEvent[], into = database): Promise<Indexer> {
  const indexer = new Indexer({ appview: leaflet, database: into })
  for (const event of events) await indexer.handle(event)
  await indexer.flush()
  return indexer
}

/** The same database over a connection of its own, with every SQLSTATE: Supabase Lite keeps only some of them. */
function over(connection: DatabaseConnection): Database {
  return {
    ...database,
    async call(name, batch) {
      try {
        await connection.query('set role service_role')
        const rows = await connection.query(`select ${name}($1) as answer`, [JSON.stringify(batch)])
        return rows[0]?.answer
      } catch (error) {
        const { message, code } = error as { message: string; code: string }
        throw databaseErrorOf({ message, code }, code === '23505' ? 409 : 500, 'production')
      }
    },
  }
}

describe('who may', () => {
  const clientOf = (key: string) =>
    createClient(stack.production.url, key, { auth: { persistSession: false, autoRefreshToken: false } })
  const functions = () =>
    sql(`select p.oid::regprocedure::text as signature, p.proname as name, proargnames[1:pronargs] as names,
                array(select format_type(t, null) from unnest(p.proargtypes) t) as types,
                p.prosecdef as definer, coalesce(array_to_string(p.proconfig, ';'), '') as config
         from pg_proc p where p.proname like 'firehose\\_replay\\_%' order by 1`)

  /** One that the type takes: the call must fail for its caller, not for its argument. */
  const argumentOf = (type: string | undefined) =>
    type === 'boolean'
      ? true
      : type === 'integer'
        ? 0
        : type === 'regclass'
          ? 'documents'
          : type?.endsWith('[]')
            ? []
            : '{}'

  test('anon may call no function', async () => {
    const found = await functions()
    expect(found.length).toBeGreaterThan(20)
    const anon = clientOf(stack.production.anonKey)
    for (const { name, names, types } of found) {
      const args = Object.fromEntries(
        ((names ?? []) as string[]).map((argument, n) => [argument, argumentOf((types as string[])[n])]),
      )
      const { data, error } = await anon.rpc(String(name), args)
      expect({ name, data, code: error?.code }).toEqual({ name, data: null, code: '42501' })
    }
  })

  test('anon reads and writes none of the tables, also where rows are', async () => {
    await index([publication(), subscription('3ccccccccccc2'), recommend(9, '3ccccccccccc2')])
    await sql(`insert into restore_marks (uri, cid, did, run) values ('u', 'c', 'd', 'r');
      insert into firehose_cursors values ('r', 1);
      insert into replay_receipts values ('d', '3a', 'c');
      insert into write_requests values ('i', 'd', '[]');
      insert into write_failures values ('i', 'd', 'r', 'E', 'm', 'h', now());
      insert into dead_letters (uri, rev, source, seq, event, code, error) values ('u', 'r', 's', 1, '{}', 'X', 'e')`)
    const before = await Promise.all(OUR_TABLES.map((name) => sql(`select * from ${name}`)))
    for (const rows of before) expect(rows.length).toBeGreaterThan(0)
    const anon = clientOf(stack.production.anonKey)
    for (const name of OUR_TABLES) {
      const columns = Object.keys(before[OUR_TABLES.indexOf(name)]?.[0] ?? {})
      const column = columns.find((candidate) => candidate !== 'id') ?? ''
      const row: object = { [column]: '7' }
      const tries = [
        await anon.from(name).select('*'),
        await anon.from(name).insert(row),
        await anon.from(name).update(row).not(column, 'is', null),
        await anon.from(name).delete().not(column, 'is', null),
      ]
      for (const { error, data } of tries)
        expect({ name, data, code: error?.code }).toMatchObject({ data: null, code: '42501' })
    }
    expect(await Promise.all(OUR_TABLES.map((name) => sql(`select * from ${name}`)))).toEqual(before)
  })

  test.each(['anon', 'authenticated'])(
    '%s has no privilege on anything that is ours, by any way',
    async (role) => {
      expect(
        await sql(`select p.oid::regprocedure::text from pg_proc p where p.proname like 'firehose\\_replay\\_%'
                 and has_function_privilege('${role}', p.oid, 'execute')`),
      ).toEqual([])
      const tables = await sql(`select c.relname as name, c.relrowsecurity as rls,
        has_table_privilege('${role}', c.oid, 'select, insert, update, delete, truncate, references, trigger')
          or has_any_column_privilege('${role}', c.oid, 'select, insert, update, references') as may
      from pg_class c join pg_namespace n on n.oid = c.relnamespace
      where n.nspname = 'public' and c.relkind = 'r' and c.relname = any(array[${OUR_TABLES.map((name) => `'${name}'`)}])
      order by 1`)
      expect(tables).toEqual(OUR_TABLES.map((name) => ({ name, rls: true, may: false })))
      expect(
        await sql(
          `select policyname from pg_policies where tablename = any(array[${OUR_TABLES.map((name) => `'${name}'`)}])`,
        ),
      ).toEqual([])
    },
  )

  test('the tables that are ours are all that the migration adds', async () => {
    const names = (rows: Record<string, unknown>[]) => rows.map(({ name }) => String(name))
    const list = `select relname as name from pg_class where relnamespace = 'public'::regnamespace and relkind = 'r' order by 1`
    const before = names(await stack.backup.query(list))
    expect(names(await sql(list)).filter((name) => !before.includes(name))).toEqual(OUR_TABLES)
  })

  test('service_role may call every function, and no function lends its rights', async () => {
    for (const { signature, definer, config } of await functions()) {
      const [row] = await sql(
        `select has_function_privilege('service_role', '${signature}', 'execute') as may`,
      )
      expect({ signature, ...row, definer }).toEqual({ signature, may: true, definer: false })
      expect(config, String(signature)).toContain('search_path=public, extensions, pg_temp')
    }
    expect(await database.call('firehose_replay_catalog')).toMatchObject({ instance: expect.any(String) })
    expect(await database.call('firehose_replay_sweep', { tables: ['publications'] })).toMatchObject({
      changed: [],
    })
  })
})

test('constant and computed defaults are told apart as this Postgres prints them', async () => {
  const constants: [definition: string, text: string | null][] = [
    ["text default ''", ''],
    ["text default 'it''s'", "it's"],
    ["text default E'a\\\\b'", 'a\\b'],
    ['text', null],
    ['text default null', null],
    ['boolean default false', 'false'],
    ['integer default -1', '-1'],
    ['bigint default 0::bigint', '0'],
    ['numeric(10,2) default -1.50', '-1.50'],
    ["varchar(10) default 'x'", 'x'],
    ["text[] default '{}'", '{}'],
    ["jsonb default '{}'::jsonb", '{}'],
    ["timestamptz default '2026-01-01 00:00:00+00'", '2026-01-01 00:00:00+00'],
  ]
  const computed = [
    'timestamptz default now()',
    'timestamptz default current_timestamp',
    "timestamptz default 'now'::text::timestamptz",
    "timestamptz default timezone('utc', now())",
    'uuid default gen_random_uuid()',
    'bigserial',
    "text default lower('A')",
  ]
  const all = [...constants.map(([definition]) => definition), ...computed]
  await stack.backup.query(
    `create table odd (id bigint generated always as identity primary key, ${all.map((definition, n) => `c${n} ${definition}`)})`,
  )
  const printed = await stack.backup.query(
    `select a.attname as name, format_type(a.atttypid, a.atttypmod) as type, pg_get_expr(d.adbin, d.adrelid) as "default"
     from pg_attribute a left join pg_attrdef d on d.adrelid = a.attrelid and d.adnum = a.attnum
     where a.attrelid = 'odd'::regclass and a.attnum > 1 order by a.attnum`,
  )
  const found = printed.map((row) => {
    const text = constantDefault({
      ...(row as { name: string; type: string; default: string | null }),
      nullable: true,
      generated: false,
      identity: null,
    })
    return [String(row.default), text]
  })
  expect(found.map(([, text]) => text)).toEqual([
    ...constants.map(([, text]) => text),
    ...computed.map(() => undefined),
  ])
})

describe("with the appview's defaults and triggers", () => {
  const homes = async () => {
    const count = (table: string) => `(select count(*)::int from ${table}) as ${table}`
    return (
      await sql(
        `select ${['identities', 'permission_tokens', 'permission_token_rights', 'entities', 'entity_sets'].map(count)}`,
      )
    )[0]
  }
  const ofEach = (n: number) => ({
    identities: n,
    permission_tokens: n,
    permission_token_rights: n,
    entities: n,
    entity_sets: n,
  })

  test('a new identity gets its home page exactly once, however often its events come', async () => {
    const events = [publication(), document(0), subscription('3ccccccccccc2'), recommend(0, '3ccccccccccc2')]
    await index(events)
    expect(await homes()).toEqual(ofEach(2))
    for (const event of events) await index([event])
    await index(events.toReversed())
    await index([publication('Renamed'), subscription('3ddddddddddd2')])
    expect(await homes()).toEqual(ofEach(2))
  })

  test('and when several writers meet the same new people at once', async () => {
    await index([publication()])
    const people = Array.from({ length: 15 }, (_, n) => `did:plc:reader${n}`)
    const events = people.map((did) => subscription('3ccccccccccc2', did))
    const [a, b] = connections.map(over)
    if (a === undefined || b === undefined) throw new Error('no connections')
    await Promise.all([index(events, a), index(events.toReversed(), b), index(events)])
    expect(await sql('select count(*)::int as n from publication_subscriptions')).toEqual([{ n: 15 }])
    // The default makes its rows before the loser of a race learns that it lost. What matters: no identity twice,
    // and each with a home page of its own.
    expect(
      await sql('select count(*)::int as n, count(distinct home_page)::int as homes from identities'),
    ).toEqual([{ n: 16, homes: 16 }])
    expect((await homes())?.permission_tokens).toBe(16)
  })

  test('counts are what their rows say after creates, updates, deletes and repeats', async () => {
    const made = [
      publication(),
      document(0, 'one'),
      document(1, 'two'),
      recommend(0, '3ccccccccccc2'),
      recommend(1, '3ddddddddddd2'),
    ]
    await index(made)
    await index([document(0, 'three'), remove(`at://${READER}/site.standard.graph.recommend/3ddddddddddd2`)])
    await index(made)
    expect(await sql('select uri, recommend_count as n from documents order by 1')).toEqual([
      { uri: documentUri(0), n: 1 },
      { uri: documentUri(1), n: 0 },
    ])
    expect(await sql('select tag, document_count::int as n from tag_counts order by 1')).toEqual([
      { tag: 'cats', n: 2 },
      { tag: 'three', n: 1 },
      { tag: 'two', n: 1 },
    ])
  })
})

describe('two writers at once', () => {
  const handlers = handlersOf(leaflet)
  const bothAtOnce = (first: readonly RecordEvent[], second: readonly RecordEvent[]) => {
    const [a, b] = connections.map(over)
    if (a === undefined || b === undefined) throw new Error('no connections')
    return Promise.all([applyEvents(a, handlers, first), applyEvents(b, handlers, second)])
  }

  test('end with the highest revision of each record, 20 times over', async () => {
    await index([publication()])
    for (let round = 0; round < 20; round++) {
      const events = Array.from(
        { length: 12 },
        (_, n) => [document(n % 12, `a${round}`), document(n % 12, `b${round}`)] as const,
      )
      // Every second record is newer with the one writer, the others with the other; in opposite orders.
      const first = events.map(([older, newer], n) => (n % 2 === 0 ? older : newer))
      const second = events.map(([older, newer], n) => (n % 2 === 0 ? newer : older)).toReversed()
      const recommends = [0, 3, 7, 11].map((n, rank) => recommend(n, `3cccccccccc${rank + 2}2`))
      const results = await bothAtOnce([...first, ...recommends], [...recommends.toReversed(), ...second])
      expect(results.flat().map(({ outcome }) => outcome)).not.toContain('dead-lettered')
    }
    expect(await sql(`select distinct data->>'title' as title from documents`)).toEqual([{ title: 'b19' }])
    expect(
      await sql('select d.uri from documents d join record_state s using (uri) where s.deleted'),
    ).toEqual([])
    expect(
      await sql(
        `select sum(recommend_count)::int as counted, (select count(*)::int from recommends_on_documents) as n from documents`,
      ),
    ).toEqual([{ counted: 4, n: 4 }])
    expect(await sql('select * from dead_letters')).toEqual([])
  })

  test('a delete and a create of one record leave what is newer', async () => {
    await index([publication()])
    for (let round = 0; round < 10; round++) {
      const created = document(0, `round ${round}`)
      const deleted = remove(documentUri(0))
      await bothAtOnce([created], [deleted])
      expect(await sql('select uri from documents')).toEqual([])
      const again = document(0, `again ${round}`)
      await bothAtOnce([remove(documentUri(1))], [again])
      expect(await sql(`select data->>'title' as title from documents`)).toEqual([
        { title: `again ${round}` },
      ])
    }
  })

  test('two records that want one key settle it; neither becomes a dead letter', async () => {
    await index([publication()])
    for (let round = 0; round < 10; round++) {
      const did = `did:plc:reader${round}`
      const results = await bothAtOnce(
        [subscription('3ccccccccccc2', did)],
        [subscription('3ddddddddddd2', did, 'pub.leaflet.graph.subscription')],
      )
      expect(results.flat().map(({ outcome }) => outcome)).not.toContain('dead-lettered')
      expect(
        await sql(
          `select split_part(uri, '/', 5) as rkey from publication_subscriptions where identity = '${did}'`,
        ),
      ).toEqual([{ rkey: '3ddddddddddd2' }])
      expect(
        await sql(`select count(*)::int as n from parked_events where uri like 'at://${did}/%'`),
      ).toEqual([{ n: 1 }])
    }
    expect(await sql('select * from dead_letters')).toEqual([])
  })

  /** Applies `first`, and `second` while the first is not committed yet. */
  async function overlapping(first: RecordEvent, second: RecordEvent): Promise<void> {
    const [a, b] = connections
    if (a === undefined || b === undefined) throw new Error('no connections')
    await a.query('begin')
    await applyEvents(over(a), handlers, [first])
    const other = applyEvents(over(b), handlers, [second])
    await Promise.race([other, sleep(150)])
    await a.query('commit')
    expect((await other).map(({ outcome }) => outcome)).not.toContain('dead-lettered')
  }
  const subscribers = async () =>
    (await sql(`select split_part(uri, '/', 5) as rkey from publication_subscriptions`)).map(
      ({ rkey }) => rkey,
    )

  test('a child that comes while its parent is on its way is not left waiting', async () => {
    await overlapping(publication(), subscription('3ccccccccccc2'))
    expect(await subscribers()).toEqual(['3ccccccccccc2'])
    expect(await sql('select uri from parked_events')).toEqual([])
  })

  test('nor is one whose parent comes while it is being parked', async () => {
    await overlapping(subscription('3ccccccccccc2'), publication())
    expect(await subscribers()).toEqual(['3ccccccccccc2'])
    expect(await sql('select uri from parked_events')).toEqual([])
  })

  test('a child outlives its parent that is deleted while it comes', async () => {
    await index([publication()])
    await overlapping(remove(PUBLICATION), subscription('3ccccccccccc2'))
    expect(await subscribers()).toEqual([])
    await index([publication()])
    expect(await subscribers()).toEqual(['3ccccccccccc2'])
  })

  test('and one that had just come when its parent was deleted', async () => {
    await index([publication()])
    await overlapping(subscription('3ccccccccccc2'), remove(PUBLICATION))
    expect(await subscribers()).toEqual([])
    await index([publication()])
    expect(await subscribers()).toEqual(['3ccccccccccc2'])
  })

  test('who lost a key to a record that is just being deleted has it', async () => {
    const other = 'pub.leaflet.graph.subscription'
    await index([publication(), subscription('3ddddddddddd2', READER, other)])
    await overlapping(remove(`at://${READER}/${other}/3ddddddddddd2`), subscription('3ccccccccccc2'))
    expect(await subscribers()).toEqual(['3ccccccccccc2'])
    expect(await sql('select uri from parked_events')).toEqual([])
  })

  test('the catalog can be read meanwhile', async () => {
    const [, catalog] = await Promise.all([index([publication(), document(0)]), readCatalog(database)])
    expect(catalog.has('documents')).toBe(true)
  })
})
