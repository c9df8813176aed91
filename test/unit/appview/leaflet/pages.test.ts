import { describe, expect, test } from 'vitest'
import {
  endsAtPaywall,
  isMembersOnly,
  pagesOf,
  publishedCopy,
} from '../../../../src/appview/leaflet/pages.ts'
import type { Json, JsonObject } from '../../../../src/events.ts'
import { DELIMITER, pubLeafletDocument, text } from './records.ts'

const page = (id: string, ...blocks: JsonObject[]): JsonObject => ({
  $type: 'pub.leaflet.pages.linearDocument',
  id,
  blocks,
})
const link = (id: Json): JsonObject => ({ block: { $type: 'pub.leaflet.blocks.page', id } })
const post = (...pages: Json[]): JsonObject => ({ ...pubLeafletDocument, pages })
const idsOf = (document: JsonObject) => pagesOf(document).map(({ id }) => id)

describe('the published copy', () => {
  test('keeps the delimiter and what is before it', () => {
    const whole = post(page('a', text('free'), DELIMITER, text('paid'), DELIMITER, text('paid')))
    expect(publishedCopy(whole)).toEqual(post(page('a', text('free'), DELIMITER)))
  })

  test('keeps the pages that links before the delimiter lead to, over other pages too, and no others', () => {
    const whole = post(
      page('a', link('b'), DELIMITER, link('paid')),
      page('paid', text('paid'), link('deeper')),
      page('deeper', text('paid')),
      page('b', link('c'), link('a')),
      page('c', text('free')),
      page('nobody', text('paid')),
    )
    expect(idsOf(publishedCopy(whole))).toEqual(['a', 'b', 'c'])
  })

  test('ends where links go round, or nowhere', () => {
    const whole = post(
      page('a', link('b'), link('gone'), link(7), DELIMITER, text('paid')),
      page('b', link('b')),
    )
    expect(idsOf(publishedCopy(whole))).toEqual(['a', 'b'])
  })

  test('leaves out what is no page, or has no name to be linked by', () => {
    const whole = post(page('a', DELIMITER), null, 'x', { blocks: [text('paid')] })
    expect(publishedCopy(whole).pages).toEqual([page('a', DELIMITER)])
  })

  test.each<[string, JsonObject]>([
    ['a post without a delimiter', post(page('a', text('free')), page('b', text('free')))],
    ['one that is cut already', post(page('a', text('free'), DELIMITER))],
    ['a delimiter on another page', post(page('a', text('free')), page('b', DELIMITER, text('more')))],
    ['pages that are no list', { ...pubLeafletDocument, pages: 'x' }],
    ['a first page that is none', post(null, page('b', DELIMITER, text('more')))],
    ['blocks that are no list', post({ blocks: { block: 1 } })],
  ])('is the post itself: %s', (_, document) => {
    expect(publishedCopy(document)).toBe(document)
  })

  test('leaves the row as it was', () => {
    const whole = post(page('a', text('free'), DELIMITER, text('paid')))
    const before = structuredClone(whole)
    publishedCopy(whole)
    expect(whole).toEqual(before)
  })
})

test('entries that are no blocks do not move the delimiter', () => {
  const odd = { blocks: [null, 'x', DELIMITER, text('paid')] } as JsonObject
  expect(isMembersOnly([odd])).toBe(true)
  expect(pagesOf(publishedCopy(post(odd)))).toEqual([{ blocks: [null, 'x', DELIMITER] }])
})

describe('a post ends at its paywall', () => {
  test('where the app has cut it', () => {
    const whole = post(page('a', text('free'), DELIMITER, text('paid')))
    expect(endsAtPaywall(whole)).toBe(false)
    expect(endsAtPaywall(publishedCopy(whole))).toBe(true)
  })

  const { publication: _, ...standalone } = post(page('a', DELIMITER))
  test.each<[string, JsonObject]>([
    ['no delimiter', post(page('a', text('free')))],
    ['nothing on its first page', post(page('a'))],
    ['a delimiter on another page', post(page('a', text('free')), page('b', DELIMITER))],
    ['a first page that is none', post(null, page('b', DELIMITER))],
    ['no publication', standalone],
    ['no pages', post()],
  ])('not with %s', (_, document) => {
    expect(endsAtPaywall(document)).toBe(false)
  })
})
