/** The tables are whole again while the PDS cannot be written; a later write and replay confirm them. */
import { readFile, stat } from 'node:fs/promises'
import { join } from 'node:path'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { readSnapshot } from '../../src/backup/snapshot-file.ts'
import { readCatalog } from '../../src/database/catalog.ts'
import type { JsonObject } from '../../src/events.ts'
import type { ReconcileResult } from '../../src/reconcile/apply.ts'
import type { ReconcilePlan } from '../../src/reconcile/plan.ts'
import type { Report } from '../../src/report/report.ts'
import { prepareWrite } from '../../src/restore/write.ts'
import { tableCounts } from '../../src/stack/account.ts'
import { applyWrites } from './account-writes.ts'
import { jsonOf, nameOfProduction, startWorld, type World } from './command-line.ts'
import { dumpTables, OWN_TABLES, rowVersions, type TableDump } from './dump.ts'

const SNAPSHOT = ['--snapshot', 'snapshot.json']
let world: World
let before: TableDump
let lost: string[]

beforeAll(async () => {
  world = await startWorld({ documents: 8, readers: 4, schema: 'february' })
  before = await dumpTables(world.stack.production, OWN_TABLES)
  await json('extract', '--did', world.scenario.author.did, '--out', 'snapshot.json')
  await world.lose()
  const { publications, documents } = world.scenario.content
  lost = [...publications, ...documents].map(({ uri }) => uri).sort()
})
afterAll(() => world?.[Symbol.asyncDispose]())

async function json<T>(...args: string[]): Promise<T> {
  return jsonOf(await world.run([...args, '--json'])) as T
}
const reconcile = <T = ReconcileResult>(...args: string[]) =>
  json<T>('reconcile', '--include-derived', ...SNAPSHOT, ...args)
const dump = () => dumpTables(world.stack.production, OWN_TABLES)
const versions = () => rowVersions(world.stack.production, OWN_TABLES)
/** Our own tables too, but for the cursor, which live ingestion moves. */
const everything = () => rowVersions(world.stack.production, ['firehose_cursors'])
const compare = () => json<Report>('compare', ...SNAPSHOT)

/** Rows with these outcomes, of all tables. */
function countOf({ tables }: ReconcileResult, ...outcomes: string[]): number {
  return tables.flatMap(({ rows }) => rows).filter(({ outcome }) => outcomes.includes(outcome)).length
}

async function editorAddresses(): Promise<string[]> {
  const found = await world.stack.production.query(
    'select id::text as id from permission_tokens union select email from identities where email is not null',
  )
  return found.map(({ id }) => String(id))
}

test('the incident has taken something of all ten tables', async () => {
  const counts = await tableCounts(world.stack, world.scenario)
  expect(Object.keys(counts)).toHaveLength(10)
  expect(Object.keys(counts).filter((table) => counts[table] === before.get(table)?.length)).toEqual([])
})

test('the plan names the missing records, and is written down for review; nothing else happens', async () => {
  const rows = await everything()
  const plan = await reconcile<ReconcilePlan>('--dry-run', '--review', 'planned')
  expect([...(plan.withoutRecords ?? [])].sort()).toEqual(expect.arrayContaining(lost))
  const said = await world.run(['reconcile', '--include-derived', '--dry-run', ...SNAPSHOT])
  expect(said.stderr).toContain(`${plan.withoutRecords?.length} records are not in the repo`)
  expect(said.stderr).toContain('cannot be told')
  expect(said.stderr).toContain('No replay was demanded')
  expect(await everything()).toEqual(rows)
})

test('every row of every table is as it was; the files for review named just these', async () => {
  const result = await reconcile('--review', 'done')
  const after = await dump()
  for (const [table, rows] of before) expect(after.get(table), table).toEqual(rows)
  const restored = countOf(result, 'restored', 'filled')

  const [csv, sql, planned] = await Promise.all(
    ['done/reconcile.csv', 'done/reconcile.sql', 'planned/reconcile.csv'].map((name) =>
      readFile(join(world.folder, name), 'utf8'),
    ),
  )
  expect(sql?.match(/^(insert|update) /gm)).toHaveLength(restored)
  for (const uri of lost) expect(csv).toContain(uri)
  for (const secret of await editorAddresses()) {
    expect(`${csv}${sql}`).not.toContain(secret)
  }
  expect(csv).toContain('hmac:')
  // Masks are keyed anew each time; the rest is the same.
  const unmasked = (text = '') =>
    text
      .replaceAll(/hmac:[0-9a-f]+/g, 'hmac')
      .split('\n')
      .sort()
  expect(unmasked(csv)).toEqual(unmasked(planned))
  expect((await stat(join(world.folder, 'done/reconcile.csv'))).mode & 0o777).toBe(0o600)
})

