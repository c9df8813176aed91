import { Counter, collectDefaultMetrics, Gauge, Histogram, Registry } from 'prom-client'
import type { OutcomeCounts } from '../events.ts'
import type { LiveStatus } from '../firehose/live.ts'

export interface MetricsSource {
  status: LiveStatus
  /** Events by outcome; undefined where a consumer of the operator's own indexes them, who alone knows. */
  outcomes: () => OutcomeCounts | undefined
  /** Rows in the database, counted when they are asked for. */
  waiting: () => Promise<{ parked: number; deadLetters: number }>
}

export interface Metrics {
  contentType: string
  /** All metrics in Prometheus' text format. */
  render(): Promise<string>
  observeFlush(flush: { events: number; ms: number }): void
}

const PREFIX = 'firehose_replay_'

/** The live consumer's metrics, read from its status when they are asked for: nothing to keep in step. */
export function createMetrics(source: MetricsSource): Metrics {
  const registry = new Registry()
  collectDefaultMetrics({ register: registry })
  const { status } = source
  const gauge = (name: string, help: string, read: () => number | undefined): void => {
    new Gauge({
      name: PREFIX + name,
      help,
      registers: [registry],
      collect() {
        this.set(read() ?? Number.NaN)
      },
    })
  }
  const counter = (name: string, help: string, read: () => number): void => {
    new Counter({
      name: PREFIX + name,
      help,
      registers: [registry],
      collect() {
        this.reset()
        this.inc(read())
      },
    })
  }
  const byOutcome = (
    name: string,
    help: string,
    read: () => Readonly<Record<string, number>> | undefined,
  ): void => {
    new Counter({
      name: PREFIX + name,
      help,
      labelNames: ['outcome'],
      registers: [registry],
      collect() {
        this.reset()
        for (const [outcome, count] of Object.entries(read() ?? {})) this.inc({ outcome }, count)
      },
    })
  }

  byOutcome('events_total', 'Record events by what became of them.', source.outcomes)
  byOutcome('frames_total', 'Messages of the firehose by what became of them.', () => status.frames)
  counter('failed_events_total', 'Events that the handler rejected for good.', () => status.failedEvents)
  counter('unreadable_records_total', 'Records that cannot be read.', () => status.unreadableRecords)
  counter('connections_total', 'Connections to the relay.', () => status.connections)
  counter('gaps_total', 'Times that frames were missed for good.', () => status.gaps)
  gauge('connected', '1 while connected to the relay.', () => Number(status.isConnected))
  gauge('replays', 'Replays under way, of broken repos and of gaps.', () => status.replays)
  gauge('queue_frames', 'Frames that wait or are under way.', () => status.queuedFrames)
  gauge('queue_bytes', 'Their bytes.', () => status.queuedBytes)
  gauge('received_seq', 'seq of the last frame received.', () => status.receivedSeq)
  gauge('saved_seq', 'The saved cursor.', () => status.savedSeq)
  gauge('lag_seconds', 'Age of the last frame handled, when it was or while others wait.', () =>
    lagSeconds(status),
  )
  gauge('lag_seqs', 'From the saved cursor to the last frame received.', () => lagSeqs(status))
  waitingGauges(registry, source.waiting)
  const flushSeconds = new Histogram({
    name: `${PREFIX}flush_seconds`,
    help: 'Time to make durable what was handled.',
    buckets: [0.01, 0.05, 0.1, 0.5, 1, 5, 30],
    registers: [registry],
  })
  const flushCommits = new Histogram({
    name: `${PREFIX}flush_commits`,
    help: 'Commits of ours that a flush made durable.',
    buckets: [1, 10, 100, 1000, 10_000],
    registers: [registry],
  })
  return {
    contentType: registry.contentType,
    render: () => registry.metrics(),
    observeFlush({ events, ms }) {
      flushSeconds.observe(ms / 1000)
      flushCommits.observe(events)
    },
  }
}

function waitingGauges(registry: Registry, read: MetricsSource['waiting']): void {
  const parked = new Gauge({
    name: `${PREFIX}parked`,
    help: 'Rows that wait for another one.',
    registers: [registry],
    async collect() {
      const counts = await read()
      parked.set(counts.parked)
      deadLetters.set(counts.deadLetters)
    },
  })
  const deadLetters = new Gauge({
    name: `${PREFIX}dead_letters`,
    help: 'Events that could not be applied.',
    registers: [registry],
  })
}

/** While nothing waits, a stream that is quiet is not one that lags. */
export function lagSeconds(status: LiveStatus, nowMs = Date.now()): number | undefined {
  const { handledTimeMs, handledLagMs, receivedSeq, handledSeq } = status
  if (handledTimeMs === undefined || handledLagMs === undefined) return undefined
  return (receivedSeq === handledSeq ? handledLagMs : Math.max(0, nowMs - handledTimeMs)) / 1000
}

export function lagSeqs({ receivedSeq, savedSeq }: LiveStatus): number | undefined {
  return receivedSeq === undefined || savedSeq === undefined ? undefined : Math.max(0, receivedSeq - savedSeq)
}
