import { setTimeout as sleep } from 'node:timers/promises'
import { expect, test } from 'vitest'
import { FrameQueue, type FrameQueueOptions } from '../../../../src/firehose/live/frame-queue.ts'

function queueOf(options: Partial<FrameQueueOptions> = {}) {
  const failures: unknown[] = []
  const queue = new FrameQueue({
    maxFrames: 100,
    maxBytes: 1000,
    concurrency: 4,
    onFailure: (error) => failures.push(error),
    ...options,
  })
  return { queue, failures }
}
const pending = async (promise: Promise<unknown>) =>
  (await Promise.race([promise.then(() => 'settled'), sleep(20, 'pending')])) === 'pending'

test('keeps the order of an account, and lets others go past it', async () => {
  const { queue } = queueOf()
  const gate = Promise.withResolvers<void>()
  const seen: string[] = []
  queue.add('a', 1, async () => {
    await gate.promise
    seen.push('a1')
  })
  queue.add('a', 1, async () => void seen.push('a2'))
  queue.add('b', 1, async () => void seen.push('b1'))
  await sleep(10)
  expect(seen).toEqual(['b1'])
  gate.resolve()
  await sleep(10)
  expect(seen).toEqual(['b1', 'a1', 'a2'])
  expect([queue.frames, queue.bytes]).toEqual([0, 0])
})

test('a busy account has one place, so that the others have the rest', async () => {
  const { queue } = queueOf({ concurrency: 2 })
  const gate = Promise.withResolvers<void>()
  for (let n = 0; n < 50; n++) queue.add('busy', 1, () => gate.promise)
  const seen: string[] = []
  for (const did of ['b', 'c', 'd']) queue.add(did, 1, async () => void seen.push(did))
  await sleep(10)
  expect(seen).toEqual(['b', 'c', 'd'])
  gate.resolve()
})

test.each<[string, Partial<FrameQueueOptions>]>([
  ['frames', { maxFrames: 3 }],
  ['bytes', { maxBytes: 30 }],
])('has no room beyond the limit of %s, and has it again when one is done', async (_, limit) => {
  const { queue } = queueOf(limit)
  const gates = Array.from({ length: 3 }, () => Promise.withResolvers<void>())
  for (const [index, gate] of gates.entries()) {
    expect(await pending(queue.room())).toBe(false)
    queue.add(`did${index}`, 10, () => gate.promise)
  }
  const room = queue.room()
  expect(await pending(room)).toBe(true)
  gates[1]?.resolve()
  expect(await pending(room)).toBe(false)
  for (const gate of gates) gate.resolve()
})

test('counts what waits behind another frame of its account, too', async () => {
  const { queue } = queueOf({ maxFrames: 3 })
  const gate = Promise.withResolvers<void>()
  for (let n = 0; n < 3; n++) queue.add('a', 1, () => gate.promise)
  const room = queue.room()
  expect(await pending(room)).toBe(true)
  gate.resolve()
  await room
})

test('a task that rejects is told, and nothing further is begun', async () => {
  const { queue, failures } = queueOf()
  const failure = new Error('no')
  const seen: string[] = []
  queue.add('a', 1, () => Promise.reject(failure))
  queue.add('a', 1, async () => void seen.push('after'))
  await sleep(10)
  queue.add('b', 1, async () => void seen.push('other'))
  await queue.close()
  expect(failures).toEqual([failure])
  expect(seen).toEqual([])
})

test('closing waits for what is under way, drops the rest, and lets nobody wait for room', async () => {
  const { queue } = queueOf({ maxFrames: 1 })
  const gate = Promise.withResolvers<void>()
  const seen: string[] = []
  queue.add('a', 1, async () => {
    await gate.promise
    seen.push('under way')
  })
  const room = queue.room()
  const closed = queue.close()
  await room
  expect(await pending(closed)).toBe(true)
  gate.resolve()
  await closed
  expect(seen).toEqual(['under way'])
})

test('gives timers their turn while it is full of work that never waits', async () => {
  const { queue } = queueOf({ maxFrames: 10_000, maxBytes: 1e9 })
  let ticks = 0
  const timer = setInterval(() => ticks++, 1)
  let done = 0
  const spin = async () => {
    const until = performance.now() + 1
    while (performance.now() < until);
    done++
  }
  for (let n = 0; n < 300; n++) queue.add(`did${n % 7}`, 1, spin)
  while (done < 300) await new Promise((resolve) => setImmediate(resolve))
  clearInterval(timer)
  expect(ticks).toBeGreaterThan(3)
})
