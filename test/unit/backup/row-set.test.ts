import { describe, expect, test } from 'vitest'
import { KeySet } from '../../../src/backup/key-set.ts'
import { memoryLogs } from '../../../src/backup/row-log.ts'
import { createRowSet } from '../../../src/backup/row-set.ts'

describe('a row set', () => {
  const open = () => createRowSet(memoryLogs(), () => ({ key: ['a', 'b'], columns: ['a', 'b', 'c'] }))

  test('keeps each row once and says which are new, in the order in which they came', () => {
    const rows = open()
    expect(rows.add('t', { a: '2', b: 'x', c: null })).toBe(true)
    expect(rows.add('t', { a: '2', b: 'x', c: 'other' })).toBe(false)
    expect(rows.add('t', { a: '1', b: 'x', c: '' })).toBe(true)
    expect(rows.add('u', { a: '1', b: 'x', c: '' })).toBe(true)
    expect(rows.rows('t')).toHaveLength(2)
    expect([...rows.rows('t')]).toEqual([
      { a: '2', b: 'x', c: null },
      { a: '1', b: 'x', c: '' },
    ])
    expect(rows.has('t', { a: '1', b: 'x' })).toBe(true)
    expect(rows.has('t', { a: '1', b: 'y' })).toBe(false)
    expect(rows.tables()).toEqual(['t', 'u'])
    expect([...rows.rows('other')]).toEqual([])
  })

  test('tells keys apart whose texts run into one another', () => {
    const rows = open()
    expect(rows.add('t', { a: 'x","y', b: 'z' })).toBe(true)
    expect(rows.add('t', { a: 'x', b: 'y","z' })).toBe(true)
  })

  test('gives what came between two places, while more comes', () => {
    const rows = open()
    rows.add('t', { a: '1', b: '' })
    const from = rows.end('t')
    rows.add('t', { a: '2', b: '' })
    rows.add('t', { a: '3', b: '' })
    const found: (string | null | undefined)[] = []
    for (const { a } of rows.since('t', from, rows.end('t'))) {
      rows.add('t', { a: `${a}0`, b: '' })
      found.push(a)
    }
    expect(found).toEqual(['2', '3'])
    expect(rows.rows('t')).toHaveLength(5)
  })
})

test('a key set knows what it was given, however many there are', () => {
  const keys = new KeySet()
  for (let i = 0; i < 20_000; i++) expect(keys.add(`key ${i}`)).toBe(true)
  for (let i = 0; i < 20_000; i += 7) expect(keys.add(`key ${i}`)).toBe(false)
  expect(keys.size).toBe(20_000)
  expect(keys.has('key 19999')).toBe(true)
  expect(keys.has('key 20000')).toBe(false)
})
