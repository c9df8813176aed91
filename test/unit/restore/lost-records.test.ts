import { expect, test } from 'vitest'
import { leaflet } from '../../../src/appview/leaflet/index.ts'
import type { Snapshot } from '../../../src/backup/snapshot.ts'
import { cidOfRecord, encodeRecord } from '../../../src/repo/record.ts'
import type { VerifiedRepo } from '../../../src/repo/verified-repo.ts'
import { type Evidence, lostRecordsOf } from '../../../src/restore/lost-records.ts'

const DID = 'did:plc:author'
const COLLECTION = 'site.standard.document'
const URI = `at://${DID}/${COLLECTION}/a`
const post = (title: string) => ({
  $type: COLLECTION,
  site: 'https://example.com',
  title,
  publishedAt: '2026-02-14T09:30:00.000Z',
})
const cid = cidOfRecord(post('mine'))
const other = cidOfRecord(post('other'))

function snapshotOf(uri: string, data: unknown): Snapshot {
  const documents = {
    table: 'documents',
    section: 'documents',
    key: ['uri'],
    columns: [
      { name: 'uri', type: 'text', generated: false },
      { name: 'data', type: 'jsonb', generated: false },
    ],
    rows: [{ uri, data: JSON.stringify(data) }],
  }
  return { did: DID, tables: [documents], parents: [] } as unknown as Snapshot
}
const repoOf = (title?: string): Pick<VerifiedRepo, 'get'> => ({
  get: (collection, rkey) =>
    title === undefined ? undefined : { collection, rkey, ...encodeRecord(post(title)) },
})
const state = (deleted: boolean, cid: string | null) =>
  new Map([[URI, { uri: URI, rev: '3aaaaaaaaaaa2', cid, deleted }]])
const window = new Map([[URI, cid]])

test.each<[string, Partial<Evidence>, object]>([
  ['proves what nobody indexed', { deleted: window }, { proof: 'proven', provenBy: 'tombstone' }],
  [
    'proves what the index saw deleted without its CID',
    { states: state(true, null), deleted: window },
    { proof: 'proven' },
  ],
  ['proves what the index still has', { states: state(false, other), deleted: window }, { proof: 'proven' }],
  [
    'goes behind what the index saw deleted',
    { states: state(true, other), deleted: window },
    { proof: 'different', originalCid: other },
  ],
  ['of another record makes it different', { deleted: new Map([[URI, other]]) }, { proof: 'different' }],
  ['says nothing of other records', { deleted: new Map([[`${URI}b`, cid]]) }, { proof: 'self-consistent' }],
  ['is not needed', {}, { proof: 'self-consistent' }],
  [
    'says nothing where a record is there now',
    { repo: repoOf('anew'), deleted: new Map([[URI, other]]) },
    { proof: 'self-consistent' },
  ],
])('a delete in the window %s', (_, evidence, expected) => {
  const known = { states: new Map(), repo: repoOf(), ...evidence }
  expect(lostRecordsOf(snapshotOf(URI, post('mine')), leaflet, known)).toMatchObject([expected])
})

test('a row of a collection that has its rows in another table is refused', () => {
  const uri = `at://${DID}/pub.leaflet.comment/a`
  const data = { $type: 'pub.leaflet.comment', plaintext: 'for members' }
  const known = { states: new Map(), repo: repoOf() }
  expect(lostRecordsOf(snapshotOf(uri, data), leaflet, known)).toMatchObject([
    { refusal: 'unencodable', reason: expect.stringContaining('documents') },
  ])
})
