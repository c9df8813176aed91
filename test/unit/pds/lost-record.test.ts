import { describe, expect, test } from 'vitest'
import { leaflet } from '../../../src/appview/leaflet/index.ts'
import type { AppView, JsonObject, RecordCandidates } from '../../../src/events.ts'
import { assertOwn, lostRecordOf, recordNameOf } from '../../../src/pds/lost-record.ts'
import { cidOfRecord } from '../../../src/repo/record.ts'

const NOTE = 'com.example.note'
const URI = `at://did:plc:author/${NOTE}/3aaaaaaaaaaa2`
const note = (extra: JsonObject = {}): JsonObject => ({ $type: NOTE, text: 'hm', ...extra })

/** An appview whose rows give these candidates; without any the record column is the record. */
function appviewOf(toRecord?: () => RecordCandidates): AppView {
  const derived = { table: 'notes', of: 'uri', key: ['uri'], columns: ['uri', 'data'] }
  const handler = {
    collection: NOTE,
    derives: [derived] as const,
    rank: 0,
    rows: () => ({ outcome: 'skipped' as const, reason: '' }),
    ...(toRecord === undefined ? {} : { toRecord }),
  }
  return {
    name: 'notes',
    handlers: [handler],
    roots: [],
    sections: {},
    sensitiveColumns: [],
    untouchableTables: [],
    guardTables: [],
  }
}
const among = (...candidates: JsonObject[]) => appviewOf(() => ({ ok: true, candidates }))
const rowOf = (data: unknown) => ({ uri: URI, recordColumn: 'data', row: { data } as JsonObject })

describe('of several candidates', () => {
  const candidates = [note({ a: true, b: true }), note({ b: true }), note()]

  test.each([0, 1, 2])('the one with the original CID is taken: %i', (index) => {
    const wanted = candidates[index] ?? {}
    const found = lostRecordOf(rowOf(note()), among(...candidates), cidOfRecord(wanted))
    expect(found).toMatchObject({ proof: 'proven', record: wanted, cid: cidOfRecord(wanted), uri: URI })
  })

  test('the likeliest, where nothing outside says which', () => {
    const found = lostRecordOf(rowOf(note()), among(...candidates), undefined)
    expect(found).toMatchObject({ proof: 'self-consistent', record: candidates[0] })
  })

  test('the likeliest, said to differ, where none has that CID', () => {
    const original = cidOfRecord(note({ edited: true }))
    const found = lostRecordOf(rowOf(note()), among(...candidates), original)
    expect(found).toMatchObject({ proof: 'different', record: candidates[0], originalCid: original })
  })

  test('no more are made than are looked at', () => {
    let made = 0
    function* endless() {
      for (;;) yield note({ n: made++ })
    }
    const appview = appviewOf(() => ({ ok: true, candidates: endless() }))
    lostRecordOf(rowOf(note()), appview, cidOfRecord(note({ n: 3 })))
    expect(made).toBe(4)
    lostRecordOf(rowOf(note()), appview, undefined)
    expect(made).toBe(5)
  })
})

describe('a row that gives no record', () => {
  test.each<[string, unknown, string]>([
    ['of another type', { $type: 'com.example.other' }, '$type'],
    ['without a type', { text: 'hm' }, '$type'],
    ['with a fraction', note({ half: 0.5 }), '$.half'],
    ['that is empty', null, 'no record'],
    ['that is a list', [], 'no record'],
    ['that is a text', 'hm', 'no record'],
  ])('%s', (_, data, reason) => {
    const found = lostRecordOf(rowOf(data), appviewOf(), undefined)
    expect(found).toMatchObject({ refusal: 'unencodable', uri: URI, reason: expect.stringContaining(reason) })
    expect(found).not.toHaveProperty('record')
  })

  test('as its handler says, with its reason', () => {
    const appview = appviewOf(() => ({ ok: false, reason: 'its pages are in a blob' }))
    const found = lostRecordOf(rowOf(note()), appview, cidOfRecord(note()))
    expect(found).toMatchObject({ refusal: 'unencodable', reason: 'its pages are in a blob' })
  })

  describe('of a collection that nobody describes', () => {
    const paid = { $type: 'com.example.essay', text: 'for members' }
    const uri = 'at://did:plc:author/com.example.essay/3aaaaaaaaaaa2'

    test.each([{ table: 'notes' }, {}])('is refused, even with a CID that fits: %o', (where) => {
      const found = lostRecordOf({ ...rowOf(paid), uri, ...where }, appviewOf(), cidOfRecord(paid))
      expect(found).toMatchObject({
        refusal: 'unencodable',
        reason: expect.stringContaining('no collection com.example.essay'),
      })
      expect(JSON.stringify(found)).not.toContain('for members')
    })

    test('as is one of a collection that has its rows elsewhere', () => {
      const row = {
        uri: 'at://did:plc:author/pub.leaflet.comment/3aaaaaaaaaaa2',
        table: 'documents',
        recordColumn: 'data',
        row: { data: { $type: 'pub.leaflet.comment', plaintext: 'for members' } },
      }
      expect(lostRecordOf(row, leaflet, undefined)).toMatchObject({
        refusal: 'unencodable',
        reason: expect.stringContaining('documents'),
      })
    })

    test('is its record column in a table of which nothing is described', () => {
      const found = lostRecordOf({ ...rowOf(paid), uri, table: 'essays' }, appviewOf(), undefined)
      expect(found).toMatchObject({ record: paid })
    })
  })

  test('of an appview without any handler is still its record column', () => {
    const found = lostRecordOf(rowOf(note()), { ...appviewOf(), handlers: [] }, undefined)
    expect(found).toMatchObject({ record: note(), collection: NOTE, rkey: '3aaaaaaaaaaa2' })
  })
})