test('a second run changes nothing, and has nothing to review', async () => {
  const rows = await everything()
  const result = await reconcile('--review', 'again')
  expect(countOf(result, 'restored', 'filled')).toBe(0)
  expect(await everything()).toEqual(rows)
  expect(await readFile(join(world.folder, 'again/reconcile.csv'), 'utf8')).toBe(
    'table,row,action,column,now,then,why\n',
  )
})

test('a replay takes nothing; a prune lists what rests on the backup alone, and leaves it', async () => {
  const { did } = world.scenario.author
  const rows = await versions()
  await json('replay', '--did', did)
  const pruned = await json<{ pruned: object[]; onBackupAlone: string[] }>(
    'replay',
    '--did',
    did,
    '--prune',
    '--yes',
    nameOfProduction(world),
  )
  expect(pruned.pruned).toEqual([])
  expect(pruned.onBackupAlone).toEqual(expect.arrayContaining(lost))
  const planned = await world.run(['replay', '--did', did, '--prune', '--dry-run'])
  expect(planned.stderr).toContain('rows from the backup all the same; --prune leaves them')
  expect(await versions()).toEqual(rows)
})

test('a comparison is incomplete, and says which rows rest on the backup alone', async () => {
  const report = await compare()
  expect(report.verdict).toBe('incomplete')
  const policies = Object.fromEntries(
    report.tables.flatMap(({ table, policies: found }) =>
      found['record-missing'] ? [[table, found['record-missing']]] : [],
    ),
  )
  expect(policies).toMatchObject({
    publications: world.scenario.content.publications.length,
    documents: world.scenario.content.documents.length,
    documents_in_publications: expect.any(Number),
  })
  expect(report.tables.reduce((sum, table) => sum + table.different + table.missing + table.extra, 0)).toBe(0)
  expect(report.records.missing).toBeGreaterThanOrEqual(lost.length)
  expect(report.notes.join('\n')).toContain('rest on the backup alone')
})

test('what was created again under a lost key meanwhile is planned to be overwritten, as ever', async () => {
  const { author, content } = world.scenario
  const again = content.documents[0]
  if (again === undefined) throw new RangeError('there is no document')
  const value: JsonObject = { ...again.record, title: 'made again' }
  const [collection = '', rkey = ''] = again.uri.split('/').slice(3)
  await applyWrites(author, [{ $type: 'com.atproto.repo.applyWrites#create', collection, rkey, value }])
  await world.consumer.caughtUp()
  const { overwritten } = await prepareWrite(world.context, {
    snapshot: await readSnapshot(join(world.folder, 'snapshot.json')),
    catalog: await readCatalog(world.context.production),
    onConflict: 'overwrite',
  })
  expect(overwritten.map(({ uri }) => uri)).toEqual([again.uri])
  await applyWrites(author, [{ $type: 'com.atproto.repo.applyWrites#delete', collection, rkey }])
  await world.consumer.caughtUp()
  // Its author has deleted that one: the revision decides, and only who asks for it again gets the backup's.
  expect((await dump()).get('documents')?.length).toBe((before.get('documents')?.length ?? 0) - 1)
  await reconcile()
  expect(await dump()).toEqual(before)
})

test('a later write and replay confirm them: no row has a new version, and nothing is left to say', async () => {
  const { did } = world.scenario.author
  const rows = await versions()
  const name = nameOfProduction(world)
  expect((await world.run(['write', ...SNAPSHOT, '--engine', 'local', '--yes', name])).code).toBe(0)
  await world.consumer.caughtUp()
  await json('replay', '--did', did)
  expect(await versions()).toEqual(rows)
  await json('reconcile', ...SNAPSHOT)
  expect(await versions()).toEqual(rows)
  expect(await dump()).toEqual(before)
  const report = await compare()
  expect(report.verdict).toBe('complete')
  expect(report.tables.flatMap(({ policies }) => Object.keys(policies))).toEqual([])
  const standing = await world.stack.production.query('select uri from record_state where not deleted')
  expect(standing.map(({ uri }) => uri)).toEqual(expect.arrayContaining(lost))
  expect(await world.stack.production.query('select * from parked_events')).toEqual([])
})
