import type { Database } from '../database/client.ts'
import {
  type AppliedRecord,
  type AppView,
  EVENT_OUTCOMES,
  type EventSink,
  type FlushResult,
  type OutcomeCounts,
  type RecordEvent,
} from '../events.ts'
import { type Logger, silentLogger } from '../logger.ts'
import { type AppliedEvent, applyEvents } from './apply.ts'
import { type Handlers, handlersOf } from './batch.ts'
import { foldEvents } from './fold.ts'

export interface IndexerOptions {
  appview: AppView
  database: Database
  /**
   * Told of records that became visible or changed, after their rows are durable; for notifications, mail, caches.
   * Never for records that a restore wrote back. Give it to live ingestion only: a replay has no side effects.
   * At least once: a crash between the rows and the call repeats nothing, one during the call may.
   */
  afterApplied?: (record: AppliedRecord) => Promise<void> | void
  /** Events in one transaction. @defaultValue 500 */
  maxBatchEvents?: number
  /** How long an event may wait for company before it is applied, in milliseconds. @defaultValue 50 */
  flushAfterMs?: number
  logger?: Logger
}

/**
 * The EventSink that writes an appview's tables. States: idle (nothing buffered), waiting (events buffered, timer
 * set), applying (one batch in the database while the next gathers), failed (the database stayed away or refused
 * our functions: every further call throws that error, and nothing handled after the last flush counts as durable).
 */
export class Indexer implements EventSink {
  readonly counts: OutcomeCounts = emptyCounts()
  readonly #options: IndexerOptions
  readonly #handlers: Handlers
  readonly #maxBatchEvents: number
  readonly #logger: Logger
  #buffer: RecordEvent[] = []
  #applying: Promise<void> | undefined
  #timer: NodeJS.Timeout | undefined
  #cursor: number | undefined
  #failure: unknown

  constructor(options: IndexerOptions) {
    this.#options = options
    this.#handlers = handlersOf(options.appview)
    this.#maxBatchEvents = options.maxBatchEvents ?? 500
    this.#logger = options.logger ?? silentLogger
  }

  async handle(event: RecordEvent): Promise<void> {
    this.#throwIfFailed()
    if (!this.#handlers.has(event.collection)) {
      this.counts.skipped++
      // Only when nothing older is still on its way.
      if (this.#buffer.length === 0 && this.#applying === undefined) this.#cursor = event.seq || this.#cursor
      return
    }
    this.#buffer.push(event)
    if (this.#buffer.length >= this.#maxBatchEvents) {
      // One batch may be in the database while the next gathers; a third has to wait.
      if (this.#applying !== undefined) await this.#applying
      else this.#apply()
    } else {
      this.#timer ??= setTimeout(() => this.#apply(), this.#options.flushAfterMs ?? 50)
    }
    this.#throwIfFailed()
  }

  async flush(): Promise<FlushResult> {
    while (this.#buffer.length > 0 || this.#applying !== undefined) {
      this.#throwIfFailed()
      if (this.#applying === undefined) this.#apply()
      await this.#applying
    }
    this.#throwIfFailed()
    return { cursor: this.#cursor }
  }

  #throwIfFailed(): void {
    if (this.#failure !== undefined) throw this.#failure
  }

  /** Starts applying what is buffered, one batch after another, unless that is going on already. */
  #apply(): void {
    clearTimeout(this.#timer)
    this.#timer = undefined
    this.#applying ??= this.#applyBuffered().finally(() => {
      this.#applying = undefined
    })
  }

  async #applyBuffered(): Promise<void> {
    try {
      while (this.#buffer.length > 0) {
        const events = this.#buffer
        this.#buffer = []
        await this.#applyBatch(events)
        this.#cursor = events.at(-1)?.seq || this.#cursor
      }
    } catch (error) {
      this.#failure = error
    }
  }

  async #applyBatch(events: readonly RecordEvent[]): Promise<void> {
    const folded = foldEvents(events)
    // What a later event of the same batch replaced is as if it had come after it.
    this.counts.stale += events.length - folded.length
    for (const applied of await applyEvents(this.#options.database, this.#handlers, folded)) {
      this.counts[applied.outcome]++
      if (applied.reason !== undefined) {
        const { outcome, reason } = applied
        this.#logger.warn({ uri: applied.event.uri.toString(), outcome, reason }, 'record not indexed')
      }
      await this.#tell(applied)
    }
  }

  async #tell({ event, outcome, marked }: AppliedEvent): Promise<void> {
    const { afterApplied } = this.#options
    if (afterApplied === undefined || marked || outcome !== 'applied' || event.event === 'delete') return
    await afterApplied({
      uri: event.uri.toString(),
      did: event.did,
      collection: event.collection,
      cid: event.cid.toString(),
      event: event.event,
    })
  }
}

function emptyCounts(): OutcomeCounts {
  return Object.fromEntries(EVENT_OUTCOMES.map((outcome) => [outcome, 0])) as OutcomeCounts
}