describe('what proves a record', () => {
  const candidates = [note({ a: true }), note()]
  const [filled, lean] = candidates.map(cidOfRecord)
  const other = cidOfRecord(note({ edited: true }))
  const of = (known: Parameters<typeof lostRecordOf>[2]) =>
    lostRecordOf(rowOf(note()), among(...candidates), known)
  const refs = (...cids: (string | undefined)[]) => new Set(cids.filter((cid) => cid !== undefined))

  test('the repo, the tombstone, a reference: it says which', () => {
    expect(of({ live: lean ?? '' })).toMatchObject({
      proof: 'proven',
      provenBy: 'repo',
      record: candidates[1],
    })
    expect(of({ deleted: lean ?? '' })).toMatchObject({ proof: 'proven', provenBy: 'tombstone' })
    expect(of({ referenced: refs(other, lean) })).toMatchObject({
      proof: 'proven',
      provenBy: 'strong-reference',
      originalCid: lean,
      record: candidates[1],
    })
  })

  test('a reference that no candidate has says nothing', () => {
    const found = of({ referenced: refs(other) })
    expect(found).toMatchObject({ proof: 'self-consistent', originalCid: undefined, record: candidates[0] })
    expect(found).not.toHaveProperty('differs')
  })

  test('nor does another record that is there now', () => {
    expect(of({ live: other })).toMatchObject({ proof: 'self-consistent', originalCid: undefined })
    expect(of({ live: other, referenced: refs(lean) })).toMatchObject({ provenBy: 'strong-reference' })
  })

  test('a tombstone that none has makes it different, whatever refers to it, and the reason is told', () => {
    const plain = of({ deleted: other })
    expect(plain).toMatchObject({
      proof: 'different',
      originalCid: other,
      record: candidates[0],
      differs: expect.stringContaining(`CID ${other}; none of the 2 records`),
    })
    const referenced = of({ deleted: other, referenced: refs(lean) })
    expect(referenced).toMatchObject({
      proof: 'different',
      originalCid: other,
      record: candidates[1],
      differs: expect.stringContaining('edited after the backup'),
    })
    expect(referenced).not.toHaveProperty('provenBy')
  })

  test('the tombstone goes before a reference to another version', () => {
    expect(of({ deleted: lean ?? '', referenced: refs(filled) })).toMatchObject({
      provenBy: 'tombstone',
      record: candidates[1],
    })
  })

  test('why it may be another is told where nothing proves it', () => {
    const appview = appviewOf(() => ({ ok: true, candidates, mayDiffer: 'its pages were in a blob' }))
    const found = (known: Parameters<typeof lostRecordOf>[2]) => lostRecordOf(rowOf(note()), appview, known)
    expect(found(undefined)).toMatchObject({ doubt: 'its pages were in a blob' })
    expect(found(other)).toMatchObject({ differs: expect.stringContaining('its pages were in a blob') })
    expect(found(lean)).not.toHaveProperty('doubt')
  })
})

describe('the search', () => {
  const never = cidOfRecord(note({ never: true }))
  const searched = (padding: number) => {
    let made = 0
    function* endless() {
      for (;;) yield note({ n: made++, text: 'x'.repeat(padding) })
    }
    const appview = appviewOf(() => ({ ok: true, candidates: endless() }))
    return { found: lostRecordOf(rowOf(note()), appview, never), made }
  }

  test('ends, in number', () => {
    const { found, made } = searched(0)
    expect(made).toBeLessThan(2_100)
    expect(found).toMatchObject({ proof: 'different', differs: expect.stringContaining('there are more') })
  })

  test('and in bytes', () => {
    const { found, made } = searched(1_000_000 - 1_000)
    expect(made).toBeLessThan(20)
    expect(found).toMatchObject({ proof: 'different', record: { n: 0 } })
  })

  test('passes over a candidate that cannot be written, unless it is the first', () => {
    const broken = note({ half: 0.5 })
    expect(
      lostRecordOf(rowOf(note()), among(note({ a: 1 }), broken, note()), cidOfRecord(note())),
    ).toMatchObject({ proof: 'proven' })
    expect(lostRecordOf(rowOf(note()), among(broken, note()), cidOfRecord(note()))).toMatchObject({
      refusal: 'unencodable',
      reason: expect.stringContaining('$.half'),
    })
  })
})

