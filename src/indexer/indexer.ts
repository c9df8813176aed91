import type { Database } from '../database/client.ts'
import type { RetryOptions } from '../database/retry.ts'
import { messageOf } from '../errors.ts'
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
import { type AppliedEvent, type ApplyOptions, applyPlan } from './apply.ts'
import { type Handlers, handlersOf, planBatch } from './batch.ts'
import { foldEvents } from './fold.ts'
import { textLength } from './text-length.ts'

export interface IndexerOptions {
  appview: AppView
  database: Database
  /**
   * Told of records that became visible or changed, after their rows are durable; for notifications, mail, caches.
   * Never for records that a restore wrote back. Give it to live ingestion only: a replay has no side effects.
   * At most once for each change: after a crash between the rows and the call nobody calls again. What it throws is
   * logged; the rows are there, and ingestion goes on.
   */
  afterApplied?: (record: AppliedRecord) => Promise<void> | void
  /** Events in one transaction. @defaultValue 500 */
  maxBatchEvents?: number
  /**
   * Characters of text in the records of one transaction. Three times this is what the indexer holds at most.
   *
   * @defaultValue 4,000,000: some 2,000 documents; written well within a hosted project's 8 s for a statement
   */
  maxBatchChars?: number
  /** How long an event may wait for company before it is applied, in milliseconds. @defaultValue 50 */
  flushAfterMs?: number
  /** How a database that is away or gives way to others is waited for. @defaultValue as `retrying`: about 25 seconds */
  retry?: RetryOptions
  logger?: Logger
}

/** Batches on their way: one in the database, and one made ready for it meanwhile. */
const MAX_UNDER_WAY = 2

/**
 * The EventSink that writes an appview's tables. States: idle (nothing buffered), waiting (events buffered, timer
 * set), applying (one batch in the database, one made ready, and the next gathers), failed (the database stayed away
 * or refused our functions: every further call throws that error, and nothing handled after the last flush counts as
 * durable).
 *
 * Batches reach the database one after the other. While what may pass is waited for, everybody waits: a deadlock or
 * a database that is away is nobody's in particular. What is one record's own (it is refused, or takes too long
 * alone) ends as its dead letter, so that no account can hold up another.
 */
export class Indexer implements EventSink {
  readonly counts: OutcomeCounts = emptyCounts()
  readonly #options: IndexerOptions
  readonly #handlers: Handlers
  readonly #maxBatchEvents: number
  readonly #maxBatchChars: number
  readonly #logger: Logger
  #buffer: RecordEvent[] = []
  #bufferedChars = 0
  readonly #underWay = new Set<Promise<void>>()
  /** Resolves when the batch that was started last is done with, and so all before it. Never rejects. */
  #last: Promise<void> = Promise.resolve()
  #timer: NodeJS.Timeout | undefined
  #cursor: number | undefined
  #failure: unknown

  constructor(options: IndexerOptions) {
    this.#options = options
    this.#handlers = handlersOf(options.appview)
    this.#maxBatchEvents = options.maxBatchEvents ?? 500
    this.#maxBatchChars = options.maxBatchChars ?? 4_000_000
    this.#logger = options.logger ?? silentLogger
  }

  async handle(event: RecordEvent): Promise<void> {
    this.#throwIfFailed()
    if (!this.#handlers.has(event.collection)) {
      this.counts.skipped++
      // Only when nothing older is still on its way.
      if (this.#buffer.length === 0 && this.#underWay.size === 0) this.#cursor = event.seq || this.#cursor
      return
    }
    this.#buffer.push(event)
    if (event.event !== 'delete') this.#bufferedChars += textLength(event.record)
    if (this.#isFull()) await this.#startWhenFree(() => this.#isFull())
    else this.#timer ??= setTimeout(() => this.#startIfIdle(), this.#options.flushAfterMs ?? 50)
    this.#throwIfFailed()
  }

  async flush(): Promise<FlushResult> {
    await this.#startWhenFree(() => this.#buffer.length > 0)
    await this.#last
    this.#throwIfFailed()
    return { cursor: this.#cursor }
  }

  #throwIfFailed(): void {
    if (this.#failure !== undefined) throw this.#failure
  }

  #isFull(): boolean {
    return this.#buffer.length >= this.#maxBatchEvents || this.#bufferedChars >= this.#maxBatchChars
  }

  /** Starts a batch as soon as there is room for one, if it is still wanted then: somebody else may have. */
  async #startWhenFree(isWanted: () => boolean): Promise<void> {
    while (isWanted() && this.#underWay.size >= MAX_UNDER_WAY) await Promise.race(this.#underWay)
    this.#throwIfFailed()
    if (isWanted()) this.#start()
  }

  #startIfIdle(): void {
    this.#timer = undefined
    if (this.#underWay.size === 0 && this.#buffer.length > 0 && this.#failure === undefined) this.#start()
  }

  #start(): void {
    clearTimeout(this.#timer)
    this.#timer = undefined
    const events = this.#buffer
    this.#buffer = []
    this.#bufferedChars = 0
    this.#last = this.#applyAfter(this.#last, events).catch((error: unknown) => {
      this.#failure ??= error
    })
    const place = this.#last.then(() => {
      this.#underWay.delete(place)
      this.#startIfIdle()
    })
    this.#underWay.add(place)
  }

  async #applyAfter(before: Promise<void>, events: readonly RecordEvent[]): Promise<void> {
    const folded = foldEvents(events)
    const plan = planBatch(folded, this.#handlers)
    await before
    this.#throwIfFailed()
    const { database } = this.#options
    const applied = await applyPlan(database, this.#handlers, { events: folded, plan }, this.#applyOptions())
    // What a later event of the same batch replaced is as if it had come after it.
    this.counts.stale += events.length - folded.length
    for (const one of applied) {
      this.counts[one.outcome]++
      if (one.reason !== undefined) {
        const { outcome, reason } = one
        this.#logger.warn({ uri: one.event.uri.toString(), outcome, reason }, 'record not indexed')
      }
      await this.#tell(one)
    }
    this.#cursor = events.at(-1)?.seq || this.#cursor
  }

  #applyOptions(): ApplyOptions {
    const { retry } = this.#options
    const onLost = (uri: string) =>
      this.#logger.error({ uri }, 'a row that waited could not be written; its record is a dead letter')
    return retry === undefined ? { onLost } : { onLost, retry }
  }

  async #tell({ event, outcome, marked }: AppliedEvent): Promise<void> {
    const { afterApplied } = this.#options
    if (afterApplied === undefined || marked || outcome !== 'applied' || event.event === 'delete') return
    const uri = event.uri.toString()
    const { did, collection, event: kind } = event
    try {
      await afterApplied({ uri, did, collection, cid: event.cid.toString(), event: kind })
    } catch (error) {
      this.#logger.error({ uri, error: messageOf(error) }, 'afterApplied failed')
    }
  }
}

function emptyCounts(): OutcomeCounts {
  return Object.fromEntries(EVENT_OUTCOMES.map((outcome) => [outcome, 0])) as OutcomeCounts
}
