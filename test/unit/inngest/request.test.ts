import { describe, expect, test } from 'vitest'
import { parseWriteEvent, parseWriteRequest } from '../../../src/inngest/request.ts'
import { MAX_EVENT_BYTES, splitForStore, splitRequest } from '../../../src/inngest/split.ts'

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

describe('parseWriteEvent', () => {
  const reference = { id: 'r', recordCount: 2, bytes: 100, digest: 'ab'.repeat(32) }

  test('takes records, or where they are', () => {
    expect(parseWriteEvent({ did: DID, records: [entry('a')] })).toMatchObject({ records: [{ rkey: 'a' }] })
    expect(parseWriteEvent({ did: DID, reference, run: 'r' })).toEqual({ did: DID, reference, run: 'r' })
  })

  test.each([
    [{ did: DID }, 'data.records'],
    [{ did: DID, reference: { ...reference, digest: 'x' } }, 'data.reference.digest: is not a SHA-256'],
    [{ did: DID, reference: { ...reference, recordCount: 0 } }, 'data.reference.recordCount'],
    [{ did: 'alice.test', reference }, 'data.did: is not a DID'],
  ])('names the path of what does not fit: %#', (data, message) => {
    expect(() => parseWriteEvent(data)).toThrow(message)
  })
})

describe('splitRequest', () => {
  test.each([MAX_EVENT_BYTES, 100_000])(
    'keeps order and a limit of %d, counts bytes and not characters',
    (limit) => {
      const records = Array.from({ length: 30 }, (_, index) => entry(`r${index}`, 'ü'.repeat(10_000)))
      const parts = splitRequest({ did: DID, records, onConflict: 'keep' }, limit)
      expect(parts.flatMap((part) => part.records)).toEqual(records)
      for (const part of parts) {
        expect(part).toMatchObject({ did: DID, onConflict: 'keep' })
        const bytes = Buffer.byteLength(JSON.stringify(part))
        expect(bytes).toBeLessThan(limit)
        if (part !== parts.at(-1)) expect(bytes).toBeGreaterThan(limit * 0.7)
      }
    },
  )

  test('a record above the limit gets an event of its own', () => {
    const records = [entry('a'), entry('b', 'x'.repeat(MAX_EVENT_BYTES)), entry('c')]
    const parts = splitRequest({ did: DID, records })
    expect(parts.map((part) => part.records.map(({ rkey }) => rkey))).toEqual([['a'], ['b'], ['c']])
  })
})

describe('splitForStore', () => {
  test('keeps to 1,000 records and 4 MB', () => {
    const many = Array.from({ length: 2500 }, (_, index) => entry(`r${index}`))
    expect(splitForStore({ did: DID, records: many }).map(({ records }) => records.length)).toEqual([
      1000, 1000, 500,
    ])
    const large = Array.from({ length: 9 }, (_, index) => entry(`r${index}`, 'x'.repeat(900_000)))
    const parts = splitForStore({ did: DID, records: large })
    expect(parts.map(({ records }) => records.length)).toEqual([4, 4, 1])
    expect(parts.flatMap(({ records }) => records)).toEqual(large)
  })
})
