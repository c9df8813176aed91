import { type LexMap, type LexValue, parseCid } from '@atproto/lex'
import { cidForLex, decode, encode } from '@atproto/lex-cbor'
import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { VerificationError } from '../../../src/errors.ts'
import type { JsonObject } from '../../../src/events.ts'
import {
  cidOfRecord,
  encodeFor,
  encodeRecord,
  jsonToLex,
  lexToJson,
  recordFromBytes,
} from '../../../src/repo/record.ts'

const RAW_CID = 'bafkreidgvpkjawlxz6sffxzwgooowe5yt7i6wsyg236mfoks77nywkptdq'
const place = { collection: 'com.example.note', rkey: '3jzfcijpj2z2a' }
const note: JsonObject = {
  $type: 'com.example.note',
  text: 'héllo 😀',
  counts: [1, 0, -5, Number.MAX_SAFE_INTEGER],
  nothing: null,
  yes: true,
  data: { $bytes: 'AAEC' },
  image: { $type: 'blob', ref: { $link: RAW_CID }, mimeType: 'image/png', size: 5 },
}

function nested(depth: number): JsonObject {
  let inner: JsonObject = {}
  for (let level = 0; level < depth; level++) inner = { inner }
  return { $type: 'com.example.note', inner }
}

describe('encodeRecord', () => {
  it('gives the CID that the library gives, and comes back as the same JSON', async () => {
    const { cid, bytes, record } = encodeRecord(note)
    expect(cid.toString()).toBe((await cidForLex(record)).toString())
    expect(cidOfRecord(note)).toBe(cid.toString())
    expect(lexToJson(recordFromBytes(bytes))).toEqual(note)
  })

  it('gives the CID that the network knows', () => {
    // DAG-CBOR of {"hello":"world"}: a CID that public IPFS examples name.
    expect(cidOfRecord({ hello: 'world' })).toBe(
      'bafyreidykglsfhoixmivffc5uwhcgshx4j465xwqntbmu43nb2dzqwfvae',
    )
  })

  it('takes records as deep as anything real', () => {
    expect(encodeFor(nested(200), place)).toEqual(encodeRecord(nested(200)))
  })

  it('does not alter its input', () => {
    const copy = structuredClone(note)
    encodeRecord(note)
    expect(note).toEqual(copy)
  })
})

describe('encodeFor', () => {
  it('encodes what can be written', () => expect(encodeFor(note, place)).toEqual(encodeRecord(note)))

  const cases: [string, unknown, RegExp][] = [
    ['a float', { a: { b: [1, 1.5] } }, /^\$\.a\.b\[1\]: 1\.5 is not an integer/],
    ['an integer beyond 53 bits', { a: 2 ** 53 }, /^\$\.a: .* safe integer range/],
    ['digits kept by exact reads', { a: rawJson('9007199254740993') }, /^\$\.a: 9007199254740993/],
    ['a lone surrogate', { 'my text': 'x\ud800' }, /^\$\["my text"\]: .*surrogate/],
    ['a lone surrogate in a key', { 'x\udc00': 1 }, /surrogate/],
    ['undefined', { a: undefined }, /^\$\.a: undefined/],
    ['a bigint', { a: 1n }, /^\$\.a: a bigint/],
    ['a date', { a: new Date(0) }, /^\$\.a/],
    ['a bad link', { a: { $link: 'nonsense' } }, /^\$\.a: \$link/],
    ['a link with company', { a: { $link: RAW_CID, b: 1 } }, /^\$\.a: \$link/],
    ['bad bytes', { a: { $bytes: '***' } }, /^\$\.a: \$bytes/],
    ['a blob without CID', { a: { $type: 'blob', ref: 'x', mimeType: 'a/b', size: 1 } }, /^\$\.a\.ref/],
    [
      'a blob without size',
      { a: { $type: 'blob', ref: { $link: RAW_CID }, mimeType: 'a/b' } },
      /^\$\.a\.size/,
    ],
    ['an empty $type', { a: { $type: '' } }, /^\$\.a: \$type/],
    ['a prototype', JSON.parse('{"a":{"__proto__":{}}}'), /__proto__/],
    ['too many levels', nested(300), /levels deep/],
  ]
  it.each(cases)('names %s', (_, extra, reason) => {
    const record = { $type: 'com.example.note', ...(extra as JsonObject) }
    expect(encodeFor(record, place)).toEqual({ reason: expect.stringMatching(reason) })
    expect(() => encodeRecord(record)).toThrow(VerificationError)
  })

  it.each([
    ['a missing $type', { text: '' }, place, /\$\.\$type: missing/],
    ['another $type', { $type: 'com.example.other' }, place, /not the collection/],
    ['a bad rkey', note, { ...place, rkey: 'a/b' }, /record key "a\/b"/],
    ['a reserved rkey', note, { ...place, rkey: '..' }, /record key/],
    ['a bad collection', note, { ...place, collection: 'notes' }, /NSID/],
  ])('names %s', (_, record, where, reason) => {
    expect(encodeFor(record as JsonObject, where)).toEqual({ reason: expect.stringMatching(reason) })
  })

  it('lets blob references through that hosts accept', () => {
    const old = {
      $type: 'blob',
      ref: { $link: cidOfRecord({ a: 1 }) },
      mimeType: 'image/png',
      size: -1,
      alt: 'x',
    }
    expect(encodeFor({ ...note, image: old }, place)).not.toHaveProperty('reason')
  })
})

