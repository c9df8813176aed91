import { describe, expect, test } from 'vitest'
import { canonicalInstant, meaningOf } from '../../../src/database/meaning.ts'

const INSTANT = 'timestamp with time zone'
const same = (a: string, b: string, type: string) => meaningOf(a, type) === meaningOf(b, type)

describe('instants', () => {
  test.each([
    ['2026-02-14 10:00:00+00', '2026-02-14 11:00:00+01'],
    ['2026-02-14 10:00:00.1+00', '2026-02-14T10:00:00.100000Z'],
    ['2026-02-14 10:00:00+00', '2026-02-14 15:30:00+05:30'],
    ['2026-01-01 00:30:00+00', '2025-12-31 23:30:00-01'],
    ['1890-01-01 00:00:00+00', '1890-01-01 00:19:32+00:19:32'],
    ['1969-12-31 23:59:59.5+00', '1970-01-01 00:59:59.5+01'],
    ['12026-01-01 00:00:00+00', '12026-01-01 01:00:00+01'],
  ])('%s is %s', (a, b) => {
    expect(same(a, b, INSTANT)).toBe(true)
    expect(same(a, b, 'timestamp(6) with time zone')).toBe(true)
  })

  test.each([
    ['2026-02-14 10:00:00.000001+00', '2026-02-14 10:00:00.000002+00'],
    ['2026-02-14 10:00:00.1+00', '2026-02-14 10:00:00.01+00'],
    ['2026-02-14 10:00:00+01', '2026-02-14 10:00:00-01'],
    ['2026-02-14 10:00:00+05:30', '2026-02-14 10:00:00+05'],
    ['infinity', '-infinity'],
    ['0044-03-15 12:00:00+00 BC', '0044-03-15 12:00:00+00'],
    ['0044-03-15 12:00:00+00 BC', '0045-03-15 12:00:00+00 BC'],
    ['12026-01-01 00:00:00+00', '12027-01-01 00:00:00+00'],
    ['290000-01-01 00:00:00+00', '290001-01-01 00:00:00+00'],
  ])('%s is not %s', (a, b) => {
    expect(same(a, b, INSTANT)).toBe(false)
  })

  test('have an order, microsecond by microsecond, before 1970 too', () => {
    const inOrder = [
      '0099-12-31 00:00:00+00',
      '1969-12-31 23:59:58.999999+00',
      '1969-12-31 23:59:59+00',
      '1969-12-31 23:59:59.25+00',
      '1969-12-31 23:59:59.5+00',
      '1970-01-01 00:00:00+00',
      '2026-02-14 10:00:00.123456+00',
      '2026-02-14 11:00:00.123457+01',
      '12026-01-01 00:00:00+00',
    ]
    const numbers = inOrder.map((text) => Number(canonicalInstant(text)))
    expect(numbers).toEqual(numbers.toSorted((a, b) => a - b))
    expect(new Set(numbers).size).toBe(inOrder.length)
  })
})

describe('columns', () => {
  test.each([
    ['1.50', '1.5', 'numeric(10,2)', true],
    ['1e3', '1000', 'double precision', true],
    ['007', '7', 'text', false],
    ['1.50', '1.5', 'text', false],
    ['{1.50}', '{1.5}', 'numeric[]', false],
    ['{"a": 1, "b": 2}', '{"b":2,"a":1}', 'json', true],
    ['{"a": 1}', '{"a":1.0}', 'jsonb', true],
    ['{"a": 1}', '{"a":1}', 'text', false],
    ['2026-02-14 10:00:00', '2026-02-14 10:00:00.000', 'timestamp without time zone', false],
    ['t', 'true', 'boolean', false],
  ])('%s and %s as %s', (a, b, type, expected) => {
    expect(same(a, b, type)).toBe(expected)
  })

  test.each(['text', 'jsonb', 'numeric', INSTANT])('NULL is only NULL: %s', (type) => {
    expect(meaningOf(null, type)).toBeNull()
    expect(meaningOf('null', type)).not.toBeNull()
  })
})
