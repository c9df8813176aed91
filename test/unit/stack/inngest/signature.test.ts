import { createHmac } from 'node:crypto'
import { expect, test } from 'vitest'
import { canonicalJson, isAuthorized, signature } from '../../../../src/stack/inngest/signature.ts'

test('canonicalJson sorts keys at every level and keeps the order of lists', () => {
  const value = { b: [3, 1, { z: null, a: 'ü"' }], a: { d: true, c: 1e21 }, '\u20ac': 1, '\u0080': 2 }
  expect(canonicalJson(value)).toBe(
    '{"a":{"c":1e+21,"d":true},"b":[3,1,{"a":"ü\\"","z":null}],"\u0080":2,"\u20ac":1}',
  )
})

test('signature is over canonical body and time, with the key without its prefix', () => {
  const mac = createHmac('sha256', 'abc123').update('{"a":1,"b":2}1700000000').digest('hex')
  expect(signature({ b: 2, a: 1 }, 'signkey-prod-abc123', 1_700_000_000)).toBe(`t=1700000000&s=${mac}`)
})

test('isAuthorized takes the key and its hash, and nothing else', () => {
  const key = 'signkey-test-00ff'
  // SHA-256 of the bytes 00 ff.
  const hash = 'signkey-test-06eb7d6a69ee19e5fbdf749018d3d2abfa04bcbd1365db312eb86dc7169389b8'
  expect(isAuthorized(`Bearer ${key}`, key)).toBe(true)
  expect(isAuthorized(`Bearer ${hash}`, key)).toBe(true)
  for (const header of [undefined, '', 'Bearer ', 'Bearer signkey-test-00fe']) {
    expect(isAuthorized(header, key)).toBe(false)
  }
})
