import { expect, test } from 'vitest'
import { DatabaseError } from '../../../src/errors.ts'
import { halved } from '../../../src/reconcile/halved.ts'

const refusal = new DatabaseError('no', { code: '23514' })
const rows = Array.from({ length: 21 }, (_, n) => n)

test.each([[[]], [[0]], [[7]], [[20]], [[3, 4, 19]], [rows]])(
  'costs only the rows that are refused: %j',
  async (bad) => {
    const calls: number[] = []
    const answers = await halved<number, string[]>(
      rows,
      async (some) => {
        calls.push(some.length)
        if (some.some((row) => bad.includes(row))) throw refusal
        return some.map((row) => `done ${row}`)
      },
      (row, error) => [`${error.message} ${row}`],
    )
    expect(answers.flat()).toEqual(rows.map((row) => `${bad.includes(row) ? 'no' : 'done'} ${row}`))
    if (bad.length === 0) expect(calls).toEqual([21])
  },
)

test('what is no refusal of the rows is thrown', async () => {
  const gone = new TypeError('a bug')
  await expect(
    halved(
      rows,
      () => Promise.reject(gone),
      () => null,
    ),
  ).rejects.toBe(gone)
})
