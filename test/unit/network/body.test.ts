import { setTimeout as sleep } from 'node:timers/promises'
import { expect, test } from 'vitest'
import { UnavailableError } from '../../../src/errors.ts'
import { bodyBytes, bodyChunks } from '../../../src/network/body.ts'

/** A body that sends `bytes` every `everyMs`, `count` times. */
function trickle(bytes: number, everyMs: number, count: number): Response {
  return new Response(
    new ReadableStream({
      async start(controller) {
        for (let n = 0; n < count; n++) {
          await sleep(everyMs)
          controller.enqueue(new Uint8Array(bytes))
        }
        controller.close()
      },
      cancel() {
        count = 0
      },
    }),
  )
}

const limits = { maxBytes: 1e9, minBytesPerSecond: 1000, slackMs: 100 }

test('a byte now and then is not waited for, though it is never silent', async () => {
  const startMs = performance.now()
  await expect(bodyBytes(trickle(1, 10, 400), 'host', limits)).rejects.toThrow(
    'less than 1000 bytes a second',
  )
  await expect(bodyBytes(trickle(1, 10, 400), 'host', limits)).rejects.toBeInstanceOf(UnavailableError)
  expect(performance.now() - startMs).toBeLessThan(2000)
})

test('what was sent fast at first is no credit for later', async () => {
  async function* parts() {
    yield new Uint8Array(1e6)
    for (let n = 0; n < 400; n++) {
      await sleep(10)
      yield new Uint8Array(1)
    }
  }
  const response = new Response(ReadableStream.from(parts()))
  await expect(bodyBytes(response, 'host', limits)).rejects.toThrow('less than 1000 bytes a second')
})

test('a body at the rate is read to its end, however long it takes, and however slow its reader', async () => {
  expect(await bodyBytes(trickle(100, 10, 40), 'host', limits)).toHaveLength(4000)
  let read = 0
  for await (const chunk of bodyChunks(trickle(1, 1, 5), 'host', limits)) {
    read += chunk.length
    await sleep(60)
  }
  expect(read).toBe(5)
})
