import type { Json, JsonObject } from '../../events.ts'

/**
 * What goes over the wire between an Inngest server and a served function (request version 2), as far as this
 * executor speaks it.
 */

export interface InngestEvent {
  id: string
  name: string
  data: JsonObject
  /** Milliseconds since 1970. */
  ts: number
  [key: string]: Json
}

/** A step that is over, as it is handed back to the function with every later request. */
export type StepResult = { type: 'data'; data: Json } | { type: 'error'; error: Json }

/** One operation of a 206 answer or of a checkpoint. `id` is the SHA-1 of the step's id. */
export interface StepOp {
  op: string
  id: string
  name?: string
  displayName?: string
  data?: Json
  error?: Json
}

/** A function as the in-band registration describes it. */
export interface FunctionConfig {
  id: string
  name: string
  triggers: { event?: string; expression?: string; cron?: string }[]
  steps: { step: { runtime: { url: string }; retries?: { attempts: number } } }
  /** Expression: one run per value. */
  idempotency?: string
  concurrency?: number | { limit: number; key?: string }[] | { limit: number; key?: string }
  singleton?: { key?: string; mode: 'skip' | 'cancel' }
}

/** The body of a call of a function. */
export interface CallBody {
  event: InngestEvent
  events: InngestEvent[]
  steps: Record<string, StepResult>
  version: 2
  use_api: false
  ctx: {
    run_id: string
    attempt: number
    /** Without it the SDK never reports a step as failed for good. */
    max_attempts: number
    disable_immediate_execution: false
    use_api: false
    stack: { stack: string[]; current: number }
    /** Present only with checkpointing: the SDK then reports each step while the call goes on. */
    fn_id?: string
    qi_id?: string
  }
}

/** An answer of a served function. */
export interface Reply {
  status: number
  /** Of the header x-inngest-no-retry; undefined where the answer does not have it. */
  noRetry: boolean | undefined
  retryAfter: string | undefined
  body: Json
}

const RUN_STATUSES = ['Running', 'Completed', 'Failed', 'Cancelled'] as const
export type RunStatus = (typeof RUN_STATUSES)[number]

/** Retries of a function that names no number, as on the server. */
export const DEFAULT_RETRIES = 4

/** The name of the event that starts a function's onFailure. */
export const FUNCTION_FAILED = 'inngest/function.failed'
