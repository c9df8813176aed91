import { AtUri } from '@atproto/syntax'
import { afterEach, beforeEach, expect, test, vi } from 'vitest'
import { ConfigError, DatabaseError, UnavailableError } from '../../../../src/errors.ts'
import type { RecordEvent } from '../../../../src/events.ts'
import { Delivery } from '../../../../src/firehose/live/delivery.ts'
import { encodeRecord } from '../../../../src/repo/record.ts'

const { cid } = encodeRecord({ n: 1 })
const eventOf = (rkey: string): RecordEvent => ({
  event: 'delete',
  source: 'firehose',
  seq: 1,
  time: '',
  commit: cid,
  rev: '3a',
  did: 'did:plc:a',
  uri: new AtUri(`at://did:plc:a/com.example.note/${rkey}`),
  collection: 'com.example.note',
  rkey,
})

function deliveryTo(handle: (event: RecordEvent) => Promise<void>, keeps = true) {
  const kept: string[] = []
  const stop = new AbortController()
  let failures = 0
  const delivery = new Delivery({
    sink: { handle, flush: async () => ({ cursor: undefined }) },
    attempts: 3,
    onFailedEvent: keeps ? async ({ rkey }) => void kept.push(rkey) : undefined,
    onFailure: () => failures++,
    signal: stop.signal,
  })
  return { delivery, kept, stop, failures: () => failures }
}

beforeEach(() => void vi.useFakeTimers())
afterEach(() => void vi.useRealTimers())
const settled = async (work: Promise<void>) => {
  const result = work.then(
    () => undefined,
    (error: unknown) => error,
  )
  await vi.runAllTimersAsync()
  return result
}

test('an event that fails once is tried again', async () => {
  const handle = vi.fn(async () => undefined).mockRejectedValueOnce(new Error('deadlock'))
  const { delivery, kept } = deliveryTo(handle)
  expect(await settled(delivery.deliver(eventOf('a')))).toBeUndefined()
  expect(handle).toHaveBeenCalledTimes(2)
  expect(kept).toEqual([])
})

test('one that always fails is kept after its attempts, and what follows goes on', async () => {
  const handle = vi.fn(async ({ rkey }: RecordEvent) => {
    if (rkey === 'bad') throw new DatabaseError('no', { code: '23514' })
  })
  const { delivery, kept, failures } = deliveryTo(handle)
  for (const rkey of ['good', 'bad', 'good'])
    expect(await settled(delivery.deliver(eventOf(rkey)))).toBeUndefined()
  expect(handle).toHaveBeenCalledTimes(1 + 3 + 1)
  expect(kept).toEqual(['bad'])
  expect(failures()).toBe(1)
})

test('without a place to keep it, its error is thrown', async () => {
  const failure = new Error('no')
  const { delivery } = deliveryTo(() => Promise.reject(failure), false)
  expect(await settled(delivery.deliver(eventOf('a')))).toBe(failure)
})

test.each([new UnavailableError('away'), new ConfigError('wrong key')])(
  'what fails the sink as a whole is thrown at once: %s',
  async (failure) => {
    const handle = vi.fn(() => Promise.reject(failure))
    const { delivery, kept } = deliveryTo(handle)
    expect(await settled(delivery.deliver(eventOf('a')))).toBe(failure)
    expect(handle).toHaveBeenCalledTimes(1)
    expect(kept).toEqual([])
  },
)

test('a sink that fails everything stops the consumer before the firehose has become dead letters', async () => {
  const { delivery, kept } = deliveryTo(() => Promise.reject(new Error('the other database is away')))
  let failure: unknown
  for (let n = 0; n < 100 && failure === undefined; n++)
    failure = await settled(delivery.deliver(eventOf(`${n}`)))
  expect(failure).toBeInstanceOf(UnavailableError)
  expect(kept.length).toBe(10)
})

test('an end that was asked for does not wait for the next attempt', async () => {
  const { delivery, kept, stop } = deliveryTo(() => Promise.reject(new Error('no')))
  const delivered = delivery.deliver(eventOf('a'))
  delivered.catch(() => undefined)
  await vi.advanceTimersByTimeAsync(10)
  stop.abort()
  await expect(delivered).rejects.toMatchObject({ name: 'AbortError' })
  expect(kept).toEqual([])
})
