import { Counter, collectDefaultMetrics, Gauge, Histogram, Registry } from 'prom-client'
import type { OutcomeCounts } from '../events.ts'
import type { LiveStatus } from '../firehose/live.ts'

export interface MetricsSource {
  status: LiveStatus
  /** Events by outcome; undefined where a consumer of the operator's own indexes them, who alone knows. */
  outcomes: () => OutcomeCounts | undefined
  /** Events of replays that the consumer itself began, by outcome, in the same words. @defaultValue none */
  replayed?: () => OutcomeCounts
  /** Rows in the database, as far as they are known: it must answer soon, even where the database does not. */
  waiting: () => Promise<WaitingCounts>
}

export interface WaitingCounts {
  /** Undefined: never counted yet. */
  parked: number | undefined
  deadLetters: number | undefined
  /** The database has not answered lately: these are of before. @defaultValue false */
  isStale?: boolean
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
  byOutcome(
    'replayed_events_total',
    'Record events of replays, of broken repos and of gaps, by what became of them.',
    () => source.replayed?.(),
  )
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
  const countWaiting = waitingGauges(registry, source.waiting)
  const flushSeconds = new Histogram({
    name: `${PREFIX}flush_seconds`,
    help: 'Time that a flush took to make durable what was handled, in seconds.',
    buckets: [0.01, 0.05, 0.1, 0.5, 1, 5, 30],
    registers: [registry],
  })
  const flushEvents = new Histogram({
    name: `${PREFIX}flush_events`,
    help: 'Record events that a flush made durable.',
    buckets: [1, 10, 100, 1000, 10_000],
    registers: [registry],
  })
  return {
    contentType: registry.contentType,
    async render() {
      await countWaiting()
      return registry.metrics()
    },
    observeFlush({ events, ms }) {
      flushSeconds.observe(ms / 1000)
      flushEvents.observe(events)
    },
  }
}

/** @returns what reads them anew. The registry asks its metrics side by side: one could not wait for another. */
function waitingGauges(registry: Registry, read: MetricsSource['waiting']): () => Promise<void> {
  const gauge = (name: string, help: string) =>
    new Gauge({ name: PREFIX + name, help, registers: [registry] })
  const parked = gauge('parked', 'Rows that wait for another one.')
  const deadLetters = gauge('dead_letters', 'Events that could not be applied.')
  const isStale = gauge(
    'database_counts_stale',
    '1 while the database does not answer: parked and dead_letters are then those of before.',
  )
  return async () => {
    const counts = await read()
    parked.set(counts.parked ?? Number.NaN)
    deadLetters.set(counts.deadLetters ?? Number.NaN)
    isStale.set(Number(counts.isStale ?? false))
  }
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
