import { expect, test } from 'vitest'
import type { SnapshotTable } from '../../../src/backup/snapshot.ts'
import { strongReferencesIn } from '../../../src/restore/strong-references.ts'

const DID = 'did:plc:author'
const POST = `at://${DID}/site.standard.document/a`
const OTHER = `at://${DID}/site.standard.document/b`

function tableOf(rows: Record<string, string | null>[], type = 'jsonb'): SnapshotTable {
  return {
    table: 'comments',
    section: 'comments',
    key: ['uri'],
    columns: [
      { name: 'uri', type: 'text', generated: false },
      { name: 'record', type, generated: false },
    ],
    rows,
  }
}
const rowOf = (record: unknown, uri = 'at://x/y/z') => ({ uri, record: JSON.stringify(record) })
const found = (tables: SnapshotTable[], parents: SnapshotTable[] = []) =>
  Object.fromEntries(
    [...strongReferencesIn({ did: DID, tables, parents }, new Set([POST, OTHER]))].map(([uri, cids]) => [
      uri,
      [...cids],
    ]),
  )

test('anywhere in a record, of any table, each once', () => {
  const rows = [
    rowOf({ subject: { uri: POST, cid: 'one' } }),
    rowOf({ a: [{ b: [{ uri: POST, cid: 'two', more: true }] }], reply: { uri: OTHER, cid: 'three' } }),
    rowOf({ subject: { uri: POST, cid: 'one' } }),
  ]
  const parent = tableOf([rowOf({ uri: OTHER, cid: 'four' })], 'json')
  expect(found([tableOf(rows)], [parent])).toEqual({ [POST]: ['one', 'two'], [OTHER]: ['three', 'four'] })
})

test.each<[string, unknown]>([
  ['to a record that was not lost', { uri: `at://${DID}/site.standard.document/c`, cid: 'x' }],
  ['to another account', { uri: 'at://did:plc:other/site.standard.document/a', cid: 'x' }],
  ['without a CID', { uri: POST }],
  ['whose CID is no text', { uri: POST, cid: 7 }],
  ['whose halves are in two objects', { uri: POST, inner: { cid: 'x' } }],
  ['that is a text', `{"uri": "${POST}", "cid": "x"}`],
  ['that is nothing', null],
])('no reference %s', (_, record) => {
  expect(found([tableOf([rowOf(record)])])).toEqual({})
})

test('only columns of JSON are read, and none is parsed in vain', () => {
  expect(found([tableOf([rowOf({ uri: POST, cid: 'x' })], 'text')])).toEqual({})
  expect(
    found([
      tableOf([
        { uri: 'x', record: '{not even JSON' },
        { uri: 'y', record: null },
      ]),
    ]),
  ).toEqual({})
})

test('however deep somebody nests it', () => {
  const depth = 100_000
  const text = `${'['.repeat(depth)}{"uri": "${POST}", "cid": "deep"}${']'.repeat(depth)}`
  expect(found([tableOf([{ uri: 'x', record: text }])])).toEqual({ [POST]: ['deep'] })
})
