import { describe, expect, test } from 'vitest'
import { canonicalJson, canonicalNumber } from '../../../src/database/json.ts'

describe('numbers', () => {
  test.each([
    ['150', ['150.0', '1.50e2', '1.5E+2', '+150', '000150', '15000e-2', '0.150e3']],
    ['0', ['-0', '0.000', '0e400', '-0.0e-7', '00']],
    ['-12.5', ['-12.50', '-1.25e1', '-125e-1']],
    ['1e400', ['10e399', `1${'0'.repeat(400)}`, '0.1e401']],
    ['0.001', ['1e-3', '.001', '00.00100']],
    ['12345678901234567890.10', ['12345678901234567890.1']],
  ])('%s is the same however it is written', (number, others) => {
    for (const other of others) expect(canonicalNumber(other), other).toBe(canonicalNumber(number))
  })

  test.each([
    ['12345678901234567890', '12345678901234567891'],
    ['0.1', '0.10000000000000000001'],
    ['9007199254740993', '9007199254740992'],
    ['1e400', '1e401'],
    ['1e-400', '0'],
    ['5', '-5'],
    ['1e400', 'Infinity'],
    ['NaN', '0'],
    ['10', '1'],
    ['0.01', '0.1'],
  ])('%s is not %s', (a, b) => {
    expect(canonicalNumber(a)).not.toBe(canonicalNumber(b))
  })
})

describe('JSON', () => {
  test.each([
    ['{"a":1,"b":[1.0,{"d":2,"c":3}]}', ' { "b" : [1, {"c":3.00,"d":2e0}], "a":1e0 } '],
    ['"\\u00e9"', '"é"'],
    ['-0', '0'],
    ['1e400', `1${'0'.repeat(400)}`],
  ])('%s means %s', (a, b) => {
    expect(canonicalJson(a)).toBe(canonicalJson(b))
  })

  test.each([
    ['{"n":12345678901234567890}', '{"n":12345678901234567891}'],
    ['{"n":1e400}', '{"n":null}'],
    ['{"n":1e400}', '{"n":1e500}'],
    ['[1,2]', '[2,1]'],
    ['{"n":1}', '{"n":"1"}'],
    ['"0.1e1"', '1'],
    ['{"a":null}', '{}'],
    ['[[]]', '[{}]'],
    ['{"__proto__":1}', '{"__proto__":2}'],
    ['{"__proto__":{"x":1}}', '{}'],
    ['"a"', '"a "'],
    ['"é"', '"e\\u0301"'],
  ])('%s does not mean %s', (a, b) => {
    expect(canonicalJson(a)).not.toBe(canonicalJson(b))
  })

  test('is JSON no longer cut short than it came', () => {
    expect(() => canonicalJson('{"a":')).toThrow(SyntaxError)
  })
})
