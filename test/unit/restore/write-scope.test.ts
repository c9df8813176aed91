import { expect, test } from 'vitest'
import type { RefusedRecord } from '../../../src/pds/lost-record.ts'
import { assertKnown, scoped } from '../../../src/restore/write-scope.ts'

const uriOf = (collection: string, rkey: string) => `at://did:plc:author/com.example.${collection}/${rkey}`
const recordOf = (uri: string): RefusedRecord => ({
  uri,
  refusal: 'unencodable',
  reason: '',
  originalCid: undefined,
})
const A = uriOf('note', 'a')
const B = uriOf('note', 'b')
const C = uriOf('book', 'a')
const records = [A, B, C].map(recordOf)
const urisIn = (...of: Parameters<typeof scoped>) => scoped(...of).records.map(({ uri }) => uri)

test('neither named: all, and the plan says nothing of it', () => {
  expect(scoped(records, {})).toEqual({ records })
})

test('these records, and all of these collections', () => {
  expect(urisIn(records, { uris: [B] })).toEqual([B])
  expect(urisIn(records, { collections: ['com.example.note'] })).toEqual([A, B])
  expect(urisIn(records, { uris: [C], collections: ['com.example.note'] })).toEqual([A, B, C])
  expect(scoped(records, { uris: [B] }).scope).toEqual({ uris: [B], leftOut: 2 })
  expect(scoped(records, { collections: ['com.example.book'] }).scope).toEqual({
    collections: ['com.example.book'],
    leftOut: 2,
  })
})

test.each<[string, Parameters<typeof scoped>[1], string]>([
  ['an unknown record', { uris: [A, uriOf('note', 'c')] }, uriOf('note', 'c')],
  ['a record by its handle', { uris: ['at://author.test/com.example.note/a'] }, 'author.test'],
  ['an unknown collection', { collections: ['com.example.note', 'com.example.notes'] }, 'com.example.notes'],
  ['a part of one', { collections: ['com.example'] }, 'com.example'],
  ['nothing', { uris: [] }, 'no record at all'],
  ['nothing twice', { uris: [], collections: [] }, 'no record at all'],
])('%s is wrong usage', (_, scope, named) => {
  expect(() => scoped(records, scope)).toThrow(
    expect.objectContaining({
      name: 'ConfigError',
      message: expect.stringContaining(named),
      hint: expect.any(String),
    }),
  )
})

test('an exemption names a record of the snapshot', () => {
  expect(() => assertKnown(records, [A, C])).not.toThrow()
  expect(() => assertKnown(records, [uriOf('note', 'x')])).toThrow(expect.objectContaining({ exitCode: 2 }))
})
