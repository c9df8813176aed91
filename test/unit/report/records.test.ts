import { describe, expect, test } from 'vitest'
import type { RecordState } from '../../../src/database/record-state.ts'
import type { LostRecord, RefusedRecord } from '../../../src/pds/lost-record.ts'
import { cidOfRecord, encodeRecord } from '../../../src/repo/record.ts'
import { compareRecords } from '../../../src/report/records.ts'
import type { RefusedRecords } from '../../../src/report/refused.ts'
import { NOTE } from './small-world.ts'

const RECORD = { $type: 'com.example.note', text: 'one' }
const CID = cidOfRecord(RECORD)
const EDITED = { $type: 'com.example.note', text: 'two' }
const OTHER_CID = cidOfRecord(EDITED)
const LOST: LostRecord = {
  uri: NOTE,
  collection: 'com.example.note',
  rkey: '1',
  cid: CID,
  bytes: 1,
  record: RECORD,
  originalCid: CID,
  proof: 'proven',
}
const REFUSED: RefusedRecord = {
  uri: NOTE,
  refusal: 'unencodable',
  reason: 'paid text',
  originalCid: undefined,
}

function compare(
  record: LostRecord | RefusedRecord,
  inRepo: typeof RECORD | undefined,
  indexed: string | null | undefined,
  kept = new Set<string>(),
  later: RefusedRecords = new Map(),
) {
  const get = (collection: string, rkey: string) => {
    if (inRepo === undefined || collection !== 'com.example.note' || rkey !== '1') return undefined
    const { cid, bytes } = encodeRecord(inRepo)
    return { collection, rkey, cid, bytes }
  }
  const state: RecordState = { uri: NOTE, rev: '3a', cid: indexed ?? CID, deleted: indexed === null }
  return compareRecords([record], { get }, new Map(indexed === undefined ? [] : [[NOTE, state]]), kept, later)
}

describe('a record', () => {
  test('is equal when repo and index have it', () => {
    expect(compare(LOST, RECORD, CID)).toMatchObject({ expected: 1, equal: 1, identicalCid: 1, proven: 1 })
  })
  test.each([
    ['the repo has none', undefined, null, 'missing', 'not in the repo'],
    ['the repo has another', EDITED, OTHER_CID, 'different', 'the repo holds another record under this key'],
    ['the index never saw it', RECORD, undefined, 'different', 'not indexed'],
    ['the index has it deleted', RECORD, null, 'different', 'not indexed'],
    ['the index has another', RECORD, OTHER_CID, 'different', 'the index has another version of it'],
  ])('is not when %s', (_, inRepo, indexed, kind, reason) => {
    const report = compare(LOST, inRepo, indexed)
    expect(report).toMatchObject({ expected: 1, equal: 0, [kind]: 1 })
    expect(report.items).toMatchObject([{ class: kind, reason }])
  })
  test('without a known CID counts as identical when it has that of the snapshot', () => {
    const record: LostRecord = { ...LOST, originalCid: undefined, proof: 'self-consistent' }
    expect(compare(record, RECORD, CID)).toMatchObject({ identicalCid: 1, proven: 0, selfConsistent: 1 })
  })
  test('that came back as the snapshot has it, with another CID than the lost one, is equal and not identical', () => {
    const record: LostRecord = { ...LOST, originalCid: OTHER_CID, proof: 'different' }
    expect(compare(record, RECORD, CID)).toMatchObject({ equal: 1, identicalCid: 0 })
    expect(compare(record, EDITED, OTHER_CID)).toMatchObject({ equal: 1, identicalCid: 1 })
  })
  test('that was kept as its author has it now is explained, once the index has it', () => {
    const kept = new Set([NOTE])
    expect(compare(LOST, EDITED, OTHER_CID, kept)).toMatchObject({ explained: 1, different: 0 })
    expect(compare(LOST, EDITED, CID, kept)).toMatchObject({ explained: 0, different: 1 })
    expect(compare(LOST, undefined, null, kept)).toMatchObject({ missing: 1 })
  })
  test('that was refused is missing with the reason', () => {
    expect(compare(REFUSED, undefined, null).items).toMatchObject([
      { class: 'missing', reason: 'refused (unencodable): paid text' },
    ])
    expect(compare(REFUSED, RECORD, CID)).toMatchObject({ different: 1 })
    expect(compare({ ...REFUSED, originalCid: CID }, RECORD, CID)).toMatchObject({ equal: 1 })
  })
  test('that the writer refused is missing with its reason, and what is known of it', () => {
    const later: RefusedRecords = new Map([[NOTE, { refusal: 'blob-missing', reason: 'no picture' }]])
    expect(compare(LOST, undefined, null, new Set(), later).items).toMatchObject([
      {
        class: 'missing',
        refusal: 'blob-missing',
        reason: 'refused (blob-missing): no picture',
        cid: CID,
        proof: 'proven',
      },
    ])
    const written = compare(LOST, RECORD, CID, new Set(), later).items
    expect(written).toMatchObject([{ class: 'equal' }])
    expect(written[0]?.refusal).toBeUndefined()
  })
  test('says by what it is proven, why it differs, and what is in doubt', () => {
    const item = (record: LostRecord) => compare(record, RECORD, CID).items[0]
    expect(item({ ...LOST, provenBy: 'tombstone' })).toMatchObject({ proof: 'proven', provenBy: 'tombstone' })
    expect(item({ ...LOST, proof: 'different', differs: 'why' })).toMatchObject({ differs: 'why' })
    expect(item({ ...LOST, proof: 'self-consistent', doubt: 'who knows' })).toMatchObject({
      doubt: 'who knows',
    })
    expect(item(LOST)).not.toHaveProperty('provenBy')
  })
})
