import { describe, expect, test } from 'vitest'
import { edgesOf, filterColumns, referenceOf } from '../../../src/backup/edges.ts'
import { virtualKeysOf } from '../../../src/backup/unique-keys.ts'
import { catalogOf } from '../../../src/database/catalog.ts'
import { ConfigError } from '../../../src/errors.ts'
import type { VirtualReference } from '../../../src/events.ts'

const column = (name: string, type = 'text') => ({
  name,
  type,
  nullable: true,
  default: null,
  generated: false,
  identity: null,
})
const table = (name: string, columns: object[], uniqueKeys: string[][]) => ({
  name,
  columns,
  primaryKey: uniqueKeys[0] ?? null,
  uniqueKeys,
  triggers: [],
})
const catalog = catalogOf({
  instance: '1',
  tables: [
    table('posts', [column('uri'), column('data', 'jsonb')], [['uri']]),
    table('likes', [column('uri'), column('post'), column('data', 'json'), column('who')], [['uri']]),
    table('parts', [column('post'), column('n'), column('next')], [['post', 'n'], ['next']]),
  ],
  foreignKeys: [
    {
      name: 'likes_post',
      child: 'likes',
      childSchema: 'public',
      parent: 'posts',
      parentSchema: 'public',
      columns: ['post'],
      parentColumns: ['uri'],
      onDelete: 'set null',
      deferrable: false,
    },
    {
      name: 'parts_next',
      child: 'parts',
      childSchema: 'public',
      parent: 'parts',
      parentSchema: 'public',
      columns: ['post', 'next'],
      parentColumns: ['post', 'n'],
      onDelete: 'set null',
      onUpdate: 'cascade',
      setColumns: ['next'],
      deferrable: true,
      initiallyDeferred: true,
    },
  ],
})
const inData: VirtualReference = {
  child: 'likes',
  path: ['data', 'subject', 'uri'],
  parent: 'posts',
  parentColumn: 'uri',
  onDelete: 'cascade',
}
const edges = (...virtualReferences: VirtualReference[]) => edgesOf(catalog, { virtualReferences })

describe('edges', () => {
  test('foreign keys say which columns they empty', () => {
    expect(edgesOf(catalog, {})).toMatchObject([
      { kind: 'foreign-key', name: 'likes_post', keys: [], emptied: ['post'], onUpdate: 'no action' },
      {
        kind: 'foreign-key',
        name: 'parts_next',
        emptied: ['next'],
        onUpdate: 'cascade',
        initiallyDeferred: true,
      },
    ])
  })

  test('a virtual one has the same shape', () => {
    expect(edges(inData).at(-1)).toEqual({
      kind: 'virtual',
      name: 'likes.data.subject.uri',
      child: 'likes',
      columns: ['data'],
      keys: ['subject', 'uri'],
      parent: 'posts',
      parentColumns: ['uri'],
      onDelete: 'cascade',
      onUpdate: 'no action',
      emptied: [],
      deferrable: false,
      initiallyDeferred: false,
    })
    expect(edges({ ...inData, path: ['who'], onDelete: 'set null' }).at(-1)).toMatchObject({
      emptied: ['who'],
    })
  })

  test('one that the schema declares is only the foreign key', () => {
    expect(edges({ ...inData, path: ['post'] })).toHaveLength(2)
  })

  test.each<[string, Partial<VirtualReference>, string]>([
    ['an unknown child', { child: 'loves' }, 'no table "loves"'],
    ['an unknown parent', { parent: 'toasts' }, 'no table "toasts"'],
    ['an unknown column', { path: ['subject'] }, 'no column "likes.subject"'],
    ['an unknown parent column', { parentColumn: 'id' }, 'no column "posts.id"'],
    ['keys in a text', { path: ['post', 'uri'] }, '"likes.post" is of type text'],
    ['a key that no filter can name', { path: ['data', 'a,b'] }, '"a,b" cannot be a key'],
    ['a path that would be emptied', { onDelete: 'set null' }, 'never set to null'],
  ])('%s is refused', (_, change, message) => {
    expect(() => edges({ ...inData, ...change })).toThrow(ConfigError)
    expect(() => edges({ ...inData, ...change })).toThrow(message)
  })
})

describe("the child's side", () => {
  const [foreign, composite] = edgesOf(catalog, {})
  const virtual = edges(inData)[2]

  test('in a filter', () => {
    expect(foreign && filterColumns(foreign)).toEqual(['post'])
    expect(composite && filterColumns(composite)).toEqual(['post', 'next'])
    expect(virtual && filterColumns(virtual)).toEqual(['data->subject->>uri'])
    expect(filterColumns({ columns: ['data'], keys: ['site'] })).toEqual(['data->>site'])
  })

  test('in a row: with any part missing it refers to nothing', () => {
    if (composite === undefined) throw new Error('no composite edge')
    expect(referenceOf({ post: 'a', next: '1' }, composite)).toEqual(['a', '1'])
    expect(referenceOf({ post: 'a', next: null }, composite)).toBeUndefined()
    expect(referenceOf({ post: 'a' }, composite)).toBeUndefined()
  })

  test.each([
    ['{"subject": {"uri": "at://x/y/z"}}', ['at://x/y/z']],
    ['{"subject": {"uri": 12345678901234567890}}', ['12345678901234567890']],
    ['{"subject": {"uri": null}}', undefined],
    ['{"subject": {"uri": {"uri": "x"}}}', undefined],
    ['{"subject": {"uri": ["x"]}}', undefined],
    ['{"subject": "uri"}', undefined],
    ['{"subject": ["uri"]}', undefined],
    ['{}', undefined],
    ['"text"', undefined],
    ['null', undefined],
    [null, undefined],
    ['{"__proto__": {"uri": "x"}, "subject": {}}', undefined],
  ])('inside JSON: %s', (data, found) => {
    expect(virtual && referenceOf({ data }, virtual)).toEqual(found)
  })
})

describe('unique keys', () => {
  const keys = (...virtualUniqueKeys: { table: string; columns: string[] }[]) =>
    virtualKeysOf(catalog, { virtualUniqueKeys }, 'parts')

  test('those that the schema declares, in whatever order, are none', () => {
    expect(
      keys(
        { table: 'parts', columns: ['n', 'post'] },
        { table: 'likes', columns: ['who'] },
        { table: 'parts', columns: ['n', 'next'] },
      ),
    ).toEqual([['n', 'next']])
  })

  test('one with a column that is not there, or none, is refused', () => {
    expect(() => keys({ table: 'parts', columns: ['m'] })).toThrow('names "m", which the table does not have')
    expect(() => keys({ table: 'parts', columns: [] })).toThrow(ConfigError)
  })
})
