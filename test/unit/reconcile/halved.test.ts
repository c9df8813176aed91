import { expect, test } from 'vitest'
import { DatabaseError, UnavailableError } from '../../../src/errors.ts'
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

test('rows that take too long together are sent in smaller calls; a deadlock is tried again as it was', async () => {
  const passing = (code: string) => new UnavailableError('later', { cause: { code, status: 500 } })
  const calls: number[] = []
  let isDeadlocked = true
  const answers = await halved<number, number[]>(
    rows,
    async (some) => {
      calls.push(some.length)
      if (some.length > 11) throw passing('57014')
      if (isDeadlocked) {
        isDeadlocked = false
        throw passing('40P01')
      }
      return [...some]
    },
    () => [],
  )
  expect(answers.flat()).toEqual(rows)
  expect(calls).toEqual([21, 21, 10, 10, 11])
})
