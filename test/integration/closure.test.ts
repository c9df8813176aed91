/** What a delete takes, on a schema that has every shape of reference: what is said against what PostgreSQL does. */
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { chmod, readFile, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { leaflet } from '../../src/appview/leaflet/index.ts'
import { type BlastRadius, blastRadiusOf } from '../../src/backup/closure.ts'
import { closureReport } from '../../src/backup/closure-report.ts'
import { countClosure } from '../../src/backup/count-closure.ts'
import { closureText } from '../../src/cli/closure-text.ts'
import { findingsOf } from '../../src/cli/doctor/checks.ts'
import type { Finding } from '../../src/cli/doctor/finding.ts'
import { readAll } from '../../src/cli/doctor/readings.ts'
import { configFrom } from '../../src/config.ts'
import { type Catalog, catalogOf } from '../../src/database/catalog.ts'
import { openDatabase } from '../../src/database/client.ts'
import { RestoreError } from '../../src/errors.ts'
import type { AppView } from '../../src/events.ts'
import { assemble } from '../../src/stack/cleanup.ts'
import { type DatabaseConnection, type PostgresCluster, startPostgres } from '../../src/stack/postgres.ts'
import { createTemplates, type SchemaOptions, TEMPLATES } from '../../src/stack/schema.ts'
import { type SupabaseApi, startSupabase } from '../../src/stack/supabase.ts'
import { makeTempFolder } from '../../src/stack/temp-folder.ts'
import { LIBRARY_MIGRATION, LIBRARY_MODULE, library } from '../fixtures/closure/index.ts'

const DID = 'did:plc:a_b'
const MAIN = join(import.meta.dirname, '../../src/cli/main.ts')

interface World extends AsyncDisposable {
  folder: string
  cluster: PostgresCluster
  sql: DatabaseConnection
  production: SupabaseApi
  backup: SupabaseApi
  catalog: Catalog
  catalogs: { february: Catalog; august: Catalog }
}

let world: World
let radius: BlastRadius

beforeAll(async () => {
  world = await startWorld()
  radius = blastRadiusOf(world.catalog, library)
})
afterAll(() => world?.[Symbol.asyncDispose]())

function startWorld(): Promise<World> {
  return assemble(async (cleanup) => {
    const { path: folder } = cleanup.use(await makeTempFolder())
    await chmod(folder, 0o711)
    const cluster = cleanup.use(await startPostgres(join(folder, 'postgres')))
    const february = await catalogFrom(cluster, { schema: 'february' })
    const august = await catalogFrom(cluster, { schema: 'august' })
    const catalog = await catalogFrom(cluster, { migrations: [LIBRARY_MIGRATION] }, 'keep')
    const rows = await readFile(new URL('../fixtures/closure/rows.sql', import.meta.url), 'utf8')
    const open = async (name: string, template: string) => {
      await cluster.createDatabase(name, template)
      const sql = await cluster.connect(name)
      await sql.query(rows)
      return { sql, api: cleanup.use(await startSupabase(cluster.databaseUrl(name, 'authenticator'))) }
    }
    const production = await open('production', TEMPLATES.complete)
    // Without our functions: a backup need not have them.
    const backup = await open('backup', TEMPLATES.appview)
    const config = `export { library as appview } from ${JSON.stringify(LIBRARY_MODULE)}\n`
    await writeFile(join(folder, 'firehose-replay.config.ts'), config)
    return {
      folder,
      cluster,
      sql: production.sql,
      production: production.api,
      backup: backup.api,
      catalog,
      catalogs: { february, august },
    }
  })
}

/** The catalog of a schema, as the service role sees it. */
async function catalogFrom(
  cluster: PostgresCluster,
  options: SchemaOptions,
  templates: 'keep' | 'drop' = 'drop',
): Promise<Catalog> {
  await createTemplates(cluster, options)
  const connection = await cluster.connect(TEMPLATES.complete)
  await connection.query('set role service_role')
  const [row] = await connection.query('select firehose_replay_catalog() as answer')
  await connection[Symbol.asyncDispose]()
  if (templates === 'drop') {
    const admin = await cluster.connect('postgres')
    for (const name of Object.values(TEMPLATES)) await admin.query(`drop database ${name}`)
    await admin[Symbol.asyncDispose]()
  }
  return catalogOf(row?.answer)
}

function environment(): Record<string, string> {
  const { production, backup } = world
  return {
    SUPABASE_URL: production.url,
    SUPABASE_SERVICE_ROLE_KEY: production.serviceKey,
    BACKUP_SUPABASE_URL: backup.url,
    BACKUP_SUPABASE_SERVICE_ROLE_KEY: backup.serviceKey,
  }
}

async function run(...args: string[]): Promise<{ code: number; stdout: string; stderr: string }> {
  const child = spawn(process.execPath, [MAIN, ...args], {
    cwd: world.folder,
    env: { PATH: process.env.PATH, ...environment() },
  })
  const output = { stdout: '', stderr: '' }
  for (const name of ['stdout', 'stderr'] as const) {
    child[name].setEncoding('utf8').on('data', (text: string) => {
      output[name] += text
    })
  }
  const [code] = await once(child, 'close')
  return { code, ...output }
}

describe('the catalog', () => {
  test('a partitioned table is one table with one foreign key', () => {
    const names = world.catalog.tables.map(({ name }) => name).filter((name) => name.startsWith('visits'))
    expect(names).toEqual(['visits'])
    expect(world.catalog.foreignKeys.filter(({ child }) => child.startsWith('visits'))).toHaveLength(1)
  })

  test('a unique index on an expression is no key', () => {
    expect(world.catalog.table('books').uniqueKeys).toEqual([['uri']])
  })

  test('generated and identity columns are told', () => {
    const column = (table: string, name: string) =>
      world.catalog.table(table).columns.find((candidate) => candidate.name === name)
    expect(column('books', 'title')).toMatchObject({ generated: true, identity: null })
    expect(column('notes', 'id')).toMatchObject({ generated: false, identity: 'a' })
    expect(column('links', 'id')).toMatchObject({ generated: false, identity: 'd' })
  })

  test.each([
    ['chapters', ['book'], { onDelete: 'cascade', onUpdate: 'cascade', deferrable: false, setColumns: [] }],
    ['chapters', ['book', 'follows'], { onDelete: 'set null', setColumns: ['follows'] }],
    ['notes', ['book', 'chapter'], { parent: 'chapters', deferrable: true, initiallyDeferred: true }],
    ['translations', ['original'], { onDelete: 'set default', onUpdate: 'no action' }],
    ['reservations', ['book'], { onDelete: 'restrict' }],
  ])('the foreign key of %s (%s)', (child, columns, expected) => {
    const found = world.catalog.foreignKeys.filter(
      (key) => key.child === child && key.columns.join() === columns.join(),
    )
    expect(found).toMatchObject([expected])
  })

  test('what triggers do is read through the functions that they call', () => {
    const { catalog } = world
    expect(catalog.triggersOf('books')).toEqual([
      {
        name: 'whisper',
        timing: 'after',
        level: 'row',
        events: ['insert', 'update'],
        enabled: 'origin',
        fires: true,
        function: 'public.whisper',
        callsOut: ['notify (pg_notify)'],
        unreadable: [],
        writes: [],
      },
    ])
    const [chapters] = catalog.triggersOf('chapters')
    expect(chapters).toMatchObject({ callsOut: ['pg_net (net.http_post)'], unreadable: [] })
    expect(catalog.triggersOf('notes')[0]).toMatchObject({ callsOut: [], writes: ['outbox'] })
    expect(catalog.triggersOf('clubs')[0]).toMatchObject({ enabled: 'disabled', fires: false })
    expect(catalog.triggersOf('visits')[0]).toMatchObject({ callsOut: [], unreadable: [] })
    expect(catalog.triggersOf('nowhere')).toEqual([])
  })
})

describe('the blast radius', () => {
  test('cuts a cycle, and puts parents before children', () => {
    const order = radius.tables.map(({ table }) => table)
    for (const [parent, child] of [
      ['books', 'chapters'],
      ['chapters', 'notes'],
      ['translations', 'translators'],
      ['books', 'picks'],
    ] as const) {
      expect(order.indexOf(parent)).toBeLessThan(order.indexOf(child))
    }
    expect(new Set(order).size).toBe(order.length)
  })

  test('ends at untouchable tables, other schemas and keys that refuse', () => {
    const names = (edges: readonly { name: string }[]) => edges.map(({ name }) => name)
    expect(names(radius.blocking)).toEqual(['loans_book_fkey', 'reservations_book_fkey'])
    expect(names(radius.hanging)).toEqual(['whispers.about'])
    expect(names(radius.outside)).toEqual(['copies_book_fkey', 'pages_copy_fkey', 'scans_page_fkey'])
    expect(names(radius.outsideParents)).toEqual(['spines_binder_fkey'])
    const tables = radius.tables.map(({ table }) => table)
    for (const table of ['readers', 'cards', 'reservations', 'whispers', 'scans']) {
      expect(tables).not.toContain(table)
    }
  })

  test('counts in the backup exactly what a delete takes', async () => {
    const database = openDatabase({ ...world.backup, label: 'backup' })
    const { catalog } = world
    const counts = await countClosure({ database, catalog, appview: library, radius, did: DID })
    const said = Object.fromEntries([...counts.tables].map(([table, count]) => [table, count.deletedCount]))
    expect(said).toEqual({ ...(await deletedInFact()), marks: 3, editions: 0 })
    expect(said.notes).toBe(13)
    expect(counts.tables.get('links')?.emptiedCount).toBe(6)
    expect(counts.tables.get('translations')?.emptiedCount).toBe(6)
    expect(counts.tables.get('editions')?.emptiedCount).toBe(3)
    expect(counts.tables.get('books')?.ownCount).toBe(3)
    expect(counts.tables.get('loans_of_records')).toMatchObject({ deletedCount: 9, ownCount: 3 })
    expect(counts.tables.get('chapters')?.ownCount).toBeUndefined()
    expect(counts.blocking).toMatchObject([
      { edge: { child: 'loans' }, referringCount: 6, stayingCount: 3 },
      { edge: { child: 'reservations' }, referringCount: 1, stayingCount: 1 },
    ])
    expect(counts.hanging).toMatchObject([{ referringCount: 3, stayingCount: 3 }])
    expect(counts.uncounted).toEqual([expect.stringContaining('"jottings" has no key')])
  })

  /** PostgreSQL's own count, by deleting and taking it back. */
  async function deletedInFact(): Promise<Record<string, number>> {
    const tables = radius.tables.map(({ table }) => table)
    const real = tables.filter((table) => !['jottings', 'marks', 'editions'].includes(table))
    const count = async () => {
      const list = real.map((table) => `'${table}', (select count(*) from ${table})`)
      const [row] = await world.sql.query(`select json_build_object(${list.join(',')}) as counts`)
      return row?.counts as Record<string, number>
    }
    const before = await count()
    await world.sql.query('begin')
    await world.sql.query(`delete from reservations;
      delete from loans where book in (select uri from books where author = '${DID}')
        and copy not in (select uri from books where author = '${DID}');`)
    // Of loans, only what goes with the books.
    const loans = (await count()).loans ?? 0
    await world.sql.query(`delete from books where author = '${DID}'; set constraints all immediate`)
    const after = await count()
    await world.sql.query('rollback')
    return Object.fromEntries(
      real.map((table) => [table, (table === 'loans' ? loans : (before[table] ?? 0)) - (after[table] ?? 0)]),
    )
  }

  test('a backup that lacks a table and a column is counted as far as it goes', async () => {
    const connection = await world.cluster.connect('backup')
    await connection.query(
      'alter table translators rename to elsewhere; alter table links rename to_book to aim',
    )
    try {
      // Lite knows its tables from its first request on.
      await using api = await startSupabase(world.cluster.databaseUrl('backup', 'authenticator'))
      const database = openDatabase({ ...api, label: 'backup' })
      const { catalog } = world
      const counts = await countClosure({ database, catalog, appview: library, radius, did: DID })
      expect(counts.tables.has('translators')).toBe(false)
      expect(counts.tables.get('links')).toMatchObject({ deletedCount: 12, emptiedCount: 0 })
      expect(counts.uncounted).toEqual(
        expect.arrayContaining([
          'the backup has no table "translators"',
          'the backup has no column "links.to_book"',
        ]),
      )
    } finally {
      await connection.query(
        'alter table elsewhere rename to translators; alter table links rename aim to to_book',
      )
    }
  })

  test('nothing is counted of an account that the backup does not know', async () => {
    const database = openDatabase({ ...world.backup, label: 'backup' })
    const { catalog } = world
    await expect(
      countClosure({ database, catalog, appview: library, radius, did: 'did:plc:nobody' }),
    ).rejects.toThrow(RestoreError)
  })
})

describe('the command line', () => {
  test('closure, for people and for programs', async () => {
    const [text, json] = await Promise.all([run('closure'), run('closure', '--did', DID, '--json')])
    expect(text).toMatchObject({ code: 0, stderr: '' })
    expect(text.stdout).toContain('data->of->>uri -> books.uri cascade, virtual')
    expect(text.stdout).toContain('archive.copies.book -> public.books.uri cascade')
    const tableLines = text.stdout.split('\n').filter((line) => /\d+ {2}(root|deleted|emptied)/.test(line))
    expect(tableLines).toHaveLength(radius.tables.length)
    for (const line of tableLines) expect(line.length).toBeLessThanOrEqual(80)

    expect(json).toMatchObject({ code: 0, stderr: '' })
    const report = JSON.parse(json.stdout)
    expect(report).toMatchObject({ appview: 'library', did: DID, backup: new URL(world.backup.url).host })
    expect(report.tables[0]).toMatchObject({
      table: 'books',
      depth: 0,
      action: 'root',
      derivable: 'yes',
      onlyInBackup: ['shelved'],
      rows: { deletedCount: 3, emptiedCount: 0, ownCount: 3 },
    })
    const loans = report.tables.find(({ table }: { table: string }) => table === 'loans_of_records')
    expect(loans).toMatchObject({ derivable: 'partly', collections: ['example.library.loan'], isNew: false })
    expect(report.tables.find(({ table }: { table: string }) => table === 'jottings').rows).toBeNull()
    expect(report.blocking[0]).toMatchObject({ child: 'loans', referringCount: 6, stayingCount: 3 })
  })

  test('doctor ends with 2 when there is a problem, and says what to do', async () => {
    const { code, stdout, stderr } = await run('doctor')
    expect(stderr).toBe('')
    expect(code).toBe(2)
    expect(stdout).toMatch(/^problem {2}reach: no key tells rows apart in jottings\. Add/m)
    expect(stdout).toMatch(/^ok {7}migration: /m)
  })
})

describe('doctor', () => {
  const find = async (appview: AppView = library): Promise<Finding[]> =>
    findingsOf(await readAll(configFrom({}, environment(), { appview })))
  const said = (findings: readonly Finding[], level: Finding['level']) =>
    findings.filter((finding) => finding.level === level).map(({ check, said }) => `${check}: ${said}`)

  test('warns of what is new, out of reach, hanging, or heard outside', async () => {
    const findings = await find()
    expect(said(findings, 'problem')).toEqual(['reach: no key tells rows apart in jottings'])
    expect(said(findings, 'warning')).toEqual([
      'description: names what production does not have: of_another_day',
      'new tables: below the roots, and unknown to the description: spines, translators',
      'reach: not exposed, so not restored: archive.copies (cascade), archive.pages (cascade), public.scans (cascade)',
      'reach: rows need parents that are not exposed: archive.binders',
      'virtual references: rows that name nothing by marks.data.of.uri -> books.uri: 1',
      'virtual references: rows that name nothing by whispers.about -> books.uri: 1',
      'triggers: whisper on books (after insert, update) calls out: notify (pg_notify)',
      'triggers: tell_of_chapter on chapters (after insert) calls out: pg_net (net.http_post)',
      'triggers: closed on links (before update): public.cannot_be_read is in language internal and cannot be read',
      'triggers: made_up on picks (after delete): public.made_up runs statements that it puts together',
      'triggers: send_out on outbox (after insert) calls out: notify (notify outbox)',
    ])
    for (const { level, todo } of findings) expect(todo === undefined).toBe(level === 'ok')
  })

  test('row-level security, lacking rights and functions of another version are problems', async () => {
    const { sql } = world
    const [before] = await sql.query(
      "select pg_get_functiondef('firehose_replay_mark'::regproc) as definition",
    )
    await sql.query(`alter role service_role nobypassrls;
      revoke insert, delete on chapters from service_role;
      create or replace function firehose_replay_mark(batch text) returns void language sql as 'select'`)
    try {
      const problems = said(await find(), 'problem').join('\n')
      expect(problems).toMatch(/rows of production: row-level security hides rows of books, /)
      expect(problems).toContain('this key may not: chapters (insert, delete)')
      expect(problems).toContain('migration: not the one of this version: firehose_replay_mark differs')
    } finally {
      await sql.query(`alter role service_role bypassrls;
        grant insert, delete on chapters to service_role;
        ${before?.definition}`)
    }
  })

  test('one database under two names, and one that is away', async () => {
    const same = {
      ...environment(),
      BACKUP_SUPABASE_URL: world.production.url.replace('127.0.0.1', 'localhost'),
    }
    const key = { BACKUP_SUPABASE_SERVICE_ROLE_KEY: world.production.serviceKey }
    const twice = await readAll(configFrom({}, { ...same, ...key }, { appview: library }))
    expect(said(findingsOf(twice), 'problem').join('\n')).toContain('are one database')

    const away = { ...environment(), SUPABASE_URL: 'http://127.0.0.1:9' }
    const findings = findingsOf(await readAll(configFrom({}, away, { appview: library })))
    expect(said(findings, 'problem')).toEqual([
      expect.stringContaining('production: The production database cannot be reached'),
    ])
  })

  test('a description that does not fit is a problem, and names what', async () => {
    const virtual = { child: 'marks', path: ['data', 'of'], parent: 'tomes', parentColumn: 'uri' } as const
    const findings = await find({ ...library, virtualReferences: [{ ...virtual, onDelete: 'cascade' }] })
    expect(said(findings, 'problem')).toEqual(['description: The database has no table "tomes".'])
  })
})

describe("Leaflet's schema", () => {
  const tablesOf = (catalog: Catalog) => blastRadiusOf(catalog, leaflet).tables
  const FEBRUARY = [
    'publications',
    'documents',
    'documents_in_publications',
    'leaflets_in_publications',
    'publication_domains',
    'publication_subscriptions',
    'comments_on_documents',
    'document_mentions_in_bsky',
    'leaflets_to_documents',
    'recommends_on_documents',
  ]

  test('in February, ten edges', () => {
    const tables = tablesOf(world.catalogs.february)
    expect(tables.map(({ table }) => table)).toEqual(FEBRUARY)
    expect(tables.flatMap(({ edges }) => edges)).toHaveLength(10)
  })

  test('in August, what has come since, with no change of code', () => {
    const tables = tablesOf(world.catalogs.august).map(({ table }) => table)
    expect(tables.toSorted()).toEqual(
      [...FEBRUARY, 'document_tags', 'publication_pages', 'publication_post_sends'].toSorted(),
    )
    const text = textOf(world.catalogs.august)
    expect(text).toContain('publication_pages.document -> documents.uri no action')
    expect(text).toContain('written by trigger trg_document_tags_insert on documents')
    expect(text).toMatch(/^leaflets_in_publications +1 {2}deleted {2}backup$/m)
    expect(text).toMatch(/^ {2}doc -> documents\.uri set null$/m)
  })

  test.each(['february', 'august'] as const)('nothing is new in %s', (schema) => {
    expect(textOf(world.catalogs[schema])).not.toContain('new:')
  })

  function textOf(catalog: Catalog): string {
    return closureText(closureReport(catalog, leaflet, blastRadiusOf(catalog, leaflet)))
  }
})
