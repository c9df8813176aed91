/**
 * One tree of errors. Each answers two questions: may it pass by itself (`shouldRetry()`), and what should the
 * operator do next (`hint`). The CLI maps `exitCode` to the process's, the Inngest functions map `shouldRetry()`
 * to a retriable or a NonRetriableError; neither ever looks at message text.
 */

/** Exit codes of every command (design.md, "Contracts", Report). 75 is EX_TEMPFAIL of sysexits.h. */
export const EXIT = { complete: 0, incomplete: 1, usage: 2, failed: 3, tryLater: 75 } as const
export type ExitCode = (typeof EXIT)[keyof typeof EXIT]

export interface ErrorContext {
  /** What the operator does next: one sentence. */
  hint?: string
  did?: string
  uri?: string
  table?: string
  /** Earliest moment at which trying again makes sense, in milliseconds since 1970. */
  retryAtMs?: number
  cause?: unknown
}

export abstract class ReplayError extends Error {
  abstract readonly exitCode: ExitCode
  readonly hint: string | undefined
  readonly did: string | undefined
  readonly uri: string | undefined
  readonly table: string | undefined
  readonly retryAtMs: number | undefined

  constructor(message: string, context: ErrorContext = {}) {
    super(message, context.cause === undefined ? undefined : { cause: context.cause })
    this.name = new.target.name
    this.hint = context.hint
    this.did = context.did
    this.uri = context.uri
    this.table = context.table
    this.retryAtMs = context.retryAtMs
  }

  /** True when the same call may succeed later without anyone changing anything. */
  shouldRetry(): boolean {
    return this.exitCode === EXIT.tryLater
  }
}

/** Wrong flags, environment, configuration file, keys: nothing was done, the operator must change something. */
export class ConfigError extends ReplayError {
  override readonly exitCode = EXIT.usage
}

/** The snapshot file is cut short, edited, or of another format version. */
export class SnapshotError extends ReplayError {
  override readonly exitCode = EXIT.usage
}

/** A host or database could not be reached, or said "later": nothing is wrong with the input. */
export class UnavailableError extends ReplayError {
  override readonly exitCode = EXIT.tryLater
}

/** The database refused a statement for good (a constraint, a bad value, a missing grant). */
export class DatabaseError extends ReplayError {
  override readonly exitCode = EXIT.failed
  /** SQLSTATE or PostgREST code, as `23503` or `PGRST202`. */
  readonly code: string
  constructor(message: string, context: ErrorContext & { code: string }) {
    super(message, context)
    this.code = context.code
  }
}

/** Something that came from outside (a CAR, a DID document, a frame, a record) failed its checks. */
export class VerificationError extends ReplayError {
  override readonly exitCode = EXIT.failed
}

/** The session for an account does not let us write (revoked, expired, of another account, missing scope). */
export class SessionError extends ReplayError {
  override readonly exitCode = EXIT.usage
}

/** The PDS refused a call for good. */
export class PdsError extends ReplayError {
  override readonly exitCode = EXIT.failed
  /** XRPC error name, as `InvalidSwap` or `InvalidRequest`. */
  readonly error: string
  constructor(message: string, context: ErrorContext & { error: string }) {
    super(message, context)
    this.error = context.error
  }
}

/** A restore cannot go on, and trying again will not change that (no root rows, a phase out of order). */
export class RestoreError extends ReplayError {
  override readonly exitCode = EXIT.failed
}

/** True when `error` is one that may pass by itself. Errors that are not ours are not. */
export function shouldRetry(error: unknown): boolean {
  return error instanceof ReplayError && error.shouldRetry()
}

/** Message of anything thrown, for a line of log or a dead letter. */
export function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error)
}
