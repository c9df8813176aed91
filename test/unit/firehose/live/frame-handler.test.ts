import { afterEach, beforeEach, expect, test, vi } from 'vitest'
import { UnavailableError } from '../../../../src/errors.ts'
import { FrameHandler } from '../../../../src/firehose/live/frame-handler.ts'
import type { LiveOptions } from '../../../../src/firehose/live/options.ts'
import { newLiveStatus } from '../../../../src/firehose/live/status.ts'

beforeEach(() => void vi.useFakeTimers())
afterEach(() => void vi.useRealTimers())

function handlerWith(onBrokenRepo: LiveOptions['onBrokenRepo']) {
  const status = newLiveStatus()
  const { signal } = new AbortController()
  const options: LiveOptions = {
    service: 'wss://relay.example',
    sink: { handle: async () => undefined, flush: async () => ({ cursor: undefined }) },
    identity: { resolve: never, refresh: never, clear: never },
    isWanted: () => true,
    cursor: 0,
    saveCursor: async () => undefined,
    onBrokenRepo,
    signal,
  }
  return { status, handler: new FrameHandler(options, status, () => 1, signal) }
}
const never = () => Promise.reject(new Error('nobody asks'))

test('a replay may take ten minutes; one that ignores its signal ends the consumer five minutes later', async () => {
  let given: AbortSignal | undefined
  const { handler, status } = handlerWith((_, signal) => {
    given = signal
    return new Promise(() => undefined)
  })
  const replay = handler.replayLost('did:plc:a', 1, 1, 'lost')
  const ended = replay.catch((error: unknown) => error)
  await vi.advanceTimersByTimeAsync(599_000)
  expect([given?.aborted, status.replays]).toEqual([false, 1])
  await vi.advanceTimersByTimeAsync(2000)
  expect([given?.aborted, status.replays]).toEqual([true, 1])
  await vi.advanceTimersByTimeAsync(300_000)
  expect(await ended).toBeInstanceOf(UnavailableError)
  expect(vi.getTimerCount()).toBe(0)
})

test('one that ends leaves no timer behind, whatever its end', async () => {
  await handlerWith(async () => undefined).handler.replayLost('did:plc:a', 1, 1, 'lost')
  const failing = handlerWith(() => Promise.reject(new Error('no'))).handler
  await expect(failing.replayLost('did:plc:a', 1, 1, 'lost')).rejects.toThrow('no')
  expect(vi.getTimerCount()).toBe(0)
})
