import { describe, expect, test } from 'vitest'
import { withoutDefaults } from '../../../../src/appview/leaflet/to-record.ts'
import type { Json, JsonObject, RecordCandidates } from '../../../../src/events.ts'
import { blob, handlerFor, rowOf } from './events.ts'
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
  const { page, text, DELIMITER, pubLeafletDocument, siteStandardDocument } = records
  const leafletOf = (pages: JsonObject[]): JsonObject => ({ ...pubLeafletDocument, pages })
  const standardOf = (pages: JsonObject[], extra: JsonObject = {}) => ({
    ...siteStandardDocument,
    content: { $type: 'pub.leaflet.content', pages },
    ...extra,
  })
  const of = (data: JsonObject) => rebuilt(String(data.$type), { data })
  const all = (data: JsonObject) => {
    const result = of(data)
    if (!result.ok) throw new Error(result.reason)
    return [...result.candidates]
  }
  const whole = [page(text('free'), DELIMITER, text('paid'))]
  const cut = [page(text('free'), DELIMITER)]

  test.each([
    ['pub.leaflet.document', leafletOf(whole), leafletOf(cut)],
    ['site.standard.document', standardOf(whole), standardOf(cut)],
  ])('of a %s is in no candidate, and the first is what the app publishes', (_, data, published) => {
    const candidates = all(data)
    expect(candidates[0]).toEqual(published)
    expect(JSON.stringify(candidates)).not.toContain('paid')
    expect(of(data)).not.toHaveProperty('onlyIfProven')
  })

  test('takes its pictures with it, which are no blobs', () => {
    const url = 'https://db.example/storage/v1/object/public/gated/a.png'
    const image = { ...blob(), ref: { $link: url }, size: 0, mimeType: 'image/*' }
    const block = {
      block: { $type: 'pub.leaflet.blocks.image', image, aspectRatio: { width: 1, height: 1 } },
    }
    const [record] = all(standardOf([page(text('free'), DELIMITER, block)]))
    expect(record).toEqual(standardOf(cut))
  })

  test('on a page that the app does not cut is only written if that is proven', () => {
    const free = page(text('free'))
    const other = page(text('a'), DELIMITER, text('perhaps paid'))
    for (const data of [leafletOf([free, other]), standardOf([free, other])]) {
      expect(of(data)).toMatchObject({ ok: true, onlyIfProven: expect.stringContaining('paid text') })
      expect(all(data)[0]).toEqual(data)
    }
  })

  test('of a post outside any publication, too', () => {
    const { publication: _, ...standalone } = leafletOf(whole)
    expect(of(standalone)).toMatchObject({ onlyIfProven: expect.stringContaining('outside any publication') })
    const site = { site: 'https://leaflet.pub/p/did:plc:a' }
    expect(of(standardOf(whole, site))).toMatchObject({ onlyIfProven: expect.any(String) })
  })

  test('that textContent may repeat', () => {
    const data = standardOf(whole, { textContent: 'free paid' })
    expect(of(data)).toMatchObject({ onlyIfProven: expect.stringContaining('textContent') })
    expect(of(standardOf([page(text('free'))], { textContent: 'free' }))).not.toHaveProperty('onlyIfProven')
  })

  const DELIMITER_BLOCK = DELIMITER.block as JsonObject
  const listWith = (content: JsonObject): JsonObject => ({
    block: { $type: 'pub.leaflet.blocks.unorderedList', children: [{ content, children: [] }] },
  })
  const foreign = { $type: 'com.example.content', items: [DELIMITER, text('paid')] }

  test.each<[string, JsonObject]>([
    ['in a list', standardOf([page(listWith(DELIMITER_BLOCK), text('paid'))])],
    [
      'in a list before the one that is cut',
      leafletOf([page(listWith(DELIMITER_BLOCK), text('a'), DELIMITER)]),
    ],
    ["in a format that is not Leaflet's", { ...siteStandardDocument, content: foreign }],
    ['beside the pages', standardOf(cut, { pages: whole })],
    ['in a field that nobody knows', { ...leafletOf([page(text('free'))]), later: { deep: [DELIMITER] } }],
    [
      'of another version',
      leafletOf([page({ block: { $type: 'pub.leaflet.blocks.membersOnlyDelimiter#v2' } })]),
    ],
    ['on a later page, at its end', leafletOf([page(text('free')), page(text('a'), DELIMITER)])],
  ])('behind a delimiter %s is only written if that is proven', (_, data) => {
    expect(of(data)).toMatchObject({ ok: true, onlyIfProven: expect.stringContaining('paid text') })
  })

  test.each<[string, string, JsonObject]>([
    ['pages', 'a second copy', standardOf(whole, { pages: [page(text('free'), text('paid'))] })],
    ['later', 'an unknown field', { ...leafletOf(whole), later: 'free paid' }],
    ['content', 'content beside pages', { ...leafletOf(whole), content: { $type: 'x', text: 'paid' } }],
    [
      'content.markdown',
      'another form',
      standardOf(whole, { content: { $type: 'pub.leaflet.content', pages: whole, markdown: 'paid' } }),
    ],
  ])('that %s may repeat: %s', (field, _, data) => {
    expect(of(data)).toMatchObject({ onlyIfProven: expect.stringContaining(`post's ${field} may hold`) })
  })

  test('that nobody sells does not: a public post may hold what it likes', () => {
    const free = [page(text('free'))]
    expect(of(standardOf(free, { pages: free, later: 'x' }))).not.toHaveProperty('onlyIfProven')
    expect(of({ ...siteStandardDocument, content: { $type: 'x' } })).not.toHaveProperty('onlyIfProven')
  })

  test('that is not there does not stop the post', () => {
    for (const data of [leafletOf(cut), standardOf(cut)]) {
      expect(all(data)[0]).toEqual(data)
      expect(of(data)).not.toHaveProperty('onlyIfProven')
    }
  })
})

describe('pages that the app keeps in a blob', () => {
  const pagesOf = (bytes: number) => [records.page(records.text('x'.repeat(bytes)))]
  const standardOf = (bytes: number) => ({
    ...records.siteStandardDocument,
    content: { $type: 'pub.leaflet.content', pages: pagesOf(bytes) },
  })
  const of = (data: JsonObject) => rebuilt(String(data.$type), { data })

  test('are written into the record, which may not be the one that was lost', () => {
    const data = standardOf(120 * 1024)
    const result = of(data)
    expect(result).toMatchObject({ ok: true, mayDiffer: expect.stringContaining('120 KiB') })
    expect(result.ok && [...result.candidates][0]).toEqual(data)
  })

  test.each<[string, JsonObject]>([
    ['smaller ones', standardOf(90 * 1024)],
    ['those of the other collection', { ...records.pubLeafletDocument, pages: pagesOf(120 * 1024) }],
  ])('not %s', (_, data) => {
    expect(of(data)).not.toHaveProperty('mayDiffer')
  })
})

test('rows of other collections are not rebuilt', () => {
  expect(handlerFor('pub.leaflet.comment').toRecord).toBeUndefined()
})
