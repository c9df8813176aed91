import { setTimeout as sleep } from 'node:timers/promises'
import type { EventSink } from '../../events.ts'

export interface CursorSaverOptions {
  sink: EventSink
  saveCursor: (seq: number) => Promise<void>
  /** All up to this seq has been given to the sink. */
  handled: () => { seq: number | undefined; events: number }
  onFlush: ((flush: { events: number; ms: number }) => void) | undefined
  /** The cursor that is saved already. */
  saved: number | undefined
}

/**
 * Makes durable what the sink was given, and then the cursor. On a clock of its own and not at each frame: on a quiet
 * stream, too, a database that has gone away must be noticed.
 */
export class CursorSaver {
  readonly #options: CursorSaverOptions
  #saved: number | undefined
  #flushedEvents = 0
  #heldBack = 0
  #isClosed = false

  constructor(options: CursorSaverOptions) {
    this.#options = options
    this.#saved = options.saved
  }

  get saved(): number | undefined {
    return this.#saved
  }

  /** Saves no cursor any more, not even behind a flush that is under way: another consumer may be further by then. */
  close(): void {
    this.#isClosed = true
  }

  /** Saves no cursor until `work` has resolved; what it rejects with is the caller's to see to. */
  async holdBackFor(work: Promise<void>): Promise<void> {
    this.#heldBack++
    await work
    this.#heldBack--
  }

  /** @throws what the sink or the database say: nothing after the last saved cursor counts as durable then */
  async save(): Promise<void> {
    const { sink, saveCursor, handled, onFlush } = this.#options
    // Taken before the flush: whatever was handled by now is durable after it.
    const { seq, events } = handled()
    if (seq === undefined || seq === this.#saved) return
    const startMs = performance.now()
    await sink.flush()
    if (events > this.#flushedEvents)
      onFlush?.({ events: events - this.#flushedEvents, ms: performance.now() - startMs })
    this.#flushedEvents = events
    if (this.#heldBack > 0 || this.#isClosed) return
    await saveCursor(seq)
    this.#saved = seq
  }

  /** Saves now and then until the signal aborts. @throws as save does */
  async run(everyMs: number, signal: AbortSignal): Promise<void> {
    while (!signal.aborted) {
      await sleep(Math.max(everyMs, 1), undefined, { signal }).catch(() => undefined) // Rejects only by the signal.
      if (!signal.aborted) await this.save()
    }
  }
}
