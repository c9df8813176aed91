import { describe, expect, test } from 'vitest'
import type { SnapshotTable } from '../../../src/backup/snapshot.ts'
import type { DerivedTable, Handler, HandlerResult, JsonObject } from '../../../src/events.ts'
import { holdsRecord, keptOfBackup } from '../../../src/reconcile/merge-row.ts'
import { encodeRecord } from '../../../src/repo/record.ts'

const URI = 'at://did:plc:author/com.example.post/a'
const POSTS: DerivedTable = {
  table: 'posts',
  of: 'uri',
  key: ['uri'],
  columns: ['uri', 'data', 'title', 'tags'],
}
const table: SnapshotTable = {
  table: 'posts',
  section: 'posts',
  columns: [
    { name: 'uri', type: 'text', generated: false },
    { name: 'data', type: 'jsonb', generated: false },
    { name: 'title', type: 'text', generated: false },
    { name: 'tags', type: 'text[]', generated: false },
    { name: 'sort', type: 'text', generated: true },
  ],
  key: ['uri'],
  rows: [],
}
const row = {
  uri: URI,
  data: '{"n": 12345678901234567890.10, "paid": 1.0}',
  title: 'T',
  tags: '{a}',
  sort: 't',
}
const now = { ...row, data: '{"n": 1, "new": true}' }

const appviewOf = (
  mergeRow: Handler['mergeRow'],
  rows: () => HandlerResult = skipped,
  of = 'com.example.post',
) => ({
  handlers: [{ collection: of, derives: [POSTS] as const, rank: 0, rows, ...(mergeRow && { mergeRow }) }],
})
const skipped = (): HandlerResult => ({ outcome: 'skipped', reason: '' })
const kept = (mergeRow: Handler['mergeRow'], of?: string) =>
  Object.fromEntries(keptOfBackup(appviewOf(mergeRow, skipped, of), table, row, now))

describe('what a handler keeps of the backup', () => {
  test("goes back with the backup's own text", () => {
    expect(kept((old) => ({ data: old.data ?? null }))).toEqual({ data: row.data })
  })

  test('or printed anew where it is made of both, with the digits it had', () => {
    const merge: Handler['mergeRow'] = (old, indexed) => ({
      data: {
        ...(old.data as JsonObject),
        ...(indexed.data as JsonObject),
        n: (old.data as JsonObject).n ?? 0,
      },
    })
    expect(kept(merge)).toEqual({ data: '{"n":12345678901234567890.10,"paid":1,"new":true}' })
  })

  test.each<[string, Handler['mergeRow']]>([
    ['says nothing', () => ({})],
    ['has no say', undefined],
    ['names what is there already', (_, indexed) => ({ data: indexed.data ?? null, title: 'T' })],
    ['names a generated column, or none of the table', () => ({ sort: 'x', other: 'x' })],
  ])('is nothing where it %s', (_, mergeRow) => {
    expect(kept(mergeRow)).toEqual({})
  })

  test('is not asked of the handler of another collection', () => {
    expect(kept((old) => ({ data: old.data ?? null }), 'com.example.other')).toEqual({})
  })
})

describe('whether a row holds what its record gives', () => {
  const repo = {
    get: (collection: string, rkey: string) => ({ collection, rkey, ...encodeRecord({ $type: collection }) }),
  }
  const given = (given: JsonObject) => (): HandlerResult => ({
    outcome: 'rows',
    mutations: [{ kind: 'upsert', into: POSTS, row: { uri: URI, ...given } }],
  })
  const holds = (rows: () => HandlerResult, from: Parameters<typeof holdsRecord>[3] = repo) =>
    Object.fromEntries(holdsRecord(appviewOf(undefined, rows), table, now, from))

  test('is told by what values mean, and not where a value has no one text', () => {
    expect(holds(given({ data: { new: true, n: 1 }, title: 'T', tags: ['a'] }))).toEqual({
      uri: true,
      data: true,
      title: true,
      tags: undefined,
    })
    expect(holds(given({ data: { n: 2 }, title: null }))).toMatchObject({ data: false, title: false })
  })

  test('is told of no column where the repo gives no such row', () => {
    expect(holds(skipped)).toEqual({})
    expect(holds(given({ data: { n: 1 } }), { get: () => undefined })).toEqual({})
  })
})
