import { randomBytes } from 'node:crypto'
import { createServer } from 'node:http'
import { setTimeout as wait } from 'node:timers/promises'
import { assemble } from '../cleanup.ts'
import { listenOnLoopback } from '../listen.ts'
import { Executor } from './executor.ts'
import { answer, refuseError } from './http.ts'
import { discover } from './registry.ts'
import type { DelayReason, Run, TraceEvent } from './run.ts'
import { Slots } from './slots.ts'

export type { DelayReason, Run, TraceEvent } from './run.ts'

export interface InngestOptions {
  /** Makes calls signed and the API ask for it, as Inngest's cloud does. @defaultValue none: as its development server */
  signingKey?: string
  /** Whether functions report each step while a call goes on, as they do with a real server. @defaultValue false */
  checkpointing?: boolean
  /** Waits. @defaultValue real time */
  delay?(ms: number, reason: DelayReason): Promise<void>
  /** What sleeps and Retry-After count from, in milliseconds since 1970. @defaultValue Date.now */
  now?(): number
  /** Pause before retry number `attempt` + 1 where the function named none. @defaultValue 100 ms, doubled each time */
  backoffMs?(attempt: number): number
  /** How long a served app may be away before its run fails, in milliseconds waited. @defaultValue 60,000 */
  unreachableForMs?: number
  trace?(event: TraceEvent): void
}

export interface EmbeddedInngest extends AsyncDisposable {
  /** For the client's option `baseUrl` or INNGEST_BASE_URL. */
  baseUrl: string
  eventKey: string
  signingKey: string | undefined
  /** Learns the functions of a served app. Again after it has changed, not after a mere restart. */
  register(serveUrl: string): Promise<void>
  /** All runs, oldest first. */
  runs(): Run[]
  /** Resolves when no run is under way. */
  idle(): Promise<void>
}

/**
 * Drives served Inngest functions over HTTP as the Inngest server does: events, memoized steps, parallel steps,
 * sleeps, retries with Retry-After, onFailure, signatures, checkpoints; idempotency, concurrency and singleton
 * (skip) by key. It keeps everything in memory.
 *
 * Not there: cron, throttle, rate limit, priority, batches, debounce, waitForEvent, invoke. Throttles and rate
 * limits of a function are ignored, unknown steps fail its run.
 */
export function startInngest(options: InngestOptions = {}): Promise<EmbeddedInngest> {
  return assemble(async (cleanup) => {
    const stopping = new AbortController()
    const { signal } = stopping
    const { signingKey } = options
    const executor = new Executor({
      signingKey,
      checkpointing: options.checkpointing ?? false,
      slots: new Slots(),
      signal,
      now: options.now ?? Date.now,
      delay: abortable(options.delay ?? ((ms) => wait(ms, undefined, { signal })), signal),
      backoffMs: options.backoffMs ?? ((attempt) => 100 * 2 ** attempt),
      unreachableForMs: options.unreachableForMs ?? 60_000,
      trace: options.trace ?? (() => undefined),
    })
    const keys = { eventKey: randomBytes(16).toString('hex'), signingKey }
    const server = createServer(async (request, response) => {
      const { status, body } = await answer(request, executor, keys).catch(refuseError)
      response.writeHead(status, { 'content-type': 'application/json' }).end(JSON.stringify(body))
    })
    const port = await listenOnLoopback(server, cleanup)
    cleanup.defer(async () => {
      stopping.abort()
      await executor.idle()
    })
    return {
      baseUrl: `http://127.0.0.1:${port}`,
      eventKey: keys.eventKey,
      signingKey,
      register: async (serveUrl: string) => executor.add(await discover(serveUrl, signingKey)),
      runs: () => executor.runs(),
      idle: () => executor.idle(),
    }
  })
}

/** A wait that ends in the signal's error when the executor stops, whoever does the waiting. */
function abortable(
  delay: (ms: number, reason: DelayReason) => Promise<void>,
  signal: AbortSignal,
): (ms: number, reason: DelayReason) => Promise<void> {
  const stopped = new Promise<never>((_, reject) => {
    signal.addEventListener('abort', () => reject(signal.reason), { once: true })
  })
  stopped.catch(() => undefined)
  return async (ms, reason) => {
    signal.throwIfAborted()
    await Promise.race([delay(Math.max(0, ms), reason), stopped])
  }
}
