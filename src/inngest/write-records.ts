import type { Inngest, InngestFunction } from 'inngest'
import { type Logger, silentLogger } from '../logger.ts'
import type { PointLimits } from '../pds/budget.ts'
import type { SessionProvider } from '../pds/session.ts'
import { keepBudgets } from './kept-budgets.ts'
import { keepSessions } from './kept-sessions.ts'
import { parseWriteRequest, WRITE_RECORDS_EVENT } from './request.ts'
import { type Network, runWrite, type Steps, type Wait } from './run-write.ts'
import { withInngestErrors } from './step-errors.ts'

export const WRITE_RECORDS_ID = 'write-records-to-pds'

/** Five attempts a step: with Inngest's pauses some minutes, or as long as a PDS asks for by Retry-After. */
const RETRIES = 4

export interface WriteRecordsOptions {
  inngest: Inngest.Any
  sessionProvider: SessionProvider
  network: Network
  /** What a PDS allows an account. @defaultValue 5,000 points an hour and 35,000 a day */
  pointLimits?: PointLimits
  /** What rate limits are counted by, in milliseconds since 1970. @defaultValue Date.now */
  now?: () => number
  /** Gets one line for each run that failed. @defaultValue none are logged */
  logger?: Logger
}

/**
 * The durable function behind the event `user/write-records-to-pds`: writes the records of the event to the account's
 * repo and returns a WriteSummary. Steps: verify-session, plan, write-batch-N. A run that is repeated commits nothing.
 */
export function createWriteRecords(options: WriteRecordsOptions): InngestFunction.Any {
  const { inngest, sessionProvider, network, logger = silentLogger, now = Date.now } = options
  const tools = {
    sessions: keepSessions(sessionProvider),
    budgets: keepBudgets(options.pointLimits),
    network,
    now,
    batchesPerStep: 1,
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
      onFailure: ({ event, error }) => {
        const { event: original, run_id: runId } = event.data
        const did = String(original.data?.did)
        logger.error({ did, runId }, `Records of ${did} were not all written: ${error.message}`)
      },
    },
    async ({ event, step }) => {
      const request = await withInngestErrors(() => parseWriteRequest(event.data))
      return runWrite(durableSteps(step), request, tools)
    },
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
