import { expect, test } from 'vitest'
import { readinessOf } from '../../../src/inngest/readiness.ts'

test('an answer is kept for some seconds, then asked for again', async () => {
  let nowMs = 0
  let isUp = true
  let asked = 0
  const check = async () => {
    asked++
    if (!isUp) throw new Error('it is down')
  }
  const ask = readinessOf([{ name: 'database', check }], () => nowMs)
  expect(await Promise.all([ask(), ask(), ask()])).toEqual([undefined, undefined, undefined])
  isUp = false
  nowMs = 4999
  expect(await ask()).toBeUndefined()
  expect(asked).toBe(1)
  nowMs = 5001
  expect(await ask()).toBe('database: it is down')
  isUp = true
  nowMs = 11_000
  expect(await ask()).toBeUndefined()
  expect(asked).toBe(3)
})

test('the first reason counts, in the order of the checks', async () => {
  const failing = (name: string) => ({ name, check: () => Promise.reject(new Error('no')) })
  expect(await readinessOf([failing('a'), failing('b')])()).toBe('a: no')
  expect(await readinessOf([])()).toBeUndefined()
})
