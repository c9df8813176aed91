/** What a schema may do besides: references that it does not declare, narrower columns, partitions, forbidden deletes. */

import { afterAll, beforeAll, beforeEach, expect, test } from 'vitest'
import { extract } from '../../src/backup/extract.ts'
import type { Snapshot } from '../../src/backup/snapshot.ts'
import { readCatalog } from '../../src/database/catalog.ts'
import { type Database, openDatabase } from '../../src/database/client.ts'
import { setMarks } from '../../src/database/marks.ts'
import type { AppView, RecordEvent } from '../../src/events.ts'
import { Indexer } from '../../src/indexer/indexer.ts'
import { applyReconcile, type ReconciledRow } from '../../src/reconcile/apply.ts'
import { prepareReconcile } from '../../src/reconcile/reconcile.ts'
import { type Stack, startStack } from '../../src/stack/index.ts'
import { WORKSHOP_MIGRATION, workshop } from '../fixtures/workshop/index.ts'
import { OWN_TABLES, rowVersions } from './dump.ts'
import { put, remove } from './record-events.ts'

const AUTHOR = 'did:plc:author'
const TOOL = `at://${AUTHOR}/example.workshop.tool/1`
/** Whose rows no foreign key ties to the tool: the app's own code deletes and empties them. */
const appview: AppView = {
  ...workshop,
  virtualReferences: [
    { child: 'notes', path: ['tool'], parent: 'tools', parentColumn: 'uri', onDelete: 'cascade' },
    {
      child: 'clips',
      path: ['data', 'of', 'tool'],
      parent: 'tools',
      parentColumn: 'uri',
      onDelete: 'cascade',
    },
    { child: 'pins', path: ['tool'], parent: 'tools', parentColumn: 'uri', onDelete: 'set null' },
  ],
}
const NEW_TABLES = ['notes', 'clips', 'pins', 'titles', 'parts', 'boxes', 'things']

let stack: Stack
let production: Database
let snapshot: Snapshot
const sql = (text: string) => stack.production.query(text)

beforeAll(async () => {
  stack = await startStack({ migrations: [WORKSHOP_MIGRATION] })
  production = openDatabase({ ...stack.production, label: 'production' })
  await sql(`
    create table notes (id integer primary key, tool text, words text);
    create table clips (id integer primary key, data jsonb);
    create table pins (id integer primary key, tool text, words text);
    create table titles (id integer primary key, tool text not null references tools (uri) on delete cascade, title varchar(40));
    create table parts (id integer primary key, tool text not null references tools (uri) on delete cascade, size integer)
      partition by range (id);
    create table parts_1 partition of parts for values from (0) to (1000);
    create table boxes (id integer primary key, tool text not null references tools (uri) on delete cascade, thing_count integer not null default 0);
    create table things (id integer primary key, box integer not null references boxes (id) on delete cascade);
    create function count_things() returns trigger language plpgsql as $$ begin
      update boxes set thing_count = thing_count + 1 where id = new.box;
      return new;
    end $$;
    create trigger count_things after insert on things for each row execute function count_things();
    create function keep_thing() returns trigger language plpgsql as $$ begin
      raise exception 'things stay' using errcode = 'insufficient_privilege';
    end $$;
    create function grow() returns trigger language plpgsql as $$ begin
      new.size := new.size + 100;
      return new;
    end $$;
    notify pgrst, 'reload schema'`)
  await index(record())
  await sql(`
    insert into notes values (1, '${TOOL}', 'one'), (2, null, 'of nothing');
    insert into clips values (1, '{"of": {"tool": "${TOOL}"}}');
    insert into pins values (1, '${TOOL}', 'one');
    insert into titles values (1, '${TOOL}', 'short'), (2, '${TOOL}', 'longer than ten');
    insert into parts values (1, '${TOOL}', 5);
    insert into boxes values (1, '${TOOL}');
    insert into things values (1, 1), (2, 1);
    update tools set first_seen = '2026-01-01'`)
  const catalog = await readCatalog(production)
  snapshot = await extract({ database: production, catalog, appview, did: AUTHOR })
  await sql('create schema saved')
  for (const table of NEW_TABLES) await sql(`create table saved.${table} as table public.${table}`)
})
afterAll(() => stack?.[Symbol.asyncDispose]())

beforeEach(async () => {
  await index(remove(TOOL))
  await sql(`delete from notes where tool is not null; delete from clips; update pins set tool = null`)
  const { uri, cid } = record()
  await setMarks(production, [{ uri: uri.toString(), cid: cid.toString(), did: AUTHOR, run: 'r' }])
  await index(record())
})

const record = () => put(TOOL, { $type: 'example.workshop.tool', name: 'plane' })

async function index(...events: RecordEvent[]): Promise<void> {
  const indexer = new Indexer({ appview, database: production })
  for (const event of events) await indexer.handle(event)
  await indexer.flush()
}

/** What became of the rows of one table, by id. */
async function reconciled(table: string): Promise<Record<string, ReconciledRow>> {
  const parts = { database: production, catalog: await readCatalog(production), appview, snapshot }
  const { tables } = await applyReconcile({ ...parts, ...(await prepareReconcile(parts)) })
  const rows = tables.find((candidate) => candidate.table === table)?.rows ?? []
  return Object.fromEntries(rows.map((row) => [JSON.parse(row.id)[0], row]))
}

const asSaved = async (table: string) =>
  expect(await sql(`select * from ${table} order by id`)).toEqual(
    await sql(`select * from saved.${table} order by id`),
  )

test('what hangs by a reference that only the description knows comes back, and is filled', async () => {
  expect((await reconciled('notes'))['1']?.outcome).toBe('restored')
  for (const table of ['notes', 'clips', 'pins']) await asSaved(table)
  const versions = await rowVersions(stack.production, OWN_TABLES)
  expect((await reconciled('pins'))['1']?.outcome).toBe('unchanged')
  expect(await rowVersions(stack.production, OWN_TABLES)).toEqual(versions)
})

test('a value that production has no room for is refused, and not cut', async () => {
  await sql('delete from titles; alter table titles alter column title type varchar(10)')
  const rows = await reconciled('titles')
  expect(rows['1']?.outcome).toBe('restored')
  expect(rows['2']).toMatchObject({ outcome: 'failed', reason: expect.stringContaining('value too long') })
  expect(await sql('select id, title from titles')).toEqual([{ id: 1, title: 'short' }])
  await sql('alter table titles alter column title type varchar(40)')
})

test('a trigger of a partition is watched like one of its table', async () => {
  await sql('create trigger grow before insert on parts_1 for each row execute function grow()')
  expect((await reconciled('parts'))['1']?.outcome).toBe('restored')
  await asSaved('parts')
  await sql('drop trigger grow on parts_1')
})

test('where rows may not be deleted, whatever the code, a count that cannot be observed stays', async () => {
  await sql(`
    insert into boxes values (1, '${TOOL}');
    insert into things values (1, 1), (2, 1);
    update boxes set thing_count = 0;
    create trigger keep_thing before delete on things for each row execute function keep_thing()`)
  const rows = await reconciled('boxes')
  await sql('drop trigger keep_thing on things')
  expect(rows['1']).toMatchObject({
    outcome: 'kept',
    reason: expect.stringContaining('could not be observed'),
  })
})
