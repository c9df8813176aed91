import { describe, expect, test } from 'vitest'
import { ConfigError } from '../../../../src/errors.ts'
import { condition, keyExpression } from '../../../../src/stack/inngest/expression.ts'

const event = { id: 'e1', name: 'test/go', ts: 1, data: { did: 'did:plc:a', nested: { n: 2, list: [1] } } }

describe('keyExpression', () => {
  test.each([
    ['event.data.did', 'did:plc:a'],
    ['event.data.nested.n', '2'],
    ['event.data.nested.list', '[1]'],
    ['event.name', 'test/go'],
    ['event.data.missing.deeper', ''],
    [`event.data.did + '/' + event.data.nested.n`, 'did:plc:a/2'],
    ['"constant"', 'constant'],
  ])('%s is %s', (expression, value) => {
    expect(keyExpression(expression)(event)).toBe(value)
  })

  test.each(['event', 'async.data.x', 'size(event.data.list)', 'event.data.n > 1'])(
    '%s is refused',
    (expression) => {
      expect(() => keyExpression(expression)).toThrow(ConfigError)
    },
  )
})

describe('condition', () => {
  test('compares two sides', () => {
    expect(condition(`event.data.did == 'did:plc:a'`)(event)).toBe(true)
    expect(condition(`event.data.did == 'did:plc:b'`)(event)).toBe(false)
  })

  test('without one == is refused', () => {
    expect(() => condition('event.data.did')).toThrow(ConfigError)
  })
})
