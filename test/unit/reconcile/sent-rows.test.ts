import { expect, test } from 'vitest'
import { listed, rowOf } from '../../../src/reconcile/sent-rows.ts'

test('what all rows have alike is sent once, the rest as lists in the order of the columns', () => {
  const rows = [
    { row: { a: '1', b: 'x', c: null, other: 'y' } },
    { row: { a: '2', b: 'x', c: null }, pending: 'row t ["2"]' },
  ]
  expect(listed(rows, ['c', 'b', 'missing', 'a'])).toEqual({
    common: { c: null, b: 'x', missing: null },
    values: [['1'], ['2']],
    notes: { 1: { record: undefined, pending: 'row t ["2"]' } },
  })
})

test('a row alone is all in common, and is still counted', () => {
  expect(listed([{ row: { a: '1' } }], ['a'])).toEqual({ common: { a: '1' }, values: [[]] })
})

test('no rows are no rows', () => {
  expect(listed([], ['a'])).toEqual({ common: {}, values: [] })
})

test('an answer about a row that was not sent is an error', () => {
  expect(rowOf({ id: '1' }, ['a', 'b'])).toBe('b')
  expect(() => rowOf({ id: '2' }, ['a', 'b'])).toThrow('row 2')
})
