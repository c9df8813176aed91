import type { Json } from '../../events.ts'
import { durationMs } from './duration.ts'
import type { Reply, StepOp, StepResult } from './protocol.ts'

export interface FinishedStep {
  id: string
  name: string
  result: StepResult
}

/** Work that the function asked for: a planned step to be called for, or a sleep. */
export type PendingStep =
  | { kind: 'step'; id: string }
  | { kind: 'sleep'; id: string; name: string; untilMs: number }

/** What an answer means for the run. */
export type Outcome =
  | { kind: 'progress'; finished: FinishedStep[]; pending: PendingStep[] }
  /** `step` is undefined when it was the function's body that threw. */
  | {
      kind: 'retry'
      error: Json
      retryAfterMs: number | undefined
      step: { id: string; name: string } | undefined
    }
  | { kind: 'completed'; output: Json }
  | { kind: 'failed'; error: Json }

/**
 * Reads an answer. Pure: neither waits nor calls.
 *
 * @param nowMs what sleeps and Retry-After count from
 */
export function readReply(reply: Reply, nowMs: number): Outcome {
  if (reply.status === 200) return { kind: 'completed', output: reply.body }
  if (reply.status === 206) return readOps(stepOps(reply.body), reply, nowMs)
  if (reply.noRetry === true) return { kind: 'failed', error: reply.body }
  return {
    kind: 'retry',
    error: reply.body,
    retryAfterMs: retryAfterMs(reply.retryAfter, nowMs),
    step: undefined,
  }
}

function readOps(ops: readonly StepOp[], reply: Reply, nowMs: number): Outcome {
  const finished: FinishedStep[] = []
  const pending: PendingStep[] = []
  for (const op of ops) {
    const name = op.displayName ?? op.name ?? op.id
    switch (op.op) {
      case 'RunComplete':
        return { kind: 'completed', output: op.data ?? null }
      case 'StepError':
        return {
          kind: 'retry',
          error: op.error ?? null,
          retryAfterMs: retryAfterMs(reply.retryAfter, nowMs),
          step: { id: op.id, name },
        }
      case 'StepRun':
      case 'StepFailed':
        finished.push(finishedStep(op))
        break
      case 'StepPlanned':
        pending.push({ kind: 'step', id: op.id })
        break
      case 'Sleep':
        pending.push({ kind: 'sleep', id: op.id, name, untilMs: nowMs + durationMs(op.name ?? '', nowMs) })
        break
      default:
        return { kind: 'failed', error: failure(`The embedded executor cannot do ${op.op} (step ${name}).`) }
    }
  }
  if (finished.length + pending.length > 0) return { kind: 'progress', finished, pending }
  return { kind: 'failed', error: failure('The function answered 206 without any step.') }
}

/** The steps that a checkpoint reports as over. */
export function finishedSteps(ops: readonly StepOp[]): FinishedStep[] {
  return ops.filter((op) => op.op === 'StepRun' || op.op === 'StepFailed').map(finishedStep)
}

function finishedStep(op: StepOp): FinishedStep {
  const result: StepResult =
    op.op === 'StepFailed'
      ? { type: 'error', error: op.error ?? null }
      : { type: 'data', data: op.data ?? null }
  return { id: op.id, name: op.displayName ?? op.name ?? op.id, result }
}

/** The operations in a body; what is none is left out. */
export function stepOps(body: unknown): StepOp[] {
  if (!Array.isArray(body)) return []
  return body.filter((op): op is StepOp => typeof op?.op === 'string' && typeof op?.id === 'string')
}

/** An error as the SDK serializes one. */
export function failure(message: string): Json {
  return { name: 'Error', message, stack: '', __serialized: true }
}

/** Seconds or a date. The server keeps it between one second and a day. */
function retryAfterMs(header: string | undefined, nowMs: number): number | undefined {
  if (header === undefined) return undefined
  const seconds = Number(header)
  const ms = Number.isFinite(seconds) ? seconds * 1000 : Date.parse(header) - nowMs
  return Number.isNaN(ms) ? undefined : Math.min(Math.max(ms, 1000), 24 * 3_600_000)
}
