import { describe, expect, test } from 'vitest'
import { blastRadiusOf } from '../../../src/backup/closure.ts'
import { findingsOf } from '../../../src/cli/doctor/checks.ts'
import { functionsIn, ownMigration } from '../../../src/cli/doctor/own-migration.ts'
import type { DatabaseReadings, Readings } from '../../../src/cli/doctor/readings.ts'
import { catalogOf } from '../../../src/database/catalog.ts'
import type { AppView } from '../../../src/events.ts'

const appview: AppView = {
  name: 'small',
  handlers: [],
  roots: [{ section: 'posts', table: 'posts', uriColumn: 'uri', recordColumn: 'data' }],
  sections: {},
  sensitiveColumns: [],
  untouchableTables: [],
  guardTables: [],
}
const column = (name: string) => ({
  name,
  type: 'text',
  nullable: true,
  default: null,
  generated: false,
  identity: null,
})
const catalogWith = (change: object = {}, instance = 'one') =>
  catalogOf({
    instance,
    tables: [
      {
        name: 'posts',
        columns: [column('uri'), column('data')],
        primaryKey: ['uri'],
        uniqueKeys: [['uri']],
        triggers: [],
        ...change,
      },
    ],
    foreignKeys: [],
    installed: [{ name: 'firehose_replay_apply', md5: 'a' }],
  })

function database(name: string, change: Partial<DatabaseReadings> = {}): DatabaseReadings {
  return {
    name: { ok: true, value: name },
    catalog: { ok: true, value: catalogWith({}, name) },
    isEmpty: { ok: true, value: new Map([['posts', false]]) },
    ...change,
  }
}

/** `level check: said` per finding that is not ok. */
function complaints(change: Partial<Readings> = {}): string[] {
  return findingsOf({
    appview,
    production: database('production.example'),
    backup: database('backup.example'),
    radius: { ok: true, value: blastRadiusOf(catalogWith(), appview) },
    hanging: [],
    migration: [{ name: 'firehose_replay_apply', md5: 'a' }],
    ...change,
  })
    .filter(({ level }) => level !== 'ok')
    .map(({ level, check, said }) => `${level} ${check}: ${said}`)
}

const away = { ok: false, said: 'It cannot be reached.', todo: 'Start it.' } as const

describe('doctor', () => {
  test('complains of nothing where nothing is wrong', () => {
    expect(complaints()).toEqual([])
  })

  test('says once that a database is away', () => {
    const gone = database('x', { catalog: away, isEmpty: away })
    expect(complaints({ production: gone, radius: undefined })).toEqual([
      'problem production: It cannot be reached.',
    ])
    expect(complaints({ backup: gone })).toEqual(['problem backup: It cannot be reached.'])
    expect(complaints({ backup: { name: away, catalog: away, isEmpty: away } })).toHaveLength(1)
  })

  test('tells a database without our functions from one with other ones', () => {
    const none = database('production.example', { catalog: { ok: true, value: undefined } })
    expect(complaints({ production: none, radius: undefined })).toEqual([
      'problem migration: production has none of our functions',
    ])
    const migration = [
      { name: 'firehose_replay_apply', md5: 'b' },
      { name: 'firehose_replay_more', md5: 'c' },
    ]
    expect(complaints({ migration })).toEqual([
      'problem migration: not the one of this version: firehose_replay_more is missing, firehose_replay_apply differs',
    ])
  })

  test('a backup needs none of our functions', () => {
    expect(complaints({ backup: database('b', { catalog: { ok: true, value: undefined } }) })).toEqual([])
  })

  test('knows one database by its address and by itself', () => {
    const same = 'problem two databases: production and backup (production.example and '
    expect(complaints({ backup: database('production.example') })).toEqual([
      `${same}production.example) are one database`,
    ])
    const catalog = { ok: true, value: catalogWith({}, 'production.example') } as const
    expect(complaints({ backup: database('other', { catalog }) })).toEqual([`${same}other) are one database`])
  })

  test('empty is no proof that there is nothing', () => {
    const isEmpty = { ok: true, value: new Map([['posts', true]]) } as const
    expect(
      complaints({ backup: database('b', { isEmpty, catalog: { ok: true, value: undefined } }) }),
    ).toEqual(['problem rows of backup: none is seen in any of 1 tables'])
    expect(complaints({ production: database('p', { isEmpty }) })).toEqual([
      'warning rows of production: none is seen in any of 1 tables',
    ])
    const catalog = { ok: true, value: catalogWith({ estimatedRows: 12 }, 'p') } as const
    expect(complaints({ production: database('p', { isEmpty, catalog }) })).toEqual([
      'problem rows of production: no row is seen of posts, where the planner knows of some',
    ])
    const hidden = { ok: true, value: catalogWith({ estimatedRows: 12, rowSecurity: true }, 'p') } as const
    expect(complaints({ production: database('p', { isEmpty, catalog: hidden }) })).toEqual([
      'problem rows of production: row-level security hides rows of posts from this key',
    ])
  })

  test('reading is enough in the backup', () => {
    const catalog = { ok: true, value: catalogWith({ privileges: ['select'] }, 'x') } as const
    expect(complaints({ backup: database('b', { catalog }) })).toEqual([])
    expect(complaints({ production: database('p', { catalog }) })).toEqual([
      'problem rows of production: this key may not: posts (insert, update, delete)',
    ])
  })

  test('an older backup lacks tables and columns', () => {
    expect(complaints({ backup: database('b', { isEmpty: { ok: true, value: new Map() } }) })).toEqual([
      'warning backup schema: lacks what production has: posts',
    ])
    const catalog = { ok: true, value: catalogWith({ columns: [column('uri')] }, 'b') } as const
    expect(complaints({ backup: database('b', { catalog }) })).toEqual([
      'warning backup schema: lacks what production has: posts.data',
    ])
  })

  test('names what a description needs and what it only mentions', () => {
    const root = { section: 'posts', table: 'posts', uriColumn: 'uri', recordColumn: 'record' }
    const other: AppView = {
      ...appview,
      roots: [root],
      sensitiveColumns: ['posts.secret', 'gone.secret'],
      knownTables: ['gone', 'posts'],
    }
    expect(complaints({ appview: other })).toEqual([
      'problem description: production lacks what its records are written to: posts.record',
      'warning description: names what production does not have: gone, posts.secret',
    ])
  })
})

describe('the migration of this version', () => {
  test('its functions by name, the last definition of each', () => {
    const found = functionsIn(`
      create function public.a(x text) returns text language sql as $$ one $$;
      create function public.b() returns table (y text) language sql set search_path = public as $$two$$;
      create or replace function public.a(x text) returns text language sql as $$ three $$;`)
    // md5 of ' three ' and 'two', as `printf ' three ' | md5sum` gives it.
    expect(found).toEqual([
      { name: 'a', md5: 'e8c03d94f45050f091cb87ef9f513d03' },
      { name: 'b', md5: 'b8a9f715dbb64fd5c56e7783c6820a61' },
    ])
  })

  test('is found where it lies', async () => {
    const names = (await ownMigration()).map(({ name }) => name)
    expect(names).toContain('firehose_replay_apply')
    expect(names).toContain('firehose_replay_catalog')
  })
})
