import { describe, expect, test } from 'vitest'
import { keyFilters } from '../../../src/backup/key-conditions.ts'

describe('keyFilters', () => {
  test('gives lists for one column', () => {
    expect(keyFilters(['doc'], [['a'], ['b"\\']])).toEqual([['doc', 'in.("a","b\\"\\\\")']])
  })

  test('gives a tree for several columns', () => {
    expect(
      keyFilters(
        ['a', 'b'],
        [
          ['1', 'x'],
          ['2', 'y,('],
        ],
      ),
    ).toEqual([['and', '(or(and(a.in.("1"),b.in.("x")),and(a.in.("2"),b.in.("y,("))))']])
  })

  test('cuts both by their length in a URL and loses no value', () => {
    const values = Array.from({ length: 100 }, (_, i) => [`ü${i}`, `${i}`])
    for (const columns of [['a'], ['a', 'b']]) {
      const filters = keyFilters(columns, values, 400)
      expect(filters.length).toBeGreaterThan(3)
      for (const [, condition] of filters) expect(encodeURIComponent(condition).length).toBeLessThan(450)
      const text = filters.map(([, condition]) => condition).join()
      for (const [value] of values) expect(text.split(`"${value}"`)).toHaveLength(2)
    }
  })

  test('asks for nothing when there is nothing to ask for', () => {
    expect(keyFilters(['a'], [])).toEqual([])
    expect(keyFilters(['a', 'b'], [])).toEqual([])
  })
})
