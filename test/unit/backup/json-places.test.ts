import { describe, expect, test } from 'vitest'
import { bytesSource, JsonScanner, JsonTextError } from '../../../src/backup/json-places.ts'

const VALUES = [
  '',
  'a"b\\',
  '\\"\\\\"',
  'ü🙂\u2028',
  '{"n": [1, "]}"]}',
  null,
  1.5,
  true,
  [],
  {},
  [[{ a: '}' }]],
  { 'k"': [] },
]

/** All items of the list at the front, read with a window of so many bytes. */
function items(text: string, chunkBytes: number): unknown[] {
  const scanner = new JsonScanner(bytesSource(Buffer.from(text)), 0, chunkBytes)
  const found: unknown[] = []
  for (const _ of scanner.items()) found.push(scanner.value())
  scanner.end()
  return found
}

describe('a scanner', () => {
  test.each([1, 2, 3, 5, 7, 64, 100_000])('finds every value through a window of %i bytes', (chunkBytes) => {
    for (const text of [
      JSON.stringify(VALUES),
      JSON.stringify(VALUES, null, 3),
      ` ${JSON.stringify(VALUES)}\r\n\t`,
    ])
      expect(items(text, chunkBytes)).toEqual(VALUES)
    expect(items('[]', chunkBytes)).toEqual([])
  })

  test('goes on from a place that it was at', () => {
    const source = bytesSource(Buffer.from(JSON.stringify({ a: 'ü', b: [1, 2], c: 0 })))
    const scanner = new JsonScanner(source, 0, 3)
    const places = new Map<string, number>()
    for (const key of scanner.keys()) places.set(key, scanner.skip())
    expect([...places.keys()]).toEqual(['a', 'b', 'c'])
    expect(new JsonScanner(source, places.get('a'), 4).value()).toBe('ü')
    expect(new JsonScanner(source, places.get('b'), 4).value()).toEqual([1, 2])
  })

  test.each([
    '',
    '[',
    '["',
    '["\\',
    '["a"',
    '["a",',
    '["a"}',
    '[1 2]',
    '[{]',
    '[}',
    '[nope]',
    '["a"] x',
    '[,]',
    '["\n"]',
    '{}',
  ])('refuses %j', (text) => {
    for (const chunkBytes of [1, 3, 1000]) expect(() => items(text, chunkBytes)).toThrow(JsonTextError)
  })
})