describe('recordFromBytes', () => {
  it.each([
    ['a float', 'a16161fb3ff8000000000000'],
    ['an integer written as a float', 'a16161fb3ff0000000000000'],
    ['a 64-bit integer', 'a161611b7fffffffffffffff'],
    ['keys out of order', 'a261620161 6102'],
    ['undefined', 'a16161f7'],
    ['invalid UTF-8', 'a1616161ff'],
    ['an encoded surrogate', 'a1616163eda080'],
    ['an array', '8101'],
    ['bytes after the record', 'a1616101 00'],
    ['nothing', ''],
  ])('refuses %s', (_, hex) => {
    expect(() => recordFromBytes(Buffer.from(hex.replaceAll(' ', ''), 'hex'))).toThrow(VerificationError)
  })

  it('names the path of a float', () => {
    expect(() => recordFromBytes(Buffer.from('a16161fb3ff8000000000000', 'hex'))).toThrow(
      /^\$\.a: 1\.5|DAG-CBOR/,
    )
  })

  it('refuses a map that its JSON form would turn into something else', () => {
    expect(() => recordFromBytes(encode({ a: { $bytes: 'AAEC' } }))).toThrow(VerificationError)
    expect(() => recordFromBytes(encode({ a: { $link: RAW_CID } }))).toThrow(VerificationError)
  })
})

describe('jsonToLex', () => {
  it('takes any JSON value', () => {
    expect(jsonToLex(['a', 1, null])).toEqual(['a', 1, null])
    expect(String(jsonToLex({ $link: RAW_CID }))).toBe(RAW_CID)
  })
})

/** TypeScript does not know JSON.rawJSON yet. */
function rawJson(text: string): unknown {
  return (JSON as unknown as { rawJSON(text: string): unknown }).rawJSON(text)
}

describe('what recordFromBytes accepts', () => {
  const RAW = parseCid(RAW_CID)
  const key = fc.oneof(
    fc.string({ maxLength: 6 }),
    fc.constantFrom('$type', '$link', '$bytes', '__proto__', 'ref', 'mimeType', 'size', 'constructor'),
  )
  const { value } = fc.letrec<{ value: LexValue }>((tie) => ({
    value: fc.oneof(
      { maxDepth: 4 },
      fc.constant(null),
      fc.boolean(),
      fc.string({ maxLength: 8 }),
      fc.constantFrom('blob', '', RAW_CID),
      fc.maxSafeInteger(),
      fc.constant(RAW),
      fc.uint8Array({ maxLength: 4 }),
      fc.array(tie('value'), { maxLength: 3 }),
      fc
        .array(fc.tuple(key, tie('value')), { maxLength: 4 })
        .map((entries) => Object.fromEntries(entries) as LexMap),
    ),
  }))

  it('is what comes back from its JSON form as it was', () => {
    fc.assert(
      fc.property(fc.array(fc.tuple(key, value), { maxLength: 5 }), (entries) => {
        const bytes = encode(Object.fromEntries(entries) as LexMap)
        const survives = () => {
          try {
            return Buffer.compare(encode(jsonToLex(lexToJson(decode(bytes)))), bytes) === 0
          } catch {
            return false
          }
        }
        const isAccepted = () => {
          try {
            recordFromBytes(bytes)
            return true
          } catch (error) {
            expect(error).toBeInstanceOf(VerificationError)
            return false
          }
        }
        expect(isAccepted()).toBe(survives())
      }),
      { numRuns: 2000 },
    )
  })
})
