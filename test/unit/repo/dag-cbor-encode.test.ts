import { createCid, type LexValue } from '@atproto/lex'
import { encode } from '@atproto/lex-cbor'
import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { encodeBlock } from '../../../src/repo/dag-cbor-encode.ts'

const text = fc.oneof(fc.string(), fc.string({ unit: 'binary' }), fc.constant('\u{1f33f}'.repeat(9000)))
const cid = fc
  .uint8Array({ minLength: 32, maxLength: 32 })
  .map((digest) => createCid(0x71, 0x12, digest as Uint8Array<ArrayBuffer>))
const { value } = fc.letrec<{ value: LexValue }>((tie) => ({
  value: fc.oneof(
    { maxDepth: 4 },
    fc.constantFrom(null, true, false),
    fc.maxSafeInteger(),
    fc.integer({ min: -300, max: 300 }),
    text,
    fc.uint8Array() as fc.Arbitrary<LexValue>,
    cid,
    fc.array(tie('value')),
    fc.dictionary(text, tie('value')),
  ),
}))

describe('a block', () => {
  test('is the one that the library encodes', () => {
    fc.assert(
      fc.property(value, (given) => {
        expect(Buffer.compare(encodeBlock(given), encode(given))).toBe(0)
      }),
      { numRuns: 500 },
    )
  })

  test.each([
    0,
    23,
    24,
    255,
    256,
    65_535,
    65_536,
    2 ** 32 - 1,
    2 ** 32,
    Number.MAX_SAFE_INTEGER,
    -1,
    -24,
    -25,
    -256,
    -257,
    -(2 ** 32),
    -(2 ** 32) - 1,
    Number.MIN_SAFE_INTEGER,
  ])('holds the integer %d as the library does', (integer) => {
    expect(Buffer.from(encodeBlock(integer))).toEqual(Buffer.from(encode(integer)))
  })

  test('has its keys by length, then by bytes, also beyond ASCII', () => {
    const map = { b: 1, aa: 2, '\u{10000}': 3, '\uffff': 4, é: 5, a: 6, '': 7 }
    expect(Buffer.from(encodeBlock(map))).toEqual(Buffer.from(encode(map)))
  })

  test.each([
    ['a float', 1.5],
    ['minus zero', -0],
    ['an integer beyond 53 bits', 2 ** 60],
    ['a bigint', 2n ** 60n],
    ['undefined', undefined],
    ['a date', new Date(0)],
    ['a function', () => 1],
  ])('of %s is what the library makes of it, or refused as there', (_, odd) => {
    const nested = { list: ['before', { odd }], after: 'it' } as unknown as LexValue
    const outcome = (make: (value: LexValue) => Uint8Array) => {
      try {
        return Buffer.from(make(nested)).toString('hex')
      } catch (error) {
        return error instanceof Error ? error.message : error
      }
    }
    expect(outcome(encodeBlock)).toEqual(outcome(encode))
  })

  test('is its own: the next one does not change it', () => {
    const first = encodeBlock({ text: 'one' })
    const copy = Buffer.from(first)
    encodeBlock({ text: 'two'.repeat(100_000) })
    expect(Buffer.from(first)).toEqual(copy)
  })
})
