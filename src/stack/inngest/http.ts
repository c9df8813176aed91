import type { IncomingMessage } from 'node:http'
import { messageOf } from '../../errors.ts'
import type { Json, JsonObject } from '../../events.ts'
import type { Executor } from './executor.ts'
import type { Run } from './run.ts'
import { isAuthorized } from './signature.ts'
import { stepOps } from './transition.ts'
import { ulid } from './ulid.ts'

export interface Answer {
  status: number
  body: Json
}

export interface Keys {
  eventKey: string
  signingKey: string | undefined
}

/** The server's HTTP interface, as far as an SDK and a client that follows its runs use it. */
export async function answer(request: IncomingMessage, executor: Executor, keys: Keys): Promise<Answer> {
  const path = new URL(request.url ?? '/', 'http://localhost').pathname
  const [first, second, third, fourth] = path.slice(1).split('/').map(decodeURIComponent)
  const route = `${request.method} ${first}/${second}`
  if (request.method === 'POST' && first === 'e') return takeEvents(request, executor, keys, second ?? '')
  if (keys.signingKey !== undefined && !isAuthorized(request.headers.authorization, keys.signingKey)) {
    return refuse(401, 'Unauthorized')
  }
  if (route === 'GET v1/events' && fourth === 'runs') return listRuns(executor, third ?? '')
  if (route === 'GET v1/runs') return showRun(executor, third ?? '')
  if (route === 'POST v1/checkpoint' && fourth === 'async')
    return takeCheckpoint(request, executor, third ?? '')
  return refuse(404, `No route ${request.method} ${path}`)
}

async function takeEvents(
  request: IncomingMessage,
  executor: Executor,
  keys: Keys,
  eventKey: string,
): Promise<Answer> {
  // Without a signing key this stands for the development server, which takes any event key.
  if (keys.signingKey !== undefined && eventKey !== keys.eventKey) return refuse(401, 'Event key not found')
  const body = await readJson(request)
  const events = (Array.isArray(body) ? body : [body]).map(asEvent)
  if (events.includes(undefined)) return refuse(400, 'An event needs a name.')
  const newId = idMaker(request.headers['x-inngest-event-id-seed'])
  const ids = events.map((event, index) => {
    const id = newId(index)
    if (event !== undefined) executor.accept(id, event)
    return id
  })
  return { status: 200, body: { ids, status: 200 } }
}

/** A client that repeats a request sends the same seed, and gets the same ids. */
function idMaker(seed: string | string[] | undefined): (index: number) => string {
  const [time, entropy] = String(seed ?? '').split(',')
  if (entropy === undefined) return () => ulid(Date.now())
  return (index) => ulid(Number(time), `${entropy}/${index}`)
}

function asEvent(value: unknown): JsonObject | undefined {
  const event = value as JsonObject | null
  return typeof event === 'object' && event !== null && typeof event.name === 'string' ? event : undefined
}

function listRuns(executor: Executor, eventId: string): Answer {
  const runs = executor.runsOf(eventId)
  if (runs === undefined) return refuse(404, 'Event not found')
  return { status: 200, body: { data: runs.map(describeRun), metadata: metadata() } }
}

function showRun(executor: Executor, runId: string): Answer {
  const run = executor.run(runId)
  if (run === undefined) return refuse(404, 'Run not found')
  return { status: 200, body: { data: describeRun(run), metadata: metadata() } }
}

function describeRun(run: Run): JsonObject {
  return {
    run_id: run.id,
    run_started_at: run.startedAt,
    function_id: run.functionId,
    event_id: run.eventId,
    status: run.status,
    ended_at: run.endedAt,
    output: run.output,
  }
}

function metadata(): JsonObject {
  return { fetched_at: new Date().toISOString(), cached_until: null }
}

async function takeCheckpoint(request: IncomingMessage, executor: Executor, runId: string): Promise<Answer> {
  const body = (await readJson(request)) as { steps?: unknown } | null
  const taken = executor.checkpoint(runId, stepOps(body?.steps))
  if (taken === 'unknown') return refuse(404, 'Run not found')
  // The SDK takes 409 to mean that its call has been overtaken, and gives up.
  if (taken === 'over') return refuse(409, 'The run is over')
  return { status: 200, body: { data: {} } }
}

function refuse(status: number, error: string): Answer {
  return { status, body: { error, status } }
}

async function readJson(request: IncomingMessage): Promise<unknown> {
  const chunks: Buffer[] = []
  for await (const chunk of request) chunks.push(chunk)
  return JSON.parse(Buffer.concat(chunks).toString('utf8'))
}

/** What goes wrong while answering is the request's fault: only its body can be malformed. */
export function refuseError(error: unknown): Answer {
  return refuse(400, messageOf(error))
}
