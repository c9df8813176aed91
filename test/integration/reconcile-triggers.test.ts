/** Rows that come back into tables whose triggers count, fill, make and insist. */
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest'
import { extract } from '../../src/backup/extract.ts'
import type { Snapshot, SnapshotTable } from '../../src/backup/snapshot.ts'
import { type Catalog, readCatalog } from '../../src/database/catalog.ts'
import { type Database, openDatabase } from '../../src/database/client.ts'
import { setMarks } from '../../src/database/marks.ts'
import type { RecordEvent } from '../../src/events.ts'
import { Indexer } from '../../src/indexer/indexer.ts'
import { applyReconcile, type ReconcileResult } from '../../src/reconcile/apply.ts'
import { prepareReconcile } from '../../src/reconcile/reconcile.ts'
import { type Stack, startStack } from '../../src/stack/index.ts'
import { WORKSHOP_MIGRATION, workshop } from '../fixtures/workshop/index.ts'
import { dumpTables, OWN_TABLES, rowVersions, type TableDump } from './dump.ts'
import { put, remove } from './record-events.ts'

const AUTHOR = 'did:plc:author'
const TOOL = `at://${AUTHOR}/example.workshop.tool/1`
/** More than one batch holds, each an answer to the one after it. */
const THREAD_LENGTH = 1100

let stack: Stack
let production: Database
let catalog: Catalog
let snapshot: Snapshot
let before: TableDump
const sql = (text: string) => stack.production.query(text)
const one = async (text: string) => (await sql(text))[0]
const record = () => put(TOOL, { $type: 'example.workshop.tool', name: 'plane' })

async function index(...events: RecordEvent[]): Promise<void> {
  const indexer = new Indexer({ appview: workshop, database: production })
  for (const event of events) await indexer.handle(event)
  await indexer.flush()
}

beforeAll(async () => {
  stack = await startStack({ migrations: [WORKSHOP_MIGRATION] })
  production = openDatabase({ ...stack.production, label: 'production' })
  catalog = await readCatalog(production)
  await index(record())
  await sql(`insert into shelves (tool, "row", label, "select", weight) values ('${TOOL}', 1, 'top', 'yes', 9007199254740993.50), ('${TOOL}', 2, 'empty', null, null);
    insert into loans (tool, "row", who, grams, due) select '${TOOL}', 1, 'w' || n, n + 0.25, 'then' from generate_series(1, 3) n;
    insert into scratches select id, 'handle' from loans;
    update shelves set label = 'strict', state = 'used', weight = 3.75 where "row" = 1;
    update manuals set words = 'written since';
    alter table covers disable trigger stamp_cover;
    update covers set colour = 'red', changed = 'in spring' where shelf_row = 1;
    alter table covers enable trigger stamp_cover;
    update tools set first_seen = '2026-01-01 00:00:00.000001+00';
    insert into remarks (id, tool, answers) select n, '${TOOL}', null from generate_series(1, ${THREAD_LENGTH}) n;
    update remarks set answers = id + 1 where id < ${THREAD_LENGTH};
    update remarks set answers = ${THREAD_LENGTH - 1} where id = ${THREAD_LENGTH};
    update remarks r set answer_count = (select count(*) from remarks a where a.answers = r.id);
    insert into homes (name, tool) values ('drawer', '${TOOL}');
    insert into labels (id, home, tool, "row", written) values (1, 'drawer', '${TOOL}', 1, 'old'), (2, 'drawer', '${TOOL}', 2, 'old'), (3, 'box', null, null, 'old')`)
  before = await dumpTables(stack.production, OWN_TABLES)
  snapshot = await extract({ database: production, catalog, appview: workshop, did: AUTHOR })
  await sql('create schema saved')
  for (const { name } of catalog.tables) await sql(`create table saved.${name} as table public.${name}`)
})
afterAll(() => stack?.[Symbol.asyncDispose]())
beforeEach(() => resetTables())

