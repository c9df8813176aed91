import { messageOf } from '../../errors.ts'
import type { Json } from '../../events.ts'
import type { CallBody, InngestEvent, Reply, RunStatus, StepResult } from './protocol.ts'
import { type RegisteredFunction, signatureHeader } from './registry.ts'
import type { Slots } from './slots.ts'
import { type FinishedStep, failure, type Outcome, type PendingStep, readReply } from './transition.ts'
import { ulid } from './ulid.ts'

/** Why the executor waits: a step.sleep, the pause before a retry, or a served app that cannot be reached. */
export type DelayReason = 'sleep' | 'retry' | 'unreachable'

/** What happens in a run, as it happens. */
export type TraceEvent = { runId: string; functionId: string } & (
  | { kind: 'run-started' }
  | { kind: 'step-finished'; step: string; failed: boolean }
  | { kind: 'retry'; step: string | undefined; attempt: number; afterMs: number; error: Json }
  | { kind: 'unreachable'; error: string }
  | { kind: 'run-ended'; status: RunStatus }
)

export interface RunEnvironment {
  signingKey: string | undefined
  checkpointing: boolean
  slots: Slots
  /** Aborted when the executor stops. */
  signal: AbortSignal
  now(): number
  delay(ms: number, reason: DelayReason): Promise<void>
  backoffMs(attempt: number): number
  /** How long an app may be away before its run fails. */
  unreachableForMs: number
  trace(event: TraceEvent): void
}

/** States: Running -> Completed, Failed, or Cancelled (the executor stopped). */
export interface Run {
  id: string
  functionId: string
  eventId: string
  event: InngestEvent
  status: RunStatus
  output: Json
  startedAt: string
  endedAt: string | null
  /** Calls of the served function that were answered. */
  callCount: number
  /** By SHA-1 of their id, in the order they finished. */
  finished: Map<string, StepResult>
}

/** Takes a step's result into the run, once. */
export function recordStep(run: Run, step: FinishedStep, trace: RunEnvironment['trace']): void {
  if (run.finished.has(step.id)) return
  run.finished.set(step.id, step.result)
  const failed = step.result.type === 'error'
  trace({ kind: 'step-finished', runId: run.id, functionId: run.functionId, step: step.name, failed })
}

/** Calls the function until it is over, and returns how it ended. */
export async function driveRun(
  run: Run,
  fn: RegisteredFunction,
  environment: RunEnvironment,
): Promise<Ending> {
  for (;;) {
    const outcome = await callUntilAnswered(run, fn, environment, 'step')
    if (outcome.kind !== 'progress') return outcome
    for (const step of outcome.finished) recordStep(run, step, environment.trace)
    const endings = await Promise.all(
      outcome.pending.map((step) => finishPending(run, fn, environment, step)),
    )
    const ending = endings.find((candidate) => candidate !== undefined)
    if (ending !== undefined) return ending
  }
}

type Ending = Extract<Outcome, { kind: 'completed' | 'failed' }>

/** Parallel steps are all awaited before the function is called again: a race is decided by the slowest. */
async function finishPending(
  run: Run,
  fn: RegisteredFunction,
  environment: RunEnvironment,
  pending: PendingStep,
): Promise<Ending | undefined> {
  if (pending.kind === 'sleep') {
    await environment.delay(pending.untilMs - environment.now(), 'sleep')
    const { id, name } = pending
    recordStep(run, { id, name, result: { type: 'data', data: null } }, environment.trace)
    return undefined
  }
  const outcome = await callUntilAnswered(run, fn, environment, pending.id)
  if (outcome.kind !== 'progress') return outcome
  for (const step of outcome.finished) recordStep(run, step, environment.trace)
  return undefined
}

