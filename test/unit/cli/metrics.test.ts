import { expect, test } from 'vitest'
import { createMetrics, lagSeconds, lagSeqs } from '../../../src/cli/metrics.ts'
import { EVENT_OUTCOMES, type OutcomeCounts } from '../../../src/events.ts'
import { newLiveStatus } from '../../../src/firehose/live.ts'

const noCounts = () => Object.fromEntries(EVENT_OUTCOMES.map((outcome) => [outcome, 0])) as OutcomeCounts

function metricsOf() {
  const status = newLiveStatus()
  const counts = noCounts()
  const metrics = createMetrics({
    status,
    outcomes: () => counts,
    waiting: async () => ({ parked: 3, deadLetters: 4 }),
  })
  const value = async (name: string) => {
    const line = (await metrics.render())
      .split('\n')
      .find((each) => each.startsWith(`firehose_replay_${name} `))
    return line?.split(' ')[1]
  }
  return { status, counts, metrics, value }
}

test('every outcome has a series from the start, and counters say what is, not what was added', async () => {
  const { counts, status, value } = metricsOf()
  for (const outcome of EVENT_OUTCOMES) expect(await value(`events_total{outcome="${outcome}"}`)).toBe('0')
  counts.applied = 5
  status.frames.broken = 2
  for (let scrape = 0; scrape < 2; scrape++) {
    expect(await value('events_total{outcome="applied"}')).toBe('5')
    expect(await value('frames_total{outcome="broken"}')).toBe('2')
  }
})

test('what is not known is no number; what waits is', async () => {
  const { status, value } = metricsOf()
  expect(await value('lag_seconds')).toBe('Nan')
  expect(await value('saved_seq')).toBe('Nan')
  expect([await value('parked'), await value('dead_letters')]).toEqual(['3', '4'])
  Object.assign(status, { receivedSeq: 20, savedSeq: 12, queuedFrames: 7, queuedBytes: 900 })
  expect([await value('lag_seqs'), await value('queue_frames'), await value('queue_bytes')]).toEqual([
    '8',
    '7',
    '900',
  ])
})

test('flushes by time and size', async () => {
  const { metrics, value } = metricsOf()
  metrics.observeFlush({ events: 50, ms: 20 })
  expect(await value('flush_seconds_sum')).toBe('0.02')
  expect(await value('flush_events_bucket{le="100"}')).toBe('1')
})

test('events of replays are counted beside those that came live', async () => {
  const metrics = createMetrics({
    status: newLiveStatus(),
    outcomes: noCounts,
    replayed: () => ({ ...noCounts(), applied: 7 }),
    waiting: async () => ({ parked: 0, deadLetters: 0 }),
  })
  const text = await metrics.render()
  expect(text).toContain('firehose_replay_replayed_events_total{outcome="applied"} 7')
  expect(text).toContain('firehose_replay_events_total{outcome="applied"} 0')
})

test('two consumers in one process do not share a registry', () => {
  expect(() => [metricsOf(), metricsOf()]).not.toThrow()
})

test('a quiet stream does not lag, one with work waiting does', () => {
  const status = { ...newLiveStatus(), receivedSeq: 5, handledSeq: 5, handledTimeMs: 1000, handledLagMs: 250 }
  expect(lagSeconds(status, 100_000)).toBe(0.25)
  expect(lagSeconds({ ...status, receivedSeq: 6 }, 61_000)).toBe(60)
  expect(lagSeqs({ ...status, savedSeq: 9 })).toBe(0)
})
