import { randomUUID } from 'node:crypto'
import type { Inngest } from 'inngest'
import { ConfigError, type ReplayError, RestoreError } from '../errors.ts'
import { boundedFetch, createInngest, type InngestOptions } from './client.ts'
import { type FollowOptions, followRuns, type RunsApi, unreachable } from './follow.ts'
import { WRITE_RECORDS_EVENT, type WriteRequest } from './request.ts'
import { summaryOfRuns } from './run-output.ts'
import { splitRequest } from './split.ts'
import { addSummaries, type WriteSummary } from './summary.ts'
import { requestOf, type WriteJob } from './write-job.ts'

export interface InngestWrite extends WriteJob, FollowOptions {
  /** The server to send to. @defaultValue what the environment says to the SDK */
  inngest?: Omit<InngestOptions, 'fetch'>
}

/**
 * Has the records written by the durable function, and waits for it. They go out as events of at most 240,000 bytes,
 * one after the other: parents are then written before their children, and the runs of one account do not race for
 * its repo.
 *
 * An event's own id is new with each call. One made from the records would not be run a second time within 24 hours,
 * not even after a failure, and its repetition could not be followed; that no record is written twice is seen to by
 * the function, which decides by the repo's state. Within a call a request that is repeated has the same id.
 *
 * @throws SessionError, RestoreError with the message of a run that failed; UnavailableError when Inngest cannot be
 *   reached or no run starts or ends in time; ConfigError for its keys; VerificationError for records that do not fit
 */
export async function writeThroughInngest(options: InngestWrite): Promise<WriteSummary> {
  const { signal, onProgress } = options
  const request = requestOf(options)
  if (request === undefined) return addSummaries([])
  const sender = createSender(options.inngest, signal)
  const attempt = randomUUID()
  const summaries: WriteSummary[] = []
  let recordsDone = 0
  for (const [index, part] of splitRequest(request).entries()) {
    signal?.throwIfAborted()
    const eventId = await sender.send(part, `${attempt}-${index + 1}`)
    summaries.push(summaryOfRuns(await followRuns(eventId, sender.api, options), part.did))
    recordsDone += part.records.length
    onProgress?.({ recordsDone, recordCount: request.records.length })
  }
  return addSummaries(summaries)
}

interface Sender {
  api: RunsApi
  /** @returns the id that Inngest gave the event */
  send(request: WriteRequest, id: string): Promise<string>
}

function createSender(settings: InngestWrite['inngest'], signal: AbortSignal | undefined): Sender {
  const fetch = boundedFetch(signal)
  /** Of the last answer to a send: the SDK's errors have it in their text only. */
  let status: number | undefined
  let isAsked = false
  const client = createInngest({
    ...settings,
    fetch: async (input, init) => {
      isAsked = true
      status = undefined
      const response = await fetch(input, init)
      status = response.status
      return response
    },
  })
  const { signingKey } = client
  return {
    api: { baseUrl: client.apiBaseUrl, fetch, ...(signingKey === undefined ? {} : { signingKey }) },
    async send(data, id) {
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
