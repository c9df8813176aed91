import type { Inngest } from 'inngest'
import { ConfigError, type ReplayError, RestoreError } from '../errors.ts'
import { eventIdOf, idSeedOf, newAttempt, type WriteAttempt } from './attempt.ts'
import { boundedFetch, createInngest, type InngestOptions } from './client.ts'
import {
  type FollowOptions,
  followRuns,
  type Run,
  type RunsApi,
  runsStartedBy,
  unreachable,
} from './follow.ts'
import { WRITE_RECORDS_EVENT, type WriteEventData, type WriteRequest } from './request.ts'
import type { RequestStore } from './request-store.ts'
import { summaryOfRuns } from './run-output.ts'
import { MAX_INLINE_BYTES, splitForStore, splitRequest } from './split.ts'
import { addSummaries, type WriteSummary } from './summary.ts'
import { requestOf, type WriteJob } from './write-job.ts'

export interface InngestWrite extends WriteJob, FollowOptions {
  /** The server to send to. @defaultValue what the environment says to the SDK */
  inngest?: Omit<InngestOptions, 'fetch'>
  /**
   * The worker's. Requests above 64 KiB then go there, in pieces of at most 1,000 records and 4 MB, and their events
   * refer to them. @defaultValue none: all records go in events
   */
  requests?: RequestStore
  /** What an event may have at most, where records go in events. @defaultValue 262144, of Inngest's free plan */
  maxEventBytes?: number
  /**
   * Kept by the caller until this function has returned, or thrown what is no UnavailableError and no abort: called
   * again with it after a crash, the same records are sent under the same ids, and the runs that still live are
   * followed instead of joined by others. Not to be used again once the outcome is known: a run that failed would be
   * found again, not repeated. @defaultValue a new one
   */
  attempt?: WriteAttempt
}

/**
 * Has the records written by the durable function, and waits for it. They go out as events of bounded size, one after
 * the other: parents are then written before their children, and the runs of one account do not race for its repo.
 * Events that come twice are harmless all the same: the function decides by the repo's state.
 *
 * @throws SessionError, RestoreError with the message of a run that failed; UnavailableError when Inngest cannot be
 *   reached or no run starts or ends in time; ConfigError for its keys; VerificationError for records that do not fit;
 *   as the store does
 */
export async function writeThroughInngest(options: InngestWrite): Promise<WriteSummary> {
  const { signal, onProgress, requests } = options
  const request = requestOf(options)
  if (request === undefined) return addSummaries([])
  const sender = createSender(options.inngest, signal)
  const parts = requests === undefined ? splitRequest(request, options.maxEventBytes) : splitForStore(request)
  const summaries: WriteSummary[] = []
  let recordsDone = 0
  for (const [index, part] of parts.entries()) {
    signal?.throwIfAborted()
    const runs = await writePart({ request: part, number: index + 1 }, sender, options)
    summaries.push(summaryOfRuns(runs, part.did))
    recordsDone += part.records.length
    onProgress?.({ recordsDone, recordCount: request.records.length })
  }
  return addSummaries(summaries)
}

async function writePart(
  { request, number }: { request: WriteRequest; number: number },
  sender: Sender,
  options: InngestWrite,
): Promise<Run[]> {
  const send = async (attempt: WriteAttempt): Promise<string> => {
    const id = eventIdOf(attempt, number, request)
    return sender.send(await dataOf(request, id, options.requests), { id, seed: idSeedOf(attempt, id) })
  }
  if (options.attempt !== undefined) {
    const runs = await runsStartedBy(await send(options.attempt), sender.api, options)
    if (runs !== undefined) return runs
    // Inngest may have run this id before and now calls the event by another name, under which there are no runs.
  }
  return followRuns(await send(newAttempt()), sender.api, options)
}

/** @param id of the event, and of what is stored for it */
async function dataOf(
  request: WriteRequest,
  id: string,
  requests: RequestStore | undefined,
): Promise<WriteEventData> {
  if (requests === undefined || Buffer.byteLength(JSON.stringify(request)) <= MAX_INLINE_BYTES) return request
  const { records: _, ...rest } = request
  return { ...rest, reference: await requests.put(request, id) }
}

interface Sender {
  api: RunsApi
  /** @returns the id that Inngest gave the event */
  send(data: WriteEventData, as: { id: string; seed: string }): Promise<string>
}

/** The SDK sends a random one, the same for all tries of a send. */
const ID_SEED_HEADER = 'x-inngest-event-id-seed'

function createSender(settings: InngestWrite['inngest'], signal: AbortSignal | undefined): Sender {
  const fetch = boundedFetch(signal)
  /** Of the last answer to a send: the SDK's errors have it in their text only. */
  let status: number | undefined
  let isAsked = false
  let idSeed = ''
  const client = createInngest({
    ...settings,
    fetch: async (input, init) => {
      isAsked = true
      status = undefined
      const headers = new Headers(init?.headers)
      headers.set(ID_SEED_HEADER, idSeed)
      const response = await fetch(input, { ...init, headers })
      status = response.status
      return response
    },
  })
  const { signingKey } = client
  return {
    api: { baseUrl: client.apiBaseUrl, fetch, ...(signingKey === undefined ? {} : { signingKey }) },
    async send(data, { id, seed }) {
      idSeed = seed
      try {
        const { ids } = await client.send({ id, name: WRITE_RECORDS_EVENT, data })
        const [eventId] = ids
        if (eventId !== undefined) return eventId
      } catch (error) {
        signal?.throwIfAborted()
        throw isAsked ? sendError(client, status, data.did, error) : noEventKey()
      }
      throw unreachable(client.eventBaseUrl, new Error('it gave the event no id'))
    },
  }
}

function sendError(
  client: Inngest.Any,
  status: number | undefined,
  did: string,
  cause: unknown,
): ReplayError {
  const { host } = new URL(client.eventBaseUrl)
  if (status === 401 || status === 403 || status === 404) {
    return new ConfigError(`Inngest at ${host} does not accept the event key (${status}).`, {
      hint: 'Set INNGEST_EVENT_KEY to an event key of that server or environment, and check INNGEST_BASE_URL.',
    })
  }
  if (status === 413) {
    return new RestoreError(`Inngest at ${host} does not take an event as large as one with these records.`, {
      did,
      hint: 'A record is larger than the plan allows for an event: write without Inngest, or use a plan with larger events.',
    })
  }
  return unreachable(client.eventBaseUrl, cause)
}

function noEventKey(): ConfigError {
  return new ConfigError('There is no event key to send to Inngest with.', {
    hint: 'Set INNGEST_EVENT_KEY, or INNGEST_DEV=1 for a development server.',
  })
}
