import { describe, expect, test } from 'vitest'
import { keepRequests } from '../../../src/inngest/kept-requests.ts'
import type { WriteRequest } from '../../../src/inngest/request.ts'
import { type RequestStore, referenceTo } from '../../../src/inngest/request-store.ts'

const DID = 'did:plc:aaaaaaaaaaaaaaaaaaaaaaaa'
const OTHER = 'did:plc:bbbbbbbbbbbbbbbbbbbbbbbb'

function records(count: number, text = ''): WriteRequest['records'] {
  return Array.from({ length: count }, (_, index) => ({
    collection: 'com.example.post',
    rkey: `r${index}`,
    record: { $type: 'com.example.post', text },
  }))
}

/** All of them of one account. */
function storeOf(stored: Record<string, WriteRequest['records']>) {
  const reads: string[] = []
  const unused = () => Promise.reject(new Error('not asked for'))
  const store: RequestStore = {
    put: unused,
    async get({ id }, did) {
      reads.push(id)
      return did === DID ? structuredClone(stored[id]) : undefined
    },
    drop: unused,
    keepFailure: unused,
    check: unused,
  }
  return { store, reads }
}

function event(id: string, of: WriteRequest['records'], did = DID) {
  return { did, onConflict: 'keep' as const, reference: referenceTo({ did, records: of }, id) }
}

describe('stored records', () => {
  test('come once, with what else the event says', async () => {
    const { store, reads } = storeOf({ a: records(2) })
    const kept = keepRequests(store)
    const expected = { did: DID, onConflict: 'keep', records: records(2) }
    expect(await kept.load(event('a', records(2)))).toEqual(expected)
    expect(await kept.load(event('a', records(2)))).toEqual(expected)
    expect(reads).toEqual(['a'])
  })

  test.each([
    ['other records', records(2, 'changed'), 'not those'],
    ['fewer records', records(1), 'not those'],
    ['none', undefined, 'not there any more'],
  ])('that turn out to be %s are an error that is not retried', async (_, found, message) => {
    const { store } = storeOf(found === undefined ? {} : { a: found })
    await expect(keepRequests(store).load(event('a', records(2)))).rejects.toMatchObject({
      name: 'VerificationError',
      message: expect.stringContaining(message),
    })
  })

  test('of one account are not given to another, also not from memory', async () => {
    const { store } = storeOf({ a: records(2) })
    const kept = keepRequests(store)
    const mine = event('a', records(2))
    await kept.load(mine)
    await expect(kept.load({ ...mine, did: OTHER })).rejects.toThrow('not there any more')
  })

  test.each([
    ['id', { id: 'victim' }],
    ['recordCount', { recordCount: 77 }],
    ['bytes', { bytes: 1 }],
    ['digest', { digest: '0'.repeat(64) }],
  ])('are held against the whole reference, also from memory: another %s', async (name, change) => {
    const { store, reads } = storeOf({ a: records(2), victim: records(3) })
    const kept = keepRequests(store)
    const mine = event('a', records(2))
    await kept.load(mine)
    const load = kept.load({ ...mine, reference: { ...mine.reference, ...change } })
    await expect(load).rejects.toThrow(
      name === 'id' ? /differ in recordCount, bytes, digest/ : `differ in ${name}.`,
    )
    expect(reads).toHaveLength(2)
  })

  test('are kept up to a size; those used last stay', async () => {
    const ids = ['a', 'b', 'c', 'd']
    const large = Object.fromEntries(ids.map((id) => [id, records(1, id.repeat(10_000_000))]))
    const { store, reads } = storeOf(large)
    const kept = keepRequests(store)
    const load = (id: string) => kept.load(event(id, large[id] ?? []))
    for (const id of ['a', 'b', 'c', 'a', 'd', 'a']) await load(id)
    expect(reads).toEqual(['a', 'b', 'c', 'd'])
    await load('b')
    expect(reads).toEqual(['a', 'b', 'c', 'd', 'b'])
  })
})

describe('what may be written', () => {
  const inline = { did: DID, records: records(1) }

  test('is said before anything is opened', async () => {
    const kept = keepRequests(undefined, ['com.example.note'])
    expect(() => kept.read(inline)).toThrow(/com\.example\.post, which this worker does not write/)
    expect(keepRequests(undefined, ['com.example.post']).read(inline)).toEqual(inline)
    expect(keepRequests(undefined).read(inline)).toEqual(inline)
  })

  test('holds for stored records', async () => {
    const { store } = storeOf({ a: records(1) })
    const kept = keepRequests(store, ['com.example.note'])
    const data = event('a', records(1))
    expect(kept.read(data)).toEqual(data)
    await expect(kept.load(data)).rejects.toThrow('which this worker does not write')
  })

  test('nothing that is stored, without a store', () => {
    expect(() => keepRequests(undefined).read(event('a', records(1)))).toThrow('this worker has no store')
  })
})
