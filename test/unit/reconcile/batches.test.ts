import { describe, expect, test } from 'vitest'
import { inBatches, overlapped, ROWS_PER_BATCH } from '../../../src/reconcile/batches.ts'

describe('batches', () => {
  test('hold so many rows, and no more bytes than a call carries, unless one row has more', () => {
    const rows = Array.from({ length: ROWS_PER_BATCH + 1 }, (_, n) => n)
    expect([...inBatches(rows, () => 1)].map(({ length }) => length)).toEqual([ROWS_PER_BATCH, 1])
    const sizes = [600_000, 600_000, 5_000_000, 10, 10]
    expect([...inBatches(sizes, (size) => size)]).toEqual([[600_000], [600_000], [5_000_000], [10, 10]])
  })

  test('are cut as they are asked for: only one is held', () => {
    let taken = 0
    function* endless() {
      for (;;) yield ++taken
    }
    const { value } = inBatches(endless(), () => 1).next()
    expect(value).toHaveLength(ROWS_PER_BATCH)
    expect(taken).toBe(ROWS_PER_BATCH + 1)
  })
})

describe('what overlaps', () => {
  test('is told in order, and no more of it is under way than may be', async () => {
    let open = 0
    let most = 0
    const told: number[] = []
    const act = async (item: number) => {
      most = Math.max(most, ++open)
      for (let turn = 0; turn < 10 - item; turn++) await Promise.resolve()
      open--
      return item
    }
    await overlapped([1, 2, 3, 4, 5, 6], 3, act, (item) => told.push(item))
    expect(told).toEqual([1, 2, 3, 4, 5, 6])
    expect(most).toBe(3)
  })

  test('ends with the first failure, once all that is under way has ended, and begins nothing more', async () => {
    const ended: number[] = []
    const act = async (item: number) => {
      for (let turn = 0; turn < 5 * item; turn++) await Promise.resolve()
      ended.push(item)
      if (item === 1) throw new Error('no')
      return item
    }
    await expect(overlapped([1, 2, 3, 4, 5], 3, act, () => undefined)).rejects.toThrow('no')
    expect(ended).toEqual([1, 2, 3])
  })
})
