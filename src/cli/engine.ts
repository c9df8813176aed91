import { type Config, SETTINGS } from '../config.ts'
import { ConfigError, messageOf, UnavailableError } from '../errors.ts'
import type { WriteSummary } from '../inngest/index.ts'
import {
  databaseRequests,
  type InngestOptions,
  type WriteAttempt,
  writeLocally,
  writeThroughInngest,
} from '../inngest/index.ts'
import type { PointLimits } from '../pds/budget.ts'
import type { Writer, WriterSummary } from '../restore/context.ts'
import { blobsOf } from './blobs.ts'
import type { CliContext } from './context.ts'
import { say } from './output.ts'
import { assertSessionAlive, type SessionProvider } from './sessions.ts'

export interface Engine {
  engine: 'inngest' | 'local'
  sessionProvider: SessionProvider
  /** Ends the writing after the batch under way; a run in Inngest goes on. */
  signal: AbortSignal
  /** Of an earlier call that did not end, or for this one. @defaultValue a new one, which no later call goes on from */
  attempt?: WriteAttempt
}

/** The engine that a command was told to write with. */
export function writerOf(context: CliContext, { engine, sessionProvider, signal, attempt }: Engine): Writer {
  return async ({ did, run, records, onConflict, onProgress }) => {
    const job = {
      did,
      run,
      records,
      onConflict,
      signal,
      onProgress: ({ recordsDone, recordCount }: { recordsDone: number; recordCount: number }) =>
        onProgress?.(recordsDone, recordCount),
    }
    const summary =
      engine === 'local'
        ? await writeLocally({
            ...job,
            sessionProvider,
            network: context.network,
            blobs: await blobsOf(context),
            pointLimits: pointLimitsOf(context.config),
            onWait: sayWait,
          })
        : await writeThroughInngest({
            ...job,
            inngest: inngestOptions(context.config),
            requests: databaseRequests(context.production),
            ...(attempt && { attempt }),
          })
    return summaryOf(did, summary)
  }
}

/**
 * Finds what would keep the engine from writing before restore marks say that it will.
 *
 * @throws SessionError, UnavailableError, ConfigError
 */
export async function assertEngineReady(
  context: CliContext,
  did: string,
  { engine, sessionProvider }: Engine,
): Promise<void> {
  if (engine === 'inngest') return assertInngest(context.config)
  await assertSessionAlive(context, sessionProvider, did)
}

export function pointLimitsOf(config: Config): PointLimits {
  return {
    perHour: Number(config.required('pointsPerHour')),
    perDay: Number(config.required('pointsPerDay')),
  }
}

/** Where Inngest is and with which keys, as configured. */
export function inngestOptions(config: Config): InngestOptions {
  const baseUrl = config.get('inngestUrl')
  const eventKey = config.get('inngestEventKey')
  const signingKey = config.get('inngestSigningKey')
  return {
    ...(config.isOn('inngestDev') ? { isDev: true } : {}),
    ...(baseUrl === undefined ? {} : { baseUrl }),
    ...(eventKey === undefined ? {} : { eventKey }),
    ...(signingKey === undefined ? {} : { signingKey }),
  }
}

const REACH_TIMEOUT_MS = 10_000

/** Whether its keys are right shows only with the first event. */
async function assertInngest(config: Config): Promise<void> {
  // INNGEST_DEV may also hold the URL of a development server.
  if (config.get('inngestEventKey') === undefined && config.get('inngestDev') === undefined) {
    throw new ConfigError('There is no event key to send to Inngest with.', {
      hint: `Set ${SETTINGS.inngestEventKey.env}, or ${SETTINGS.inngestDev.env}=1 for a development server, or give --engine local.`,
    })
  }
  const url = config.get('inngestUrl')
  if (url === undefined) return
  try {
    const answer = await fetch(url, { signal: AbortSignal.timeout(REACH_TIMEOUT_MS), redirect: 'manual' })
    await answer.body?.cancel()
  } catch (error) {
    const { cause = error } = error instanceof Error ? error : {}
    throw new UnavailableError(`Inngest at ${new URL(url).host} cannot be reached: ${messageOf(cause)}`, {
      hint: `Check ${SETTINGS.inngestUrl.env} and that the server is running, then run the same command again; or give --engine local.`,
      cause: error,
    })
  }
}

function summaryOf(
  did: string,
  { success, recordsWritten, batchCount, notWritten }: WriteSummary,
): WriterSummary {
  return {
    success,
    recordsWritten,
    batchCount,
    notWritten: notWritten.map(({ collection, rkey, outcome, refusal, reason }) => ({
      uri: `at://${did}/${collection}/${rkey}`,
      outcome,
      ...(refusal && { refusal }),
      reason,
    })),
  }
}

/** A limit of the PDS may hold a write for hours: silence would look like a hang. */
function sayWait({ untilMs }: { untilMs: number }): void {
  say(`The PDS limits writes; going on at ${new Date(untilMs).toLocaleString()}.`)
}
