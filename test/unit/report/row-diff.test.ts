import { expect, test } from 'vitest'
import { differingColumns } from '../../../src/report/row-diff.ts'

const differs = (type: string, backup: string | null | undefined, production: string | null | undefined) => {
  const row = (value: string | null | undefined) => (value === undefined ? {} : { value })
  return (
    differingColumns([{ name: 'value', type, generated: false }], row(backup), row(production)).length > 0
  )
}

test.each([
  ['another zone', 'timestamp with time zone', '2026-02-01 10:00:00.5+00', '2026-02-01 12:00:00.500000+02'],
  ['order of keys', 'jsonb', '{"a": 1, "b": [1, 2]}', '{"b":[1,2],"a":1.0}'],
  ['digits of a number', 'numeric', '1.50', '1.5'],
  ['an exponent', 'double precision', '1e3', '1000'],
  ['both NULL', 'jsonb', null, null],
])('%s means the same', (_, type, backup, production) => {
  expect(differs(type, backup, production)).toBe(false)
})

test.each([
  [
    'a lost microsecond',
    'timestamp with time zone',
    '2026-02-01 10:00:00.123456+00',
    '2026-02-01 10:00:00.123+00',
  ],
  ['order in an array', 'jsonb', '[1, 2]', '[2, 1]'],
  ['a digit beyond a double', 'jsonb', '{"n": 12345678901234567890}', '{"n": 12345678901234567891}'],
  ['JSON null and NULL', 'jsonb', 'null', null],
  ['a missing key and null', 'jsonb', '{"a": null}', '{}'],
  ['empty and NULL', 'text', '', null],
  ['NULL and absent', 'text', null, undefined],
  ['text that only looks like a number', 'text', '1.0', '1'],
])('%s does not', (_, type, backup, production) => {
  expect(differs(type, backup, production)).toBe(true)
})

test('generated columns count', () => {
  const columns = [{ name: 'sort_at', type: 'text', generated: true }]
  expect(differingColumns(columns, { sort_at: 'a' }, { sort_at: 'b' })).toEqual(['sort_at'])
})
