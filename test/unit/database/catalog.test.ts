import { describe, expect, test } from 'vitest'
import { catalogOf, constantDefault } from '../../../src/database/catalog.ts'
import { ConfigError } from '../../../src/errors.ts'

const column = (name: string, type = 'text', change: object = {}) => ({
  name,
  type,
  nullable: true,
  default: null,
  generated: false,
  identity: null,
  ...change,
})

describe('a constant default, as Postgres prints it', () => {
  test.each<[string | null, string | null]>([
    [null, null],
    ["''::text", ''],
    ["'draft'::text", 'draft'],
    ["'it''s'::text", "it's"],
    ["'{}'::text[]", '{}'],
    ["'{}'::jsonb", '{}'],
    ["'x'::character varying", 'x'],
    ["'x'::character varying(10)", 'x'],
    ["'[]'::numeric(10,2)[]", '[]'],
    ["'active'::app.status", 'active'],
    [`'active'::"Kind of ""it"""`, 'active'],
    ["E'a\\\\b'::text", 'a\\b'],
    ['false', 'false'],
    ['true', 'true'],
    ['0', '0'],
    ['1.50', '1.50'],
    ["'-1'::integer", '-1'],
    ["'-1.5'::numeric", '-1.5'],
    ['(0)::bigint', '0'],
    ["('-1'::integer)::bigint", '-1'],
    ['NULL::text', null],
    ['NULL::character varying(3)', null],
    ["'1 day'::interval", '1 day'],
    ["'2026-01-01 00:00:00+00'::timestamp with time zone", '2026-01-01 00:00:00+00'],
  ])('%s', (printed, constant) => {
    expect(constantDefault(column('c', 'text', { default: printed }))).toBe(constant)
  })

  test.each([
    'now()',
    'CURRENT_TIMESTAMP',
    'CURRENT_DATE',
    'gen_random_uuid()',
    'extensions.uuid_generate_v4()',
    'create_identity_homepage()',
    "nextval('facts_id_seq'::regclass)",
    "('now'::text)::timestamp with time zone",
    "('now'::text)::date",
    "timezone('utc'::text, now())",
    "(now() + '1 day'::interval)",
    "('a'::text || 'b'::text)",
    "lower('A'::text)",
    '(1.7)::integer',
    'NULLIF(1, 2)',
  ])('%s is computed', (printed) => {
    expect(constantDefault(column('c', 'text', { default: printed }))).toBeUndefined()
  })
})

describe('a catalog', () => {
  const table = (name: string, change: object = {}) => ({
    name,
    columns: [column('uri')],
    primaryKey: null,
    uniqueKeys: [],
    triggers: [],
    ...change,
  })
  const INSTANT = 'timestamp with time zone'
  const catalog = catalogOf({
    instance: '1',
    tables: [
      table('documents', {
        primaryKey: ['uri'],
        uniqueKeys: [['uri'], ['slug']],
        columns: [
          column('uri'),
          column('indexed_at', INSTANT, { default: 'now()' }),
          column('made_at', INSTANT, { default: 'CURRENT_TIMESTAMP' }),
          column('sort_date', INSTANT, { default: 'LEAST(now(), indexed_at)', generated: true }),
          column('sent_at', INSTANT),
          column('epoch', INSTANT, { default: "'1970-01-01 00:00:00+00'::timestamp with time zone" }),
          column('local', 'timestamp without time zone', { default: 'now()' }),
        ],
      }),
      table('keyed', { uniqueKeys: [['a', 'b'], ['c']] }),
      table('keyless'),
    ],
    foreignKeys: [
      foreignKey('documents', 'public', 'public'),
      foreignKey('documents', 'public', 'auth'),
      foreignKey('elsewhere', 'private', 'public'),
    ],
  })

  test('births are what the database fills in when a row is made, and nothing else', () => {
    expect(catalog.birthColumns('documents')).toEqual(['indexed_at', 'made_at'])
  })

  test('generated columns are never written', () => {
    expect(catalog.writableColumns('documents')).not.toContain('sort_date')
    expect(catalog.writableColumns('documents')).toHaveLength(6)
  })

  test('rows are told apart by the primary key, else by the first unique one, else not at all', () => {
    expect(catalog.keyOf('documents')).toEqual(['uri'])
    expect(catalog.keyOf('keyed')).toEqual(['a', 'b'])
    expect(() => catalog.keyOf('keyless')).toThrow(ConfigError)
  })

  test('a table that is not there is named', () => {
    expect(catalog.has('posts')).toBe(false)
    expect(() => catalog.table('posts')).toThrow('no table "posts"')
  })

  test('foreign keys from or to other schemas are left out', () => {
    expect(catalog.foreignKeys.map(({ child, parentSchema }) => [child, parentSchema])).toEqual([
      ['documents', 'public'],
    ])
  })

  test('but kept, as keys that lead outside', () => {
    expect(catalog.outsideKeys.map(({ childSchema, parentSchema }) => [childSchema, parentSchema])).toEqual([
      ['public', 'auth'],
      ['private', 'public'],
    ])
  })

  test('an answer of another shape is refused', () => {
    expect(() => catalogOf({ instance: '1', tables: [{}], foreignKeys: [] })).toThrow()
    expect(() => catalogOf(null)).toThrow()
  })
})

function foreignKey(child: string, childSchema: string, parentSchema: string) {
  const columns = { columns: ['parent'], parentColumns: ['uri'] }
  const rest = { onDelete: 'cascade', deferrable: false }
  return { name: 'f', child, childSchema, parent: 'publications', parentSchema, ...columns, ...rest }
}
