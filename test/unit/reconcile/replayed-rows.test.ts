import { expect, test } from 'vitest'
import { leaflet } from '../../../src/appview/leaflet/index.ts'
import type { Snapshot } from '../../../src/backup/snapshot.ts'
import type { JsonObject } from '../../../src/events.ts'
import { replayedRows } from '../../../src/reconcile/replayed-rows.ts'
import { encodeRecord } from '../../../src/repo/record.ts'

const DID = 'did:plc:author'
const PUBLICATION = `at://${DID}/site.standard.publication/p`
const documentUri = (rkey: string) => `at://${DID}/site.standard.document/${rkey}`
const id = (...key: string[]) => JSON.stringify(key)
const document = (extra: object = {}) => ({
  $type: 'site.standard.document',
  site: PUBLICATION,
  title: 'T',
  publishedAt: '2026-01-01T00:00:00.000Z',
  ...extra,
})

function snapshotOf(documents: [rkey: string, data: unknown][]): Snapshot {
  const rows = documents.map(([rkey, data]) => ({
    uri: documentUri(rkey),
    data: data === null ? null : JSON.stringify(data),
  }))
  const publication = { $type: 'site.standard.publication', name: 'N', url: 'https://n.example' }
  const table = (name: string, key: string[], found: Record<string, string | null>[] = []) => ({
    table: name,
    section: name,
    columns: [],
    key,
    rows: found,
  })
  return {
    did: DID,
    tables: [
      table('publications', ['uri'], [{ uri: PUBLICATION, record: JSON.stringify(publication) }]),
      table('documents', ['uri'], rows),
      table('documents_in_publications', ['publication', 'document']),
    ],
    parents: [],
    meta: { format: 1, extractedAt: '', from: '', appview: 'leaflet' },
  }
}

test('are those that the records stand for, children too, whether the snapshot has them or not', () => {
  const rows = replayedRows(snapshotOf([['a', document()]]), leaflet)
  expect(rows.has('publications', id(PUBLICATION))).toBe(true)
  expect(rows.has('documents', id(documentUri('a')))).toBe(true)
  expect(rows.has('documents_in_publications', id(PUBLICATION, documentUri('a')))).toBe(true)
  expect(rows.has('documents', id(documentUri('b')))).toBe(false)
  expect(rows.has('documents_in_publications', id(PUBLICATION, documentUri('b')))).toBe(false)
})

test('by the records that the repo holds now, where it is at hand', () => {
  const held = new Map<string, JsonObject>([
    ['site.standard.document/a', document({ site: 'https://elsewhere.example' })],
    ['site.standard.document/b', { $type: 'site.standard.document', title: 'no site' }],
  ])
  const repo = {
    get(collection: string, rkey: string) {
      const record = held.get(`${collection}/${rkey}`)
      return record === undefined ? undefined : { collection, rkey, ...encodeRecord(record) }
    },
  }
  const snapshot = snapshotOf([
    ['a', document()],
    ['b', document()],
    ['c', document()],
  ])
  const rows = replayedRows(snapshot, leaflet, repo)
  expect(rows.has('documents', id(documentUri('a')))).toBe(true)
  expect(rows.has('documents_in_publications', id(PUBLICATION, documentUri('a')))).toBe(false)
  expect(rows.has('documents', id(documentUri('b')))).toBe(false)
  expect(rows.has('documents', id(documentUri('c')))).toBe(false)
  expect(rows.has('publications', id(PUBLICATION))).toBe(false)
})

test("only what is ensured is nobody's row", () => {
  expect(replayedRows(snapshotOf([]), leaflet).has('identities', id(DID))).toBe(false)
})

test.each<[string, unknown]>([
  ['breaks its lexicon', { $type: 'site.standard.document', title: 'no site' }],
  ['cannot be in a repo', document({ half: 0.5 })],
  ['is none', null],
  ['is a text', 'x'],
  [
    'has its pages in a blob',
    document({
      content: {
        $type: 'pub.leaflet.content',
        pages: [],
        blobPages: {
          $type: 'blob',
          ref: { $link: 'bafkreihdwdcefgh4dqkjv67uzcmw7ojee6xedzdetojuzjevtenxquvyku' },
          mimeType: 'application/json',
          size: 1,
        },
      },
    }),
  ],
])('a record that %s stands for none, and spoils no other', (_, data) => {
  const rows = replayedRows(
    snapshotOf([
      ['odd', data],
      ['good', document()],
    ]),
    leaflet,
  )
  expect(rows.has('documents', id(documentUri('odd')))).toBe(false)
  expect(rows.has('documents', id(documentUri('good')))).toBe(true)
})