async function resetTables(): Promise<void> {
  const refill = catalog.tables.map(({ name }) => {
    const columns = catalog.writableColumns(name).map((column) => `"${column}"`)
    return `insert into public.${name} (${columns}) overriding system value select ${columns} from saved.${name};`
  })
  await sql(`set session_replication_role = replica;
    truncate ${catalog.tables.map(({ name }) => `public.${name}`).join(', ')};
    ${refill.join('\n')}
    set session_replication_role = origin;`)
}

/** The record goes and is written back; every row that hung there is gone but what triggers have made. */
async function incident(): Promise<void> {
  await index(remove(TOOL))
  const { uri, cid } = record()
  await setMarks(production, [{ uri: uri.toString(), cid: cid.toString(), did: AUTHOR, run: 'r' }])
  await index(record())
}
async function reconcile(own = snapshot, database = production): Promise<ReconcileResult> {
  const parts = { database, catalog: await readCatalog(production), appview: workshop, snapshot: own }
  return applyReconcile({ ...parts, ...(await prepareReconcile(parts)) })
}
async function again(own = snapshot): Promise<ReconcileResult> {
  const versions = await rowVersions(stack.production, [])
  const result = await reconcile(own)
  expect(await rowVersions(stack.production, [])).toEqual(versions)
  return result
}
const rowsOf = (result: ReconcileResult, table: string) =>
  result.tables.find((candidate) => candidate.table === table)?.rows ?? []
const outcomes = (result: ReconcileResult, table: string) => [
  ...new Set(rowsOf(result, table).map(({ outcome }) => outcome)),
]

/** The snapshot as an older backup gives it. */
function without(table: string, ...columns: string[]): Snapshot {
  const older = (source: SnapshotTable): SnapshotTable => ({
    ...source,
    columns: source.columns.filter(({ name }) => !columns.includes(name)),
    rows: [...source.rows].map((row) =>
      Object.fromEntries(Object.entries(row).filter(([name]) => !columns.includes(name))),
    ),
  })
  const tables = snapshot.tables.map((source) => (source.table === table ? older(source) : source))
  return { ...snapshot, tables }
}

