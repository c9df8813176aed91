import { expect, test } from 'vitest'
import type { SnapshotTable } from '../../../src/backup/snapshot.ts'
import { catalogOf } from '../../../src/database/catalog.ts'
import { inOrder } from '../../../src/reconcile/order.ts'

type Key = [child: string, column: string, parent: string]

/** Columns that end in `?` may be NULL. */
function ordered(names: string[], keys: Key[]): [table: string, heldBack: readonly string[]][] {
  const columnsOf = (table: string) => [
    'id',
    ...keys.filter(([child]) => child === table).map(([, column]) => column),
  ]
  const catalog = catalogOf({
    instance: '1',
    tables: names.map((name) => ({
      name,
      columns: columnsOf(name).map((column) => ({
        name: column,
        type: 'text',
        nullable: column.endsWith('?'),
        default: null,
        generated: false,
        identity: null,
      })),
      primaryKey: ['id'],
      uniqueKeys: [['id']],
      triggers: [],
    })),
    foreignKeys: keys.map(([child, column, parent], index) => ({
      name: `key_${index}`,
      child,
      childSchema: 'public',
      parent,
      parentSchema: 'public',
      columns: [column],
      parentColumns: ['id'],
      onDelete: 'cascade',
      deferrable: false,
    })),
  })
  const tables = names.map(
    (table): SnapshotTable => ({ table, section: table, columns: [], key: ['id'], rows: [] }),
  )
  const appview = { guardTables: ['guards'] } as unknown as Parameters<typeof inOrder>[1]['appview']
  return inOrder(tables, { appview, catalog }).map(({ source, heldBack }) => [source.table, heldBack])
}

test('parents come first, and what keeps mails from going out twice before its like', () => {
  expect(
    ordered(
      ['leaves', 'roots', 'guards'],
      [
        ['leaves', 'root', 'roots'],
        ['guards', 'root', 'roots'],
      ],
    ),
  ).toEqual([
    ['roots', []],
    ['guards', []],
    ['leaves', []],
  ])
})

test('a circle is opened where a reference may be empty, and by nobody who only hangs below it', () => {
  const keys: Key[] = [
    ['drafts', 'season?', 'seasons'],
    ['episodes', 'season', 'seasons'],
    ['seasons', 'opener?', 'episodes'],
  ]
  expect(ordered(['drafts', 'episodes', 'seasons'], keys)).toEqual([
    ['seasons', ['opener?']],
    ['drafts', []],
    ['episodes', []],
  ])
})

test('a circle in which all must be there has an order all the same', () => {
  const keys: Key[] = [
    ['a', 'b', 'b'],
    ['b', 'a', 'a'],
  ]
  expect(ordered(['a', 'b'], keys).map(([table]) => table)).toEqual(['a', 'b'])
})
