import { describe, expect, test } from 'vitest'
import { inLists, ownedBy, quoteValue } from '../../../src/database/exact.ts'

describe('a value in a list or logic tree', () => {
  test.each([
    ['plain', '"plain"'],
    ['a,b', '"a,b"'],
    ['a"b', '"a\\"b"'],
    ['a\\', '"a\\\\"'],
    ['\\"', '"\\\\\\""'],
    [')', '")"'],
    ['', '""'],
    ['null', '"null"'],
  ])('%s', (value, quoted) => {
    expect(quoteValue(value)).toBe(quoted)
  })
})

describe('lists for a URL', () => {
  const bytesIn = (list: string) => new URLSearchParams({ uri: list }).toString().length

  test.each([
    ['AT-URIs', (n: number) => `at://did:plc:aaaaaaaaaaaaaaaaaaaaaaaa/site.standard.document/3l${n}`],
    ['record keys of tildes', (n: number) => `at://did:plc:a/com.example.note/${'~'.repeat(400)}${n}`],
    ['quotes and brackets', (n: number) => `'()!"\\${n}`.repeat(20)],
    ['text of other scripts', (n: number) => `${n}語🙂`.repeat(10)],
  ])('stay under the limit as the URL has them: %s', (_, make) => {
    const values = Array.from({ length: 200 }, (_, n) => make(n))
    const lists = inLists(values, 4000)
    for (const list of lists) expect(bytesIn(list)).toBeLessThanOrEqual(4000 + 'uri=in.()'.length + 10)
    // Nothing lost, nothing twice, order kept.
    expect(lists.map((list) => list.slice(4, -1)).join(',')).toBe(values.map(quoteValue).join(','))
    expect(lists.length).toBeGreaterThan(1)
  })

  test('one value above the limit stands alone', () => {
    const lists = inLists(['a', 'x'.repeat(100), 'b'], 50)
    expect(lists).toEqual(['in.("a")', `in.("${'x'.repeat(100)}")`, 'in.("b")'])
  })

  test('of nothing are none: `in.()` would be an empty answer that looks like one', () => {
    expect(inLists([])).toEqual([])
  })
})

describe('the records of one account', () => {
  test.each([
    ['did:plc:abc', 'like.at://did:plc:abc/*'],
    ['did:web:localhost%3A3000', 'like.at://did:web:localhost\\%3A3000/*'],
    ['did:web:a_b.example', 'like.at://did:web:a\\_b.example/*'],
    ['did:plc:a\\b', 'like.at://did:plc:a\\\\b/*'],
  ])('%s', (did, condition) => {
    expect(ownedBy(did)).toBe(condition)
  })
})