describe('all of it', () => {
  test('comes back, a thread of any depth and circles included; what triggers count is counted once', async () => {
    await incident()
    expect((await one('select count(*)::int as n from remarks'))?.n).toBe(0)
    const result = await reconcile()
    const after = await dumpTables(stack.production, OWN_TABLES)
    const seen = before.get('covers')?.map(({ columns }) => columns.changed)
    expect(seen).toEqual(['in spring', 'when it was made'])
    for (const [table, rows] of before)
      if (table !== 'covers' && table !== 'manuals') expect(after.get(table), table).toEqual(rows)
    expect(outcomes(result, 'remarks')).toEqual(['restored'])
    expect(result.triggerKept).toEqual(
      expect.arrayContaining([
        { table: 'shelves', column: 'loan_count' },
        { table: 'shelves', column: 'weight' },
        { table: 'remarks', column: 'answer_count' },
        { table: 'covers', column: 'changed' },
      ]),
    )
    await again()
  })

  test('a row that a trigger made in this run is given what the backup has, but for what the trigger insists on', async () => {
    await incident()
    const result = await reconcile()
    expect(await sql('select shelf_row, colour, changed from covers order by 1')).toEqual([
      { shelf_row: 1, colour: 'red', changed: 'just now' },
      { shelf_row: 2, colour: 'grey', changed: 'when it was made' },
    ])
    expect(rowsOf(result, 'covers').map(({ outcome }) => outcome)).toEqual(['restored', 'unchanged'])
  })

  test('ids of identity and serial columns are past the restored ones', async () => {
    await incident()
    await sql('alter sequence loans_id_seq restart; alter sequence loans_serial_seq restart')
    await reconcile()
    const tool = `'${TOOL}', 2, 'new', 'now'`
    expect(
      await sql(`insert into loans (tool, "row", who, due) values (${tool}) returning id::int, serial`),
    ).toEqual([{ id: 4, serial: 4 }])
  })

  test('a reference that fell back to its default is filled, one of several columns too; an edit stays', async () => {
    await incident()
    await sql(`update labels set written = 'new' where id < 3; update labels set tool = 'mine' where id = 2`)
    const result = await reconcile()
    expect(await sql('select id, home, tool, "row", written from labels order by id')).toEqual([
      { id: 1, home: 'drawer', tool: TOOL, row: 1, written: 'new' },
      { id: 2, home: 'drawer', tool: 'mine', row: null, written: 'new' },
      { id: 3, home: 'box', tool: null, row: null, written: 'old' },
    ])
    expect(rowsOf(result, 'labels').map(({ outcome }) => outcome)).toEqual(['filled', 'filled'])
    await again()
  })

  test('what a trigger counts is not set back where all that was counted is gone, however far down', async () => {
    await incident()
    const own = { ...snapshot, tables: snapshot.tables.filter(({ table }) => table !== 'scratches') }
    // Loans that cannot come: production wants another value of each.
    await sql(`alter table loans add column lender text`)
    await sql(`alter table loans alter column lender set not null`)
    try {
      const result = await reconcile(own)
      expect(outcomes(result, 'loans')).toEqual(['failed'])
      expect(await one('select loan_count from shelves where "row" = 1')).toEqual({ loan_count: 0 })
    } finally {
      await sql('alter table loans drop column lender')
    }
  })

  test('wherever a run dies, the next one ends in the same rows', async () => {
    await incident()
    await reconcile()
    const whole = await dumpTables(stack.production, OWN_TABLES)
    for (const dieAt of [2, 4, 6, 8, 10]) {
      await resetTables()
      await incident()
      let callCount = 0
      const mortal: Database = {
        ...production,
        call(name, batch) {
          const isWrite = name === 'firehose_replay_restore' || name === 'firehose_replay_set_columns'
          if (isWrite && ++callCount === dieAt) throw new TypeError('the process died')
          return production.call(name, batch)
        },
      }
      await reconcile(snapshot, mortal).catch(() => undefined)
      await reconcile()
      const after = await dumpTables(stack.production, OWN_TABLES)
      for (const table of ['tools', 'loans', 'scratches', 'homes', 'remarks', 'shelves', 'labels'])
        expect(after.get(table), `${table} ${dieAt}`).toEqual(whole.get(table))
    }
  })
})

describe('a backup that is older than production', () => {
  test('leaves what it lacks to the defaults, and to triggers', async () => {
    await incident()
    const result = await reconcile(without('loans', 'grams', 'due'))
    expect(outcomes(result, 'loans')).toEqual(['restored'])
    expect(await sql('select distinct grams::text, due from loans')).toEqual([{ grams: '0', due: 'soon' }])
    await again(without('loans', 'grams', 'due'))
  })

  test('has no row of a table that wants a value which nobody gives: said before anything is written', async () => {
    await incident()
    const own = without('homes', 'nothing')
    await sql(
      `alter table homes add column street text not null default 'x'; alter table homes alter street drop default`,
    )
    try {
      const parts = {
        database: production,
        catalog: await readCatalog(production),
        appview: workshop,
        snapshot: own,
      }
      const { plan } = await prepareReconcile(parts)
      const homes = plan.tables.find(({ table }) => table === 'homes')?.rows
      expect(homes).toMatchObject([
        { action: 'none', outcome: 'failed', reason: expect.stringContaining('a value in street') },
      ])
      const result = await reconcile(own)
      expect(outcomes(result, 'homes')).toEqual(['failed'])
    } finally {
      await sql('alter table homes drop column street')
    }
    // It was lost, and is not forgotten: once it can come, it does.
    expect(outcomes(await reconcile(own), 'homes')).toEqual(['restored'])
    await again(own)
  })

  test('gets no default that names a row which is not there', async () => {
    await incident()
    await sql(`alter table remarks add column tag text default ''; update remarks set tag = null;
      alter table remarks add foreign key (tag) references homes (name)`)
    try {
      expect(outcomes(await reconcile(), 'remarks')).toEqual(['restored'])
      expect(await sql('select distinct tag from remarks')).toEqual([{ tag: null }])
    } finally {
      await sql('alter table remarks drop column tag')
    }
  })
})
