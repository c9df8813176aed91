import { expect, test } from 'vitest'
import type { EventSink, RecordEvent } from '../../../src/events.ts'
import { alternatingSink } from '../../../src/firehose/alternating-sink.ts'

function recorder(cursor?: number) {
  const seqs: number[] = []
  const sink: EventSink & { flushes: number } = {
    flushes: 0,
    handle: async ({ seq }) => void seqs.push(seq),
    async flush() {
      this.flushes++
      return { cursor }
    },
  }
  return { seqs, sink }
}
const event = (seq: number) => ({ seq }) as RecordEvent

test('deals runs of events in turns, and flushes all', async () => {
  const [a, b] = [recorder(4), recorder(undefined)]
  const sink = alternatingSink([a.sink, b.sink], 2)
  for (let seq = 1; seq <= 7; seq++) await sink.handle(event(seq))
  expect(a.seqs).toEqual([1, 2, 5, 6])
  expect(b.seqs).toEqual([3, 4, 7])
  expect(await sink.flush()).toEqual({ cursor: 4 })
  expect([a.sink.flushes, b.sink.flushes]).toEqual([1, 1])
})

test('a flush that fails waits for the others, and fails', async () => {
  const good = recorder()
  const failing: EventSink = { handle: async () => undefined, flush: () => Promise.reject(new Error('away')) }
  const sink = alternatingSink([failing, good.sink], 1)
  await expect(sink.flush()).rejects.toThrow('away')
  expect(good.sink.flushes).toBe(1)
})
