import { describe, expect, test } from 'vitest'
import { rowsInOrder } from '../../../src/reconcile/rows-in-order.ts'

const KEY = { columns: ['answers'], parentColumns: ['id'] }
const row = (id: string, answers: string | null = null) => ({ row: { id, answers } })
const idsOf = (items: { row: { id: string } }[]) => items.map(({ row: { id } }) => id)

describe('rows that hang on rows of their own table', () => {
  test('come after them, however deep', () => {
    const items = [row('1', '2'), row('2', '3'), row('3'), row('4', '3')]
    expect(idsOf(rowsInOrder(items, [KEY]))).toEqual(['3', '2', '1', '4'])
  })

  test('of a thread deeper than any stack', () => {
    const items = Array.from({ length: 50_000 }, (_, n) => row(String(n), String(n + 1)))
    expect(idsOf(rowsInOrder(items, [KEY])).slice(0, 2)).toEqual(['49999', '49998'])
  })

  test('in a circle are side by side, each once', () => {
    const items = [row('1', '2'), row('9'), row('2', '1'), row('3', '3')]
    const ordered = idsOf(rowsInOrder(items, [KEY]))
    expect(ordered.toSorted()).toEqual(['1', '2', '3', '9'])
    expect(Math.abs(ordered.indexOf('1') - ordered.indexOf('2'))).toBe(1)
  })

  test('stay as they are where nothing refers to the table itself', () => {
    const items = [row('1', '2'), row('2')]
    expect(rowsInOrder(items, [])).toEqual(items)
  })
})
