import { type JsonValue, jsonToLex, type LexMap, parseCid } from '@atproto/lex'
import { describe, expect, test } from 'vitest'
import { validateRecord } from '../../../src/appview/validation.ts'
import type { JsonObject } from '../../../src/events.ts'
import { type Main, main } from '../../../src/lexicons/site/standard/document.ts'
import { main as subscription } from '../../../src/lexicons/site/standard/graph/subscription.ts'
import { main as publication } from '../../../src/lexicons/site/standard/publication.ts'
import { BLOB_CID, blob } from './leaflet/events.ts'

const BASE = {
  $type: 'site.standard.document',
  site: 'https://example.com',
  title: '',
  publishedAt: '2026-02-14T09:30:00Z',
}

const lex = (json: JsonObject) => jsonToLex(json as JsonValue) as LexMap
const validate = (fields: JsonObject) => validateRecord<Main>(main, lex({ ...BASE, ...fields }))

function jsonOf(fields: JsonObject): JsonObject {
  const result = validate(fields)
  if (!result.ok) throw new Error(result.reason)
  return result.json
}

function reasonOf(fields: JsonObject): string {
  const result = validate(fields)
  return result.ok ? 'accepted' : result.reason
}

describe('accepts what @atproto/lexicon accepts', () => {
  test.each([
    ['an empty title', {}],
    ['unknown fields', { extra: { deep: [1, 'a'] } }],
    ['a blob beyond maxSize and accept', { coverImage: blob('text/plain', 99_999_999) }],
    ['a legacy blob', { coverImage: { cid: BLOB_CID, mimeType: 'image/png' } }],
    ['a union member of unknown type', { content: { $type: 'com.example.markdown', text: '# hi' } }],
    ['a datetime without a zone', { publishedAt: '2026-02-14T09:30:00' }],
    ['an AT-URI as a uri', { site: 'at://did:plc:abc/site.standard.publication/x' }],
  ])('%s, unchanged', (_, fields: JsonObject) => {
    expect(jsonOf(fields)).toEqual({ ...BASE, ...fields })
  })

  test('another $type behind a plain ref', () => {
    const preferences = { $type: 'pub.leaflet.publication#preferences', showComments: false }
    const record = { $type: 'site.standard.publication', name: 'a', url: 'https://a.b', preferences }
    expect(validateRecord(publication, lex(record))).toMatchObject({ ok: true, json: { preferences } })
  })
})

describe('rejects what @atproto/lexicon rejects, with the first issue and its path', () => {
  test.each([
    ['null', { path: null }, '$.path'],
    ['a date only', { publishedAt: '2026-02-14' }, '$.publishedAt'],
    ['a datetime without seconds', { publishedAt: '2026-02-14T09:30Z' }, '$.publishedAt'],
    ['a datetime at -00:00', { publishedAt: '2026-02-14T09:30:00-00:00' }, '$.publishedAt'],
    ['a month 13', { publishedAt: '2026-13-14T09:30:00Z' }, '$.publishedAt'],
    ['a bare host', { site: 'notes.leaflet.pub' }, '$.site'],
    ['a union value without $type', { preferences: {} }, '$.preferences'],
    ['another $type', { $type: 'com.example.record' }, '$.$type'],
    ['a wrong item of an array', { tags: ['a', 1] }, '$.tags[1]'],
  ])('%s', (_, fields: JsonObject, path) => {
    expect(reasonOf(fields)).toContain(` at ${path}`)
  })

  test('no $type', () => {
    const { $type: _, ...untyped } = BASE
    expect(validateRecord(main, untyped)).toMatchObject({
      ok: false,
      reason: expect.stringContaining('$.$type'),
    })
  })

  test('a blob that still is JSON', () => {
    expect(validateRecord(main, { ...BASE, coverImage: blob() as LexMap }).ok).toBe(false)
  })

  test.each(['/', '?a=b', '/not a key'])('an AT-URI that ends in %j', (end) => {
    const record = {
      $type: 'site.standard.graph.subscription',
      publication: `at://did:plc:abc/site.standard.publication/x${end}`,
    }
    expect(validateRecord(subscription, record)).toMatchObject({
      ok: false,
      reason: expect.stringContaining('$.publication'),
    })
  })
})

describe('what JSON cannot hold is invalid, not an exception', () => {
  test('a key named __proto__', () => {
    const extra = JSON.parse('{"__proto__": 1}')
    expect(validateRecord(main, { ...BASE, extra }).ok).toBe(false)
  })

  test('nesting too deep for the stack', () => {
    let extra: LexMap = {}
    for (let depth = 0; depth < 100_000; depth++) extra = { extra }
    expect(validateRecord(main, { ...BASE, extra }).ok).toBe(false)
  })
})

describe('defaults and JSON forms', () => {
  test('fills in the defaults of objects that are there, and only of these', () => {
    expect(jsonOf({ theme: {}, preferences: { $type: 'pub.leaflet.publication#preferences' } })).toEqual({
      ...BASE,
      theme: { showPageBackground: false },
      preferences: {
        $type: 'pub.leaflet.publication#preferences',
        showInDiscover: true,
        showComments: true,
        showMentions: true,
        showPrevNext: true,
        showFirstLast: false,
        prevNextDirection: 'rtl',
        showRecommends: true,
      },
    })
    expect(jsonOf({})).toEqual(BASE)
  })

  test('writes CIDs as $link and bytes as $bytes', () => {
    const record = { ...BASE, extra: { link: parseCid(BLOB_CID), bytes: new Uint8Array([1, 2, 3]) } }
    expect(validateRecord(main, record)).toMatchObject({
      ok: true,
      json: { extra: { link: { $link: BLOB_CID }, bytes: { $bytes: 'AQID' } } },
    })
  })
})
