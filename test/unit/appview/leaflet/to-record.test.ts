import { describe, expect, test } from 'vitest'
import { withoutDefaults } from '../../../../src/appview/leaflet/to-record.ts'
import type { Json, JsonObject, RecordCandidates } from '../../../../src/events.ts'
import { handlerFor, rowOf } from './events.ts'
import * as records from './records.ts'

function rebuilt(collection: string, row: JsonObject): RecordCandidates {
  const { toRecord } = handlerFor(collection)
  if (toRecord === undefined) throw new Error(`${collection} has no toRecord`)
  return toRecord(row)
}

function candidatesOf(record: JsonObject): JsonObject[] {
  const result = rebuilt(String(record.$type), rowOf(record))
  if (!result.ok) throw new Error(result.reason)
  return [...result.candidates]
}

const storedValue = (row: JsonObject) => row.data ?? row.record

const ROOTS = [
  ['site.standard.publication', records.siteStandardPublication, {}],
  ['pub.leaflet.publication', records.pubLeafletPublication, {}],
  ['site.standard.document', records.siteStandardDocument, { $type: 'pub.leaflet.publication#preferences' }],
  ['pub.leaflet.document', records.pubLeafletDocument, {}],
] as const

/** What an author may have written where the index now holds seven fields. */
const PREFERENCES: [string, JsonObject][] = [
  ['nothing', {}],
  ['the older five', { showInDiscover: true, showComments: true, showMentions: false, showPrevNext: true }],
  ['one default', { showRecommends: true }],
  ['all', records.PREFERENCES],
  ['an unknown field', { showComments: true, later: 1 }],
]

describe.each(ROOTS)('%s', (_collection, record, typed) => {
  test.each(PREFERENCES)(
    'the record is among the candidates when its preferences were %s',
    (_, preferences) => {
      const written = { ...record, preferences: { ...typed, ...preferences } }
      expect(candidatesOf(written)).toContainEqual(written)
    },
  )

  test.each([true, false, undefined])('and when its theme had showPageBackground %s', (shown) => {
    const { showPageBackground: _, ...theme } = records.THEME
    const written = {
      ...record,
      theme: shown === undefined ? theme : { ...theme, showPageBackground: shown },
      preferences: { ...typed },
    }
    expect(candidatesOf(written)).toContainEqual(written)
  })

  test('and when it had neither: then it is the only one', () => {
    const { theme: _, preferences: __, ...written } = record
    expect(candidatesOf(written)).toEqual([written])
  })

  test('the stored value first, then the one without any default, none twice, within the limit', () => {
    const written = { ...record, preferences: { ...typed }, theme: { $type: records.THEME.$type ?? null } }
    const candidates = candidatesOf(written)
    expect(candidates[0]).toEqual(storedValue(rowOf(written)))
    expect(candidates[1]).toEqual(written)
    expect(new Set(candidates.map((candidate) => JSON.stringify(candidate))).size).toBe(candidates.length)
    expect(candidates.length).toBeGreaterThanOrEqual(256)
    expect(candidates.length).toBeLessThanOrEqual(1024)
  })

  test('candidates can be gone through again, and the row stays as it was', () => {
    const row = rowOf({ ...record, preferences: { ...typed } })
    const before = structuredClone(row)
    const result = rebuilt(String(record.$type), row)
    if (!result.ok) throw new Error(result.reason)
    expect([...result.candidates]).toEqual([...result.candidates])
    expect(row).toEqual(before)
  })

  test.each<[string, Json]>([
    ['nothing', null],
    ['text', 'x'],
    ['no $type', { title: 'a' }],
    ["another collection's $type", { $type: 'com.example.record' }],
  ])('refuses a row that holds %s', (_, stored) => {
    expect(rebuilt(String(record.$type), { record: stored, data: stored })).toMatchObject({ ok: false })
  })
})

test('a default that only looks like one, in a union of another type, is left alone', () => {
  const theme = { $type: 'com.example.theme', showPageBackground: false }
  const { preferences: _, ...rest } = records.siteStandardPublication
  expect(candidatesOf({ ...rest, theme })).toEqual([{ ...rest, theme }])
})

test('an emptied object is tried empty and left out', () => {
  const stored = { preferences: { a: true }, theme: { b: 1 }, x: 1 }
  const defaults = [
    { key: 'preferences', fields: { a: true } },
    { key: 'theme', fields: { b: 1 } },
  ]
  const candidates = [...withoutDefaults(stored, defaults)]
  expect(candidates[0]).toEqual(stored)
  expect(candidates[1]).toEqual({ preferences: {}, theme: {}, x: 1 })
  expect(candidates).toContainEqual({ x: 1 })
  expect(candidates).toContainEqual({ theme: { b: 1 }, x: 1 })
  expect(candidates).toContainEqual({ preferences: {}, x: 1 })
  expect(new Set(candidates.map((candidate) => JSON.stringify(candidate))).size).toBe(9)
  expect([...withoutDefaults(stored, defaults, 3)]).toEqual(candidates.slice(0, 3))
})

describe('members-only text', () => {
  const document = (pages: JsonObject[]) => ({ data: { ...records.pubLeafletDocument, pages } })
  const { page, text, DELIMITER } = records

  test('is not turned into a public record', () => {
    const result = rebuilt('pub.leaflet.document', document([page(text('free'), DELIMITER, text('paid'))]))
    expect(result).toMatchObject({ ok: false, reason: expect.stringContaining('members-only') })
    const content = { $type: 'pub.leaflet.content', pages: [page(text('a')), page(DELIMITER, text('paid'))] }
    const data = { ...records.siteStandardDocument, content }
    expect(rebuilt('site.standard.document', { data }).ok).toBe(false)
  })

  test('that is not there does not stop the post', () => {
    const cut = document([page(text('free'), DELIMITER), page(text('another page'))])
    expect(rebuilt('pub.leaflet.document', cut).ok).toBe(true)
  })
})

test('rows of other collections are not rebuilt', () => {
  expect(handlerFor('pub.leaflet.comment').toRecord).toBeUndefined()
})
