import { expect, test } from 'vitest'
import { unstorableReason } from '../../../src/indexer/storable.ts'

test.each([
  ['in a string', { title: 'a\0b' }, '$.title contains U+0000'],
  ['deep down', { extra: [{ deep: '\0' }] }, '$.extra.0.deep contains U+0000'],
  ['in a key', { extra: { 'a\0': 1 } }, '$.extra (a key) contains U+0000'],
  ['half a pair', { title: 'x\ud83d' }, '$.title contains half of a surrogate pair'],
  ['the other half', { title: '\ude00x' }, '$.title contains half of a surrogate pair'],
])('finds what Postgres cannot store: %s', (_, value, reason) => {
  expect(unstorableReason(value)).toContain(reason)
})

test('leaves whole text alone', () => {
  expect(unstorableReason({ title: 'a 😀 \u0001 é', list: [1, null, true, 'x'] })).toBeNull()
})
