import { setTimeout as wait } from 'node:timers/promises'
import { z } from 'zod'
import { ConfigError, messageOf, ReplayError, UnavailableError } from '../errors.ts'

const runSchema = z.object({ run_id: z.string(), status: z.string(), output: z.unknown() })
export type Run = z.infer<typeof runSchema>
const runsSchema = z.object({ data: z.array(runSchema).nullable() })

export interface RunsApi {
  /** Of Inngest's REST API. */
  baseUrl: string
  signingKey?: string
  fetch: typeof globalThis.fetch
}

export interface FollowOptions {
  /** Pause between two looks. @defaultValue 1000 */
  pollMs?: number
  /** From the call until the runs have ended. @defaultValue 86400000, a day: a PDS may limit writes for that long */
  timeoutMs?: number
  /** From the call until there is a run at all. @defaultValue 60000 */
  startTimeoutMs?: number
  /** Ends the waiting, not the runs; its reason is thrown. */
  signal?: AbortSignal
}

const DAY_MS = 24 * 60 * 60 * 1000
const START_TIMEOUT_MS = 60_000
/** In a row: a server that is restarted meanwhile must not end the waiting. */
const MAX_FAILED_LOOKS = 10
const ENDED: ReadonlySet<string> = new Set(['completed', 'failed', 'cancelled', 'skipped'])

/**
 * Waits until every run that an event started has ended.
 *
 * @param eventId the id that Inngest gave the event, not the event's own
 * @throws UnavailableError when no run starts, they do not end in time, or Inngest does not answer; ConfigError when
 *   it does not accept the signing key
 */
export async function followRuns(eventId: string, api: RunsApi, options: FollowOptions = {}): Promise<Run[]> {
  const runs = await runsStartedBy(eventId, api, options)
  if (runs !== undefined) return runs
  throw notStarted(api.baseUrl, options.startTimeoutMs ?? START_TIMEOUT_MS)
}

/** As {@link followRuns}, but undefined when no run starts. */
export async function runsStartedBy(
  eventId: string,
  api: RunsApi,
  options: FollowOptions = {},
): Promise<Run[] | undefined> {
  const { pollMs = 1000, timeoutMs = DAY_MS, startTimeoutMs = START_TIMEOUT_MS, signal } = options
  const startedAtMs = Date.now()
  let failedLooks = 0
  for (;;) {
    signal?.throwIfAborted()
    const runs = await runsOf(eventId, api).catch((error: unknown) => {
      failedLooks++
      if (failedLooks < MAX_FAILED_LOOKS && error instanceof UnavailableError) return undefined
      throw error
    })
    if (runs !== undefined) failedLooks = 0
    if (runs !== undefined && runs.length > 0 && runs.every(hasEnded)) return runs
    const waitedMs = Date.now() - startedAtMs
    if (runs?.length === 0 && waitedMs > startTimeoutMs) return undefined
    if (waitedMs > timeoutMs) throw notEnded(timeoutMs)
    await pause(pollMs, signal)
  }
}

function hasEnded({ status }: Run): boolean {
  return ENDED.has(status.toLowerCase())
}

/** @throws the signal's reason */
export async function pause(ms: number, signal: AbortSignal | undefined): Promise<void> {
  try {
    await wait(ms, undefined, signal === undefined ? {} : { signal })
  } catch (error) {
    // The timer ends in an AbortError of its own; the caller's reason says more.
    signal?.throwIfAborted()
    throw error
  }
}

async function runsOf(eventId: string, { baseUrl, signingKey, fetch }: RunsApi): Promise<Run[]> {
  const url = new URL(`/v1/events/${encodeURIComponent(eventId)}/runs`, baseUrl)
  const headers: Record<string, string> =
    signingKey === undefined ? {} : { authorization: `Bearer ${signingKey}` }
  try {
    const response = await fetch(url, { headers })
    // Not stored yet: the event API answers before it has.
    if (response.status === 404) return []
    if (response.status === 401 || response.status === 403) throw notAuthorized(url.host)
    if (!response.ok) throw new Error(`it answered ${response.status}`)
    return runsSchema.parse(await response.json()).data ?? []
  } catch (error) {
    if (error instanceof ReplayError) throw error
    throw unreachable(baseUrl, error)
  }
}

/** @param cause what the request ended in */
export function unreachable(baseUrl: string, cause: unknown): UnavailableError {
  const problem = cause instanceof Error && cause.cause instanceof Error ? cause.cause : cause
  return new UnavailableError(
    `Inngest at ${new URL(baseUrl).host} could not be asked: ${messageOf(problem)}`,
    {
      hint: 'Check that INNGEST_BASE_URL names your Inngest server and that it is running, then run the same command again.',
      cause,
    },
  )
}

function notAuthorized(host: string): ConfigError {
  return new ConfigError(`Inngest at ${host} does not accept the signing key.`, {
    hint: 'Set INNGEST_SIGNING_KEY to the signing key of that server or environment.',
  })
}

function notStarted(baseUrl: string, startTimeoutMs: number): UnavailableError {
  const seconds = Math.round(startTimeoutMs / 1000)
  return new UnavailableError(`Inngest took the event, but no function started on it within ${seconds} s.`, {
    hint: `Check that the app that serves write-records-to-pds is running and registered with Inngest at ${new URL(baseUrl).host}, then run the same command again.`,
  })
}

function notEnded(timeoutMs: number): UnavailableError {
  return new UnavailableError(`The run had not ended after ${Math.round(timeoutMs / 1000)} s.`, {
    hint: 'It goes on without us. Look at it in Inngest, or run the same command again later: what is written is not written twice.',
  })
}
