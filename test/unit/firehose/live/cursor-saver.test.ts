import { setTimeout as sleep } from 'node:timers/promises'
import { expect, test } from 'vitest'
import { CursorSaver, type CursorSaverOptions } from '../../../../src/firehose/live/cursor-saver.ts'

function saverOf(options: Partial<CursorSaverOptions> = {}) {
  const seen = { steps: [] as string[], at: { seq: 5 as number | undefined, events: 0 } }
  const saver = new CursorSaver({
    sink: {
      handle: async () => undefined,
      flush: async () => {
        seen.steps.push('flush')
        return { cursor: undefined }
      },
    },
    saveCursor: async (seq) => void seen.steps.push(`save ${seq}`),
    handled: () => ({ ...seen.at }),
    onFlush: undefined,
    saved: 5,
    ...options,
  })
  return { saver, seen }
}

test('saves after the flush, and only what is new', async () => {
  const { saver, seen } = saverOf()
  await saver.save()
  expect(seen.steps).toEqual([])
  seen.at.seq = 8
  await saver.save()
  await saver.save()
  expect(seen.steps).toEqual(['flush', 'save 8'])
  expect(saver.saved).toBe(8)
})

test('what is handled during the flush waits for the next one', async () => {
  const { saver, seen } = saverOf({
    sink: {
      handle: async () => undefined,
      flush: async () => {
        seen.at.seq = 20
        return { cursor: undefined }
      },
    },
  })
  seen.at.seq = 9
  await saver.save()
  expect(seen.steps).toEqual(['save 9'])
})

test('no cursor while a gap is replayed; the sink is flushed all the same', async () => {
  const { saver, seen } = saverOf()
  const gap = Promise.withResolvers<void>()
  const held = saver.holdBackFor(gap.promise)
  seen.at.seq = 9
  await saver.save()
  expect(seen.steps).toEqual(['flush'])
  gap.resolve()
  await held
  await saver.save()
  expect(seen.steps).toEqual(['flush', 'flush', 'save 9'])
})

test('after a gap whose replay failed no cursor is saved any more', async () => {
  const { saver, seen } = saverOf()
  await expect(saver.holdBackFor(Promise.reject(new Error('no')))).rejects.toThrow('no')
  seen.at.seq = 9
  await saver.save()
  expect(seen.steps).toEqual(['flush'])
})

test('tells of a flush how many events it made durable', async () => {
  const flushes: number[] = []
  const { saver, seen } = saverOf({ onFlush: ({ events }) => flushes.push(events) })
  for (const [seq, events] of [
    [6, 10],
    [7, 10],
    [8, 25],
  ] as const) {
    seen.at = { seq, events }
    await saver.save()
  }
  expect(flushes).toEqual([10, 15])
})

test('on a quiet stream a database that has gone away is noticed by the clock', async () => {
  const away = new Error('away')
  const { saver, seen } = saverOf({
    sink: { handle: async () => undefined, flush: () => Promise.reject(away) },
  })
  seen.at.seq = 9
  await expect(saver.run(5, new AbortController().signal)).rejects.toBe(away)
})

test('ends with its signal', async () => {
  const { saver } = saverOf()
  const stop = new AbortController()
  const running = saver.run(60_000, stop.signal)
  await sleep(5)
  stop.abort()
  await running
})