/** One item of the server's queue: its attempts count from 0, and a retry is never the last word. */
async function callUntilAnswered(
  run: Run,
  fn: RegisteredFunction,
  environment: RunEnvironment,
  stepId: string,
): Promise<Exclude<Outcome, { kind: 'retry' }>> {
  for (let attempt = 0; ; attempt++) {
    const reply = await callUntilReached(run, fn, environment, stepId, attempt)
    if (reply === undefined) return { kind: 'failed', error: failure(`${fn.url} could not be reached.`) }
    run.callCount++
    const outcome = readReply(reply, environment.now())
    if (outcome.kind !== 'retry') return outcome
    if (attempt + 1 >= fn.maxAttempts) return exhausted(outcome)
    const afterMs = outcome.retryAfterMs ?? environment.backoffMs(attempt)
    environment.trace({
      kind: 'retry',
      runId: run.id,
      functionId: fn.id,
      step: outcome.step?.name,
      attempt,
      afterMs,
      error: outcome.error,
    })
    await environment.delay(afterMs, 'retry')
  }
}

function exhausted({
  step,
  error,
}: Extract<Outcome, { kind: 'retry' }>): Exclude<Outcome, { kind: 'retry' }> {
  if (step === undefined) return { kind: 'failed', error }
  return { kind: 'progress', finished: [{ ...step, result: { type: 'error', error } }], pending: [] }
}

/**
 * An app that is not there uses up no attempt here, as it would on the server: there the pauses grow to hours and
 * outlast a restart, here they are short. Undefined: it was away for too long.
 */
async function callUntilReached(
  run: Run,
  fn: RegisteredFunction,
  environment: RunEnvironment,
  stepId: string,
  attempt: number,
): Promise<Reply | undefined> {
  let waitedMs = 0
  for (let failures = 0; waitedMs <= environment.unreachableForMs; failures++) {
    try {
      return await withinLimits(run, fn, environment.slots, () => call(run, fn, environment, stepId, attempt))
    } catch (error) {
      environment.signal.throwIfAborted()
      environment.trace({
        kind: 'unreachable',
        runId: run.id,
        functionId: fn.id,
        error: messageOf(error),
      })
      const afterMs = Math.min(environment.backoffMs(failures), 1000)
      waitedMs += afterMs
      await environment.delay(afterMs, 'unreachable')
    }
  }
  return undefined
}

function withinLimits<T>(run: Run, fn: RegisteredFunction, slots: Slots, work: () => Promise<T>): Promise<T> {
  return fn.limits.reduceRight<() => Promise<T>>(
    (inner, { limit, key }, index) =>
      () =>
        slots.hold(JSON.stringify([fn.id, index, key(run.event)]), limit, inner),
    work,
  )()
}

async function call(
  run: Run,
  fn: RegisteredFunction,
  environment: RunEnvironment,
  stepId: string,
  attempt: number,
): Promise<Reply> {
  const url = new URL(fn.url)
  url.searchParams.set('fnId', fn.id)
  url.searchParams.set('stepId', stepId)
  const body = callBody(run, fn, environment.checkpointing, attempt)
  const response = await fetch(url, {
    method: 'POST',
    headers: {
      'content-type': 'application/json',
      'x-inngest-req-version': '2',
      'x-inngest-server-kind': environment.signingKey === undefined ? 'dev' : 'cloud',
      'x-run-id': run.id,
      'x-request-id': ulid(Date.now()),
      ...signatureHeader(body as unknown as Json, environment.signingKey),
    },
    body: JSON.stringify(body),
    signal: environment.signal,
  })
  const noRetry = response.headers.get('x-inngest-no-retry')
  return {
    status: response.status,
    noRetry: noRetry === null ? undefined : noRetry === 'true',
    retryAfter: response.headers.get('retry-after') ?? undefined,
    body: readBody(await response.text()),
  }
}

function callBody(run: Run, fn: RegisteredFunction, checkpointing: boolean, attempt: number): CallBody {
  const stack = [...run.finished.keys()]
  return {
    event: run.event,
    events: [run.event],
    steps: Object.fromEntries(run.finished),
    version: 2,
    use_api: false,
    ctx: {
      run_id: run.id,
      attempt,
      max_attempts: fn.maxAttempts,
      disable_immediate_execution: false,
      use_api: false,
      stack: { stack, current: stack.length },
      ...(checkpointing ? { fn_id: fn.id, qi_id: ulid(Date.now()) } : {}),
    },
  }
}

/** Not every answer is JSON: a proxy's error page is not. */
function readBody(text: string): Json {
  if (text === '') return null
  try {
    return JSON.parse(text)
  } catch {
    return failure(text.slice(0, 500))
  }
}