describe('what must be proven to be written', () => {
  const appview = appviewOf(() => ({ ok: true, candidates: [note()], onlyIfProven: 'perhaps paid' }))
  const cid = cidOfRecord(note())
  const of = (known: Parameters<typeof lostRecordOf>[2]) => lostRecordOf(rowOf(note()), appview, known)

  test('is written where the tombstone or the repo proves it', () => {
    expect(of({ deleted: cid })).toMatchObject({ proof: 'proven', record: note() })
    expect(of({ live: cid })).toMatchObject({ proof: 'proven', record: note() })
  })

  test.each([
    ['nothing is known', undefined],
    ['the tombstone has another CID', cidOfRecord(note({ cut: true }))],
    ['somebody only refers to it, who may have read it and made that up', { referenced: new Set([cid]) }],
  ])('and refused where %s', (_, known) => {
    expect(of(known)).toMatchObject({ refusal: 'unencodable', reason: 'perhaps paid' })
    expect(of(known)).not.toHaveProperty('record')
  })
})

describe('a record too large for a request', () => {
  const large = (bytes: number) => note({ text: 'ü'.repeat(bytes / 2) })
  const of = (record: JsonObject, known?: { live: string }) => lostRecordOf(rowOf(record), appviewOf(), known)

  test('is refused as that', () => {
    expect(of(large(1_000_000))).toMatchObject({
      refusal: 'too-large',
      reason: expect.stringMatching(/takes 1000\d{3} bytes .* 1,000,000/),
    })
    expect(of(large(999_000))).toMatchObject({ proof: 'self-consistent' })
  })

  test('unless it is there already', () => {
    const record = large(1_000_000)
    expect(of(record, { live: cidOfRecord(record) })).toMatchObject({ proof: 'proven', provenBy: 'repo' })
  })
})

describe('what no record can hold is refused with its place, for a real row too', () => {
  const document = (extra: JsonObject): JsonObject => ({
    $type: 'site.standard.document',
    site: 'https://example.com',
    title: 'Herons',
    publishedAt: '2026-02-14T09:30:00.000Z',
    ...extra,
  })
  const cover = { $type: 'blob', mimeType: 'image/png', size: 0 }
  const uri = 'at://did:plc:author/site.standard.document/3aaaaaaaaaaa2'
  test.each<[string, JsonObject, string, string]>([
    ['a float', document({ content: { width: 1.5 } }), uri, '$.content.width: 1.5'],
    ['a wrong $type', document({ $type: 'pub.leaflet.document' }), uri, 'pub.leaflet.document'],
    [
      'a picture that is an address',
      document({ coverImage: { ...cover, ref: { $link: 'https://db.example/a.png' } } }),
      uri,
      '$.coverImage.ref: $link is not a CID',
    ],
    ['a picture without a CID', document({ coverImage: cover }), uri, '$.coverImage.ref'],
    ['a lone surrogate', document({ title: 'a\ud800b' }), uri, '$.title: the text holds a lone surrogate'],
    ['a bad key', document({}), 'at://did:plc:author/site.standard.document/..', 'record key ".."'],
    ['a key with a space', document({}), 'at://did:plc:author/site.standard.document/a b', 'AT-URI'],
    ['no key', document({}), 'at://did:plc:author/site.standard.document', 'AT-URI'],
    ['no URI', document({}), '', 'AT-URI'],
  ])('%s', (_, data, at, reason) => {
    const row = { uri: at, recordColumn: 'data', row: { uri: at, data } }
    expect(lostRecordOf(row, leaflet, undefined)).toMatchObject({
      uri: at,
      refusal: 'unencodable',
      reason: expect.stringContaining(reason),
    })
  })
})

test.each<[string, ReturnType<typeof recordNameOf>]>([
  [URI, { collection: NOTE, rkey: '3aaaaaaaaaaa2' }],
  ['at://did:plc:author', undefined],
  ['at://did:plc:author/com.example.note', undefined],
  ['https://example.com', undefined],
  ['', undefined],
])('the name in %j', (uri, name) => {
  expect(recordNameOf(uri)).toEqual(name)
})

test.each([
  ['did:plc:author', true],
  ['did:plc:autho', false],
  ['did:plc:authors', false],
])('belongs to %s: %s', (did, isOwn) => {
  const check = () => assertOwn(URI, did)
  if (isOwn) expect(check).not.toThrow()
  else expect(check).toThrow(expect.objectContaining({ name: 'VerificationError' }))
})
