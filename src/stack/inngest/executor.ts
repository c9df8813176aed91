import { messageOf } from '../../errors.ts'
import type { Json, JsonObject } from '../../events.ts'
import { FUNCTION_FAILED, type InngestEvent, type StepOp } from './protocol.ts'
import type { RegisteredFunction } from './registry.ts'
import { driveRun, type Run, type RunEnvironment, recordStep } from './run.ts'
import { failure, finishedSteps } from './transition.ts'
import { ulid } from './ulid.ts'

/** Takes events in, starts the runs they trigger, and keeps what became of them. */
export class Executor {
  #functions = new Map<string, RegisteredFunction>()
  #runs = new Map<string, Run>()
  #runsByEvent = new Map<string, Run[]>()
  #seen = new Set<string>()
  #active = new Set<Promise<void>>()
  readonly #environment: RunEnvironment

  constructor(environment: RunEnvironment) {
    this.#environment = environment
  }

  /** A function registered again replaces the one of its id. */
  add(functions: readonly RegisteredFunction[]): void {
    for (const fn of functions) this.#functions.set(fn.id, fn)
  }

  /**
   * @param eventId the server's id of the event; known already when a client repeats a request whose answer it lost
   */
  accept(eventId: string, payload: JsonObject): void {
    if (this.#runsByEvent.has(eventId)) return
    this.#runsByEvent.set(eventId, [])
    const ownId = typeof payload.id === 'string' && payload.id !== '' ? payload.id : undefined
    if (ownId !== undefined && !this.#isFirst('event', ownId)) return
    const event: InngestEvent = {
      ...payload,
      id: ownId ?? eventId,
      name: String(payload.name),
      data: isObject(payload.data) ? payload.data : {},
      ts: typeof payload.ts === 'number' ? payload.ts : this.#environment.now(),
    }
    for (const fn of this.#functions.values()) {
      if (fn.triggeredBy(event) && this.#admits(fn, event)) this.#start(fn, event, eventId)
    }
  }

  /** Undefined: no such event. */
  runsOf(eventId: string): Run[] | undefined {
    return this.#runsByEvent.get(eventId)
  }

  run(id: string): Run | undefined {
    return this.#runs.get(id)
  }

  runs(): Run[] {
    return [...this.#runs.values()]
  }

  /** Takes in what a function reports while its call goes on. */
  checkpoint(runId: string, ops: readonly StepOp[]): 'taken' | 'unknown' | 'over' {
    const run = this.#runs.get(runId)
    if (run === undefined) return 'unknown'
    if (run.status !== 'Running') return 'over'
    for (const step of finishedSteps(ops)) recordStep(run, step, this.#environment.trace)
    return 'taken'
  }

  /** Resolves when no run is under way, those that runs start included. */
  async idle(): Promise<void> {
    while (this.#active.size > 0) await Promise.all(this.#active)
  }

  #admits(fn: RegisteredFunction, event: InngestEvent): boolean {
    const singleton = fn.singletonKey?.(event)
    if (singleton !== undefined && this.runs().some((run) => this.#holds(run, fn, singleton))) return false
    return fn.idempotencyKey === undefined || this.#isFirst(fn.id, fn.idempotencyKey(event))
  }

  #holds(run: Run, fn: RegisteredFunction, singleton: string): boolean {
    return run.status === 'Running' && run.functionId === fn.id && fn.singletonKey?.(run.event) === singleton
  }

  /** The server remembers for 24 hours; an embedded stack does not live that long. */
  #isFirst(scope: string, key: string): boolean {
    const entry = JSON.stringify([scope, key])
    if (this.#seen.has(entry)) return false
    this.#seen.add(entry)
    return true
  }

  #start(fn: RegisteredFunction, event: InngestEvent, eventId: string): void {
    const run: Run = {
      id: ulid(Date.now()),
      functionId: fn.id,
      eventId,
      event,
      status: 'Running',
      output: null,
      startedAt: new Date(this.#environment.now()).toISOString(),
      endedAt: null,
      callCount: 0,
      finished: new Map(),
    }
    this.#runs.set(run.id, run)
    this.#runsByEvent.get(eventId)?.push(run)
    this.#environment.trace({ kind: 'run-started', runId: run.id, functionId: fn.id })
    const work = this.#finish(run, fn).finally(() => this.#active.delete(work))
    this.#active.add(work)
  }

  async #finish(run: Run, fn: RegisteredFunction): Promise<void> {
    try {
      const ending = await driveRun(run, fn, this.#environment)
      run.status = ending.kind === 'completed' ? 'Completed' : 'Failed'
      run.output = ending.kind === 'completed' ? ending.output : ending.error
    } catch (error) {
      run.status = this.#environment.signal.aborted ? 'Cancelled' : 'Failed'
      run.output = failure(messageOf(error))
    }
    run.endedAt = new Date(this.#environment.now()).toISOString()
    const { id: runId, functionId, status } = run
    this.#environment.trace({ kind: 'run-ended', runId, functionId, status })
    if (status === 'Failed' && run.event.name !== FUNCTION_FAILED) this.#reportFailure(run)
  }

  #reportFailure(run: Run): void {
    const { functionId: function_id, id: run_id, event, output: error } = run
    this.accept(ulid(Date.now()), {
      name: FUNCTION_FAILED,
      data: { function_id, run_id, event, error } satisfies Record<string, Json>,
    })
  }
}

function isObject(value: Json | undefined): value is JsonObject {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}
