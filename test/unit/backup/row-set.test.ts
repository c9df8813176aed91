import { expect, test } from 'vitest'
import { createRowSet } from '../../../src/backup/row-set.ts'

test('keeps each row once and says which are new, in an order of its own', () => {
  const rows = createRowSet(() => ['a', 'b'])
  expect(rows.add('t', [{ a: '2', b: 'x' }])).toHaveLength(1)
  expect(
    rows.add('t', [
      { a: '2', b: 'x' },
      { a: '1', b: 'x' },
      { a: '1', b: 'x' },
    ]),
  ).toEqual([{ a: '1', b: 'x' }])
  expect(rows.rows('t').map(({ a }) => a)).toEqual(['1', '2'])
  expect(rows.rows('other')).toEqual([])
  expect(rows.tables()).toEqual(['t'])
})
