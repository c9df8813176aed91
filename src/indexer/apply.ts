import { z } from 'zod'
import type { Database } from '../database/client.ts'
import { isTooMuch } from '../database/failure.ts'
import { type RetryOptions, retrying } from '../database/retry.ts'
import { DatabaseError, type ReplayError, UnavailableError } from '../errors.ts'
import type { EventOutcome, RecordEvent } from '../events.ts'
import { type Batch, type BatchPlan, type Handlers, planBatch, type Verdict } from './batch.ts'
import { type FailedEvent, writeDeadLetters } from './dead-letters.ts'

const answerShape = z
  .object({
    stale: z.array(z.string()),
    changed: z.array(z.string()),
    parked: z.array(z.string()),
    marked: z.array(z.string()),
    lost: z.array(z.string()),
  })
  .transform(({ stale, changed, parked, marked, lost }) => ({
    stale: new Set(stale),
    changed: new Set(changed),
    parked: new Set(parked),
    marked: new Set(marked),
    lost,
  }))

/** By URI, what the database says of a batch's records. */
type Answer = z.infer<typeof answerShape>

const NOTHING: Answer = {
  stale: new Set(),
  changed: new Set(),
  parked: new Set(),
  marked: new Set(),
  lost: [],
}

export interface AppliedEvent {
  event: RecordEvent
  outcome: EventOutcome
  /** Why, where the outcome is not the record's own doing. */
  reason?: string
  /** The record is one that a restore wrote back: no side effects for it. */
  marked: boolean
}

export interface ApplyOptions {
  /** How what may pass is waited for. */
  retry?: RetryOptions
  /**
   * Told of records that waited, whose turn came with this batch, and whose rows the database refused: they are dead
   * letters now.
   */
  onLost?: (uri: string) => void
}

/** Events, one per record, and the batch made of them. */
export interface PlannedEvents {
  events: readonly RecordEvent[]
  plan: BatchPlan
}

/**
 * Applies events, one per record, and says what became of each. A batch that the database refuses, or has no time
 * for, is halved until the record that is at fault stands alone; that one becomes a dead letter, the others are
 * applied.
 *
 * @throws UnavailableError when the database stays away through all attempts: nothing of the batch is lost
 * @throws ConfigError when our functions are missing or the key may not call them
 */
export function applyEvents(
  database: Database,
  handlers: Handlers,
  events: readonly RecordEvent[],
  options: ApplyOptions = {},
): Promise<AppliedEvent[]> {
  return applyPlan(database, handlers, { events, plan: planBatch(events, handlers) }, options)
}

/** As `applyEvents`, of a batch that is made already. */
export async function applyPlan(
  database: Database,
  handlers: Handlers,
  { events, plan: { batch, verdicts } }: PlannedEvents,
  options: ApplyOptions = {},
): Promise<AppliedEvent[]> {
  const answer = await applyBatch(database, batch, options)
  if (answer instanceof Error) {
    const [only] = events
    if (only === undefined) return []
    if (events.length === 1) return [await buryEvent(database, only, answer, options)]
    const middle = events.length >> 1
    return [
      ...(await applyEvents(database, handlers, events.slice(0, middle), options)),
      ...(await applyEvents(database, handlers, events.slice(middle), options)),
    ]
  }
  for (const uri of answer.lost) options.onLost?.(uri)
  await writeDeadLetters(database, failedOf(events, verdicts), options.retry)
  return events.map((event) => outcomeOf(event, answer, verdicts.get(event.uri.toString())))
}

/**
 * Unique and foreign key violations. Our function looks before it writes, so one of these means that another writer
 * was between the look and the write; seen again, its row is there, and who has a contested key is settled.
 */
const RACES = new Set(['23505', '23503'])
const RACE_ATTEMPTS = 5

/** Attempts at a record that takes too long by itself. Each may last as long as a statement may. */
const SLOW_ATTEMPTS = 3

/** The database's answer, or why it refuses this batch, as a value: the caller halves the batch. */
async function applyBatch(
  database: Database,
  batch: Batch,
  { retry }: ApplyOptions,
  attempt = 1,
): Promise<Answer | ReplayError> {
  if (batch.records.length === 0) return NOTHING
  // Halves are tried at once: waiting would only keep everybody from what is small enough.
  const slowAttempts = batch.records.length === 1 ? SLOW_ATTEMPTS : 1
  const giveUpOn = (error: unknown, attempts: number) => isTooMuch(error) && attempts >= slowAttempts
  const call = () => database.call('firehose_replay_apply', batch)
  try {
    return answerShape.parse(await retrying(call, { ...retry, giveUpOn }))
  } catch (error) {
    if (error instanceof UnavailableError && isTooMuch(error)) return error
    if (!(error instanceof DatabaseError)) throw error
    if (!RACES.has(error.code) || attempt >= RACE_ATTEMPTS) return error
    return applyBatch(database, batch, { ...(retry && { retry }) }, attempt + 1)
  }
}

/** Keeps the one event that cannot be applied as a dead letter. */
async function buryEvent(
  database: Database,
  event: RecordEvent,
  error: ReplayError,
  { retry }: ApplyOptions,
): Promise<AppliedEvent> {
  // A database that takes too long for anything at all is waited for: the fault is not this record's.
  if (!(error instanceof DatabaseError)) {
    await retrying(
      () => database.call('firehose_replay_apply', { records: [], derives: [], steps: [] }),
      retry,
    )
  }
  const code = error instanceof DatabaseError ? error.code : 'TOO_SLOW'
  await writeDeadLetters(database, [{ event, code, error: error.message }], retry)
  return { event, outcome: 'dead-lettered', reason: error.message, marked: false }
}

function failedOf(events: readonly RecordEvent[], verdicts: ReadonlyMap<string, Verdict>): FailedEvent[] {
  return events.flatMap((event) => {
    const verdict = verdicts.get(event.uri.toString())
    if (verdict?.outcome !== 'dead-lettered') return []
    return [{ event, code: verdict.code, error: verdict.reason }]
  })
}

function outcomeOf(event: RecordEvent, answer: Answer, verdict: Verdict | undefined): AppliedEvent {
  const uri = event.uri.toString()
  const marked = answer.marked.has(uri)
  if (answer.stale.has(uri)) return { event, outcome: 'stale', marked }
  if (verdict !== undefined) return { event, outcome: verdict.outcome, reason: verdict.reason, marked }
  if (answer.changed.has(uri)) return { event, outcome: 'applied', marked }
  return { event, outcome: answer.parked.has(uri) ? 'parked' : 'unchanged', marked }
}
