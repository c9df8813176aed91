import type { Inngest, InngestFunction } from 'inngest'
import { messageOf } from '../errors.ts'
import { type Logger, silentLogger } from '../logger.ts'
import type { BlobSupplier } from '../pds/blobs/supply.ts'
import type { PointLimits } from '../pds/budget.ts'
import type { SessionProvider } from '../pds/session.ts'
import { FAILURE_HINT, failureMessage } from './failed-run.ts'
import { keepBlobs } from './kept-blobs.ts'
import { keepBudgets } from './kept-budgets.ts'
import { keepRequests } from './kept-requests.ts'
import { keepSessions } from './kept-sessions.ts'
import { WRITE_RECORDS_EVENT, type WriteEventData } from './request.ts'
import type { RequestStore } from './request-store.ts'
import { type Network, runWrite, type Steps, type Wait } from './run-write.ts'
import { withInngestErrors } from './step-errors.ts'

export const WRITE_RECORDS_ID = 'write-records-to-pds'

/** Five attempts a step: with Inngest's pauses some minutes, or as long as a PDS asks for by Retry-After. */
const RETRIES = 4

/**
 * Below the shortest limit of common hosts that is no choice of one's own: AWS API Gateway ends a request after 29
 * seconds. Vercel's limit is 60 seconds where nothing else is configured (10 on old free projects: set it lower there).
 */
const STEP_BUDGET_MS = 25_000

export interface WriteRecordsOptions {
  inngest: Inngest.Any
  sessionProvider: SessionProvider
  network: Network
  /** Where blobs that the PDS does not serve come from. @defaultValue none are uploaded */
  blobs?: BlobSupplier
  /** The sender's. @defaultValue none: events that refer to stored records fail */
  requests?: RequestStore
  /** An event that names another collection fails before a session is opened. @defaultValue any may be written */
  writableCollections?: readonly string[]
  /** What a PDS allows an account. @defaultValue 5,000 points an hour and 35,000 a day */
  pointLimits?: PointLimits
  /**
   * A step begins no further upload and no further batch of (up to 200) records after this time; what is under way is
   * finished, and what has been uploaded is written.
   * @defaultValue 25000
   */
  stepBudgetMs?: number
  /** What rate limits are counted by, in milliseconds since 1970. @defaultValue Date.now */
  now?: () => number
  /** Gets one line for each run that failed, and for each wait. @defaultValue none are logged */
  logger?: Logger
}

/**
 * The durable function behind the event `user/write-records-to-pds`: writes the records of the event to the account's
 * repo and returns a WriteSummary. Steps: verify-session, plan, write-batch-N, each within `stepBudgetMs` and at most
 * one upload and one batch more, and wait-after-N. A step or run that is repeated commits nothing that is there already.
 */
export function createWriteRecords(options: WriteRecordsOptions): InngestFunction.Any {
  const { inngest, sessionProvider, network, requests, logger = silentLogger, now = Date.now } = options
  const kept = keepRequests(requests, options.writableCollections)
  const tools = {
    sessions: keepSessions(sessionProvider),
    budgets: keepBudgets(options.pointLimits),
    network,
    now,
    stepBudgetMs: options.stepBudgetMs ?? STEP_BUDGET_MS,
    ...(options.blobs === undefined ? {} : { blobs: keepBlobs(options.blobs) }),
    onWait: ({ untilMs, points }: Wait) =>
      logger.info({ points }, `Waiting for the rate limit until ${new Date(untilMs).toISOString()}.`),
  }
  return inngest.createFunction(
    {
      id: WRITE_RECORDS_ID,
      triggers: [{ event: WRITE_RECORDS_EVENT }],
      retries: RETRIES,
      // Holds for steps, not for runs: two runs for one account may take turns. Each step decides by the repo's state.
      concurrency: [{ key: 'event.data.did', limit: 1 }],
      onFailure: ({ event, error }) =>
        reportFailure(
          { runId: event.data.run_id, data: event.data.event.data, error, nowMs: Date.now() },
          options,
        ),
    },
    async ({ event, step }) => {
      const request = await withInngestErrors(() => kept.read(event.data))
      const source = { did: request.did, load: () => kept.load(request) }
      const steps = durableSteps(step)
      const summary = await runWrite(steps, source, tools)
      if ('reference' in request && requests !== undefined)
        await dropRecords(steps, request, requests, logger)
      return summary
    },
  )
}

/** All is written: that a row is left over, until it is swept, makes no failure of it. */
async function dropRecords(
  steps: Steps,
  { did, reference }: Extract<WriteEventData, { reference: unknown }>,
  requests: RequestStore,
  logger: Logger,
): Promise<void> {
  try {
    await steps.run('drop-request', async () => {
      await requests.drop(reference, did)
      return { id: reference.id }
    })
  } catch (error) {
    logger.warn({ did }, `The stored request ${reference.id} could not be dropped: ${messageOf(error)}`)
  }
}

interface Failure {
  runId: string
  /** Of the event: whatever was in it. */
  data: Record<string, unknown> | undefined
  error: Error
  nowMs: number
}

async function reportFailure(
  { runId, data, error, nowMs }: Failure,
  { requests, logger = silentLogger }: Pick<WriteRecordsOptions, 'requests' | 'logger'>,
): Promise<void> {
  const did = String(data?.did)
  const message = failureMessage({ runId, did }, error.message)
  logger.error({ did, runId, errorName: error.name }, `${message} ${FAILURE_HINT}`)
  if (requests === undefined) return
  await withInngestErrors(() =>
    requests.keepFailure({
      runId,
      did,
      ...(typeof data?.run === 'string' ? { run: data.run } : {}),
      failedAtMs: nowMs,
      errorName: error.name,
      message,
      hint: FAILURE_HINT,
    }),
  )
}

interface InngestStep {
  run(id: string, body: () => Promise<object>): Promise<unknown>
  sleepUntil(id: string, time: Date): Promise<void>
}

/** A step's result comes back from JSON: `Steps` asks for results that are the same after it. */
function durableSteps(step: InngestStep): Steps {
  return {
    run: <T extends object>(id: string, body: () => Promise<T>) =>
      step.run(id, () => withInngestErrors(body)) as Promise<T>,
    waitUntil: (id, untilMs) => step.sleepUntil(id, new Date(untilMs)),
  }
}
