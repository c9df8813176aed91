import { describe, expect, test } from 'vitest'
import type { JsonObject } from '../../../../src/events.ts'
import { handlerFor, rowOf } from './events.ts'
import * as records from './records.ts'

const { page, text, DELIMITER } = records
const SHAPES: [string, (pages: JsonObject[], extra?: JsonObject) => JsonObject][] = [
  ['pub.leaflet.document', (pages, extra = {}) => ({ ...records.pubLeafletDocument, pages, ...extra })],
  [
    'site.standard.document',
    (pages, extra = {}) => ({
      ...records.siteStandardDocument,
      content: { $type: 'pub.leaflet.content', pages },
      ...extra,
    }),
  ],
]
const whole = [page(text('free'), DELIMITER, text('paid'))]
const cut = [page(text('free'), DELIMITER)]

describe.each(SHAPES)('%s', (collection, document) => {
  const merge = (old: JsonObject, indexed: JsonObject) => {
    const before = structuredClone([old, indexed])
    const merged = handlerFor(collection).mergeRow?.({ data: old }, { data: indexed })
    expect([old, indexed]).toEqual(before)
    return merged
  }

  test('the paid text is kept where the repo has the post cut', () => {
    expect(merge(document(whole), document(cut))).toEqual({ data: document(whole) })
  })

  test('the order of keys says nothing', () => {
    const turned = Object.fromEntries(Object.entries(document(cut)).reverse())
    expect(merge(document(whole), turned)).toEqual({ data: document(whole) })
  })

  test('nor do defaults that the index filled in', () => {
    const typed =
      collection === 'site.standard.document' ? { $type: 'pub.leaflet.publication#preferences' } : {}
    const lean = { preferences: { ...typed, showComments: false }, theme: { pageWidth: 700 } }
    const old = document(whole, lean)
    const { data } = rowOf(document(cut, lean))
    expect(data).not.toEqual(document(cut, lean))
    expect(merge(old, data as JsonObject)).toEqual({ data: old })
  })

  test('pages that no free page links to are kept as well', () => {
    const paidPage = { ...page(text('paid')), id: 'paid' }
    const old = document([...whole, paidPage])
    expect(merge(old, document(cut))).toEqual({ data: old })
  })

  test('what else the record says now is as it says, and the paid text stays', () => {
    const now = document(cut, { title: 'Renamed' })
    expect(merge(document(whole), now)).toEqual({ data: document(whole, { title: 'Renamed' }) })
  })

  test.each<[string, JsonObject[], JsonObject[]]>([
    ['the free part was edited since', whole, [page(text('new'), DELIMITER)]],
    ['the post is for everybody now', whole, [page(text('free'))]],
    ['the index holds paid text of its own', whole, [page(text('free'), DELIMITER, text('newer'))]],
    ['the old row is cut itself', cut, cut],
    ['the post was never for members', [page(text('a'))], [page(text('b'))]],
  ])('nothing is kept where %s', (_, old, now) => {
    expect(merge(document(old), document(now))).toEqual({})
  })

  test.each([null, 'x', []])('nor of a row that holds %j', (data) => {
    expect(handlerFor(collection).mergeRow?.({ data }, { data: document(cut) })).toEqual({})
    expect(handlerFor(collection).mergeRow?.({ data: document(whole) }, { data })).toEqual({})
  })
})

test('a post outside any publication has nothing to keep: its record says it all', () => {
  const { publication: _, ...standalone } = records.pubLeafletDocument
  const merged = handlerFor('pub.leaflet.document').mergeRow?.(
    { data: { ...standalone, pages: whole } },
    { data: { ...standalone, pages: cut } },
  )
  expect(merged).toEqual({})
})

test('no other collection has rows fuller than their records', () => {
  expect(handlerFor('site.standard.publication').mergeRow).toBeUndefined()
  expect(handlerFor('pub.leaflet.comment').mergeRow).toBeUndefined()
})
