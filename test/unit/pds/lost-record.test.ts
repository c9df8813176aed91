import { describe, expect, test } from 'vitest'
import type { AppView, JsonObject, RecordCandidates } from '../../../src/events.ts'
import { assertOwn, lostRecordOf } from '../../../src/pds/lost-record.ts'
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

  test('of a collection without a handler is still its record column', () => {
    const found = lostRecordOf(rowOf(note()), { ...appviewOf(), handlers: [] }, undefined)
    expect(found).toMatchObject({ record: note(), collection: NOTE, rkey: '3aaaaaaaaaaa2' })
  })
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
