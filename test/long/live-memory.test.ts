/** A sink much slower than the relay: what waits is bounded by configuration, on both sides of the socket. */

import { setTimeout as sleep } from 'node:timers/promises'
import { setFlagsFromString } from 'node:v8'
import { runInNewContext } from 'node:vm'
import { expect, test } from 'vitest'
import { consumeFirehose, newLiveStatus } from '../../src/firehose/live.ts'
import { COLLECTION, FakeAuthor, identityOf, startFakeRelay } from '../integration/fake-relay.ts'

const MEGABYTE = 1024 ** 2
const MAX_QUEUED_BYTES = 4 * MEGABYTE
const COMMITS = 250
const EVENTS_EACH = 200
/** What the kernel keeps of a connection of this machine, in both directions. */
const SOCKET_BYTES = 10 * MEGABYTE

setFlagsFromString('--expose-gc')
const collectGarbage = runInNewContext('gc') as () => void

test('50,000 events for a slow sink: the queue stays under its bound, and the relay is made to wait', async () => {
  const authors: FakeAuthor[] = []
  const frames: Uint8Array[] = []
  for (let index = 0; index < COMMITS; index++) {
    const author = await FakeAuthor.create(
      `${index}`.replaceAll(/[0189]/g, (digit) => 'ghij'['0189'.indexOf(digit)] ?? ''),
    )
    const records = Object.fromEntries(
      Array.from({ length: EVENTS_EACH }, (_, n) => [
        `${COLLECTION}/${index}-${n}`,
        { $type: COLLECTION, title: `${index}-${n}`, textContent: 'word '.repeat(200) },
      ]),
    )
    frames.push(await author.commit(index + 1, records))
    authors.push(author)
  }
  const totalBytes = frames.reduce((sum, { length }) => sum + length, 0)
  expect(totalBytes).toBeGreaterThan(50 * MEGABYTE)
  const relay = await startFakeRelay(() => frames)
  const stop = new AbortController()
  const status = newLiveStatus()
  const most = { queued: 0, buffers: 0, ahead: 0 }
  collectGarbage()
  const buffersBefore = process.memoryUsage().arrayBuffers
  let [handled, handledBytes] = [0, 0]
  /** All accounts wait for the same database. */
  let paused = Promise.resolve()
  const measure = () => {
    // The first time finds what memory belongs to, the second gives it back.
    collectGarbage()
    collectGarbage()
    most.queued = Math.max(most.queued, status.queuedBytes)
    most.buffers = Math.max(most.buffers, process.memoryUsage().arrayBuffers - buffersBefore)
    most.ahead = Math.max(most.ahead, relay.sent.bytes - handledBytes)
  }
  try {
    await consumeFirehose({
      service: relay.url,
      sink: {
        async handle() {
          handled++
          if (handled % 500 === 0) paused = sleep(50)
          await paused
          if (handled % 5000 === 0) measure()
          if (handled === COMMITS * EVENTS_EACH) stop.abort()
        },
        flush: async () => ({ cursor: undefined }),
      },
      identity: identityOf(...authors),
      isWanted: () => true,
      cursor: 0,
      saveCursor: async () => undefined,
      onBrokenRepo: ({ reason }) => Promise.reject(new Error(reason)),
      onFrame: ({ seq }) => {
        handledBytes += frames[seq - 1]?.length ?? 0
      },
      signal: stop.signal,
      maxQueuedBytes: MAX_QUEUED_BYTES,
      status,
    })
  } finally {
    await relay[Symbol.asyncDispose]()
  }
  expect(handled).toBe(COMMITS * EVENTS_EACH)
  // The bound, and the one frame that went over it.
  expect(most.queued).toBeLessThan(MAX_QUEUED_BYTES + MEGABYTE)
  expect(most.ahead).toBeLessThan(MAX_QUEUED_BYTES + SOCKET_BYTES)
  expect(most.buffers).toBeLessThan(MAX_QUEUED_BYTES + SOCKET_BYTES)
}, 120_000)
