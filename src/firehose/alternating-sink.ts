import type { EventSink, FlushResult, RecordEvent } from '../events.ts'

/**
 * Deals events to sinks in turns, so many to each at a time: while one waits for its database, another's events are on
 * their way there. For sinks that decide by revision which event of a record is the newer one, as each of two may be
 * ahead; a repo has each record once, so that there it makes no difference at all.
 *
 * @param runLength events in a row for one sink: as many as it applies at once, or it waits for company
 */
export function alternatingSink(sinks: readonly [EventSink, ...EventSink[]], runLength: number): EventSink {
  let count = 0
  return {
    handle(event: RecordEvent): Promise<void> {
      const sink = sinks[Math.floor(count++ / runLength) % sinks.length] ?? sinks[0]
      return sink.handle(event)
    },
    async flush(): Promise<FlushResult> {
      const flushed = await Promise.allSettled(sinks.map((sink) => sink.flush()))
      const cursors: number[] = []
      for (const result of flushed) {
        if (result.status === 'rejected') throw result.reason
        if (result.value.cursor !== undefined) cursors.push(result.value.cursor)
      }
      // All of them have flushed: what the furthest has seen is as safe as the rest.
      return { cursor: cursors.length === 0 ? undefined : Math.max(...cursors) }
    },
  }
}
