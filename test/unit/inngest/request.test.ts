import { describe, expect, test } from 'vitest'
import { parseWriteRequest } from '../../../src/inngest/request.ts'
import { MAX_EVENT_BYTES, splitRequest } from '../../../src/inngest/split.ts'

const DID = 'did:plc:aaaaaaaaaaaaaaaaaaaaaaaa'

function entry(rkey: string, text = '') {
  return { collection: 'com.example.post', rkey, record: { $type: 'com.example.post', text } }
}

describe('parseWriteRequest', () => {
  test('takes what fits, and leaves records as they are', () => {
    const record = { $type: 'com.example.post', ['__proto__']: 'own', nested: { $bytes: 'AA' } }
    const data = { did: DID, records: [{ collection: 'com.example.post', rkey: 'a', record }] }
    expect(parseWriteRequest(data).records[0]?.record).toBe(record)
  })

  test.each([
    [undefined, 'data:'],
    [{ did: 'alice.test', records: [entry('a')] }, 'data.did: is not a DID'],
    [{ did: DID, records: [] }, 'data.records: holds no record'],
    [
      { did: DID, records: [entry('a'), { ...entry('b'), record: [] }] },
      'data.records[1].record: is not an object',
    ],
    [
      { did: DID, records: [entry('a'), entry('a')] },
      'data.records[1]: is a second entry for com.example.post/a',
    ],
    [{ did: DID, records: [entry('a')], onConflict: 'ask' }, 'data.onConflict:'],
  ])('names the path of what does not fit: %#', (data, message) => {
    expect(() => parseWriteRequest(data)).toThrow(message)
  })
})

describe('splitRequest', () => {
  test('keeps order and limit, counts bytes and not characters', () => {
    const records = Array.from({ length: 30 }, (_, index) => entry(`r${index}`, 'ü'.repeat(10_000)))
    const parts = splitRequest({ did: DID, records, onConflict: 'keep' })
    expect(parts.flatMap((part) => part.records)).toEqual(records)
    expect(parts.length).toBe(3)
    for (const part of parts) {
      expect(part).toMatchObject({ did: DID, onConflict: 'keep' })
      expect(Buffer.byteLength(JSON.stringify(part))).toBeLessThan(262_144)
    }
  })

  test('a record above the limit gets an event of its own', () => {
    const records = [entry('a'), entry('b', 'x'.repeat(MAX_EVENT_BYTES)), entry('c')]
    const parts = splitRequest({ did: DID, records })
    expect(parts.map((part) => part.records.map(({ rkey }) => rkey))).toEqual([['a'], ['b'], ['c']])
  })
})
