import {
  ConfigError,
  DatabaseError,
  type ErrorContext,
  type ReplayError,
  UnavailableError,
} from '../errors.ts'

/** The parts of a PostgREST error that say what it is. */
export interface PostgrestFailure {
  message: string
  code?: string
  details?: string
  hint?: string
}

/**
 * SQLSTATEs that may pass by themselves: 40001 serialisation failure, 40P01 deadlock, 55P03 lock not available,
 * 57014 statement timeout, and the classes 08 (connection), 53 (resources), 57P (operator intervention).
 */
const PASSING = /^(40001|40P01|55P03|57014|08|53|57P)/

/** Of these, what a smaller call may be spared: 57014 statement timeout, 53200 out of memory. */
const TOO_MUCH = ['57014', '53200']

/** What a gateway says when it has waited long enough: 408, 504, and 524 of Cloudflare, which is in front of Supabase. */
const GATEWAY_TIMEOUTS = [408, 504, 524]

/**
 * PGRST202 and PGRST205: PostgREST knows no such function, no such table; 42883 and 42P01 are the same from Postgres.
 */
const MISSING = ['PGRST202', 'PGRST205', '42P01', '42883']

/** True when a call failed because the function or table is not there. */
export function isMissingObject(error: unknown): boolean {
  return error instanceof ConfigError && MISSING.includes(failureOf(error).code)
}

/** True when a call took too long or too much: one with less in it may pass where this one never will. */
export function isTooMuch(error: unknown): boolean {
  if (!(error instanceof UnavailableError)) return false
  const { code, status } = failureOf(error)
  return code === '' ? GATEWAY_TIMEOUTS.includes(status) : TOO_MUCH.includes(code)
}

/** What one of our errors was made from: SQLSTATE or PostgREST code, empty where there was none, and HTTP status. */
function failureOf({ cause }: ReplayError): { code: string; status: number } {
  const { code, status } = Object(cause) as Record<string, unknown>
  return { code: typeof code === 'string' ? code : '', status: typeof status === 'number' ? status : 0 }
}

/** One of our errors for a failed call: by code and HTTP status, never by message text. */
export function databaseErrorOf(
  failure: PostgrestFailure,
  status: number,
  label: string,
  context: ErrorContext = {},
): ReplayError {
  const code = failure.code ?? ''
  const cause = { ...failure, status }
  const said = `The ${label} database`
  if (status === 0 || status === 502 || status === 503 || status === 504) {
    return new UnavailableError(`${said} cannot be reached: ${causeOf(failure)}`, {
      hint: 'Check the URL and that the project is running, then run the same command again.',
      ...context,
      cause,
    })
  }
  if (PASSING.test(code)) {
    return new UnavailableError(`${said} could not finish in time or gave way to another writer (${code}).`, {
      hint: 'Run the same command again; what is done stays done.',
      ...context,
      cause,
    })
  }
  // Without any code it was something in front of the database that answered: a gateway's 52x, a paused project's
  // 540, a rate limit. The statement itself has not been refused.
  if (code === '' && (status >= 500 || status === 408 || status === 429)) {
    return new UnavailableError(
      `${said} cannot be asked just now (HTTP ${status}): ${firstLine(failure.message)}`,
      {
        hint: 'Check that the project is running and not over its limits, then run the same command again.',
        ...context,
        cause,
      },
    )
  }
  if (status === 401 || status === 403 || code === '42501') {
    return new ConfigError(`${said} refuses this key: ${firstLine(failure.message)}`, {
      hint: 'Give the service role key of that project (sb_secret_..., or the service_role JWT).',
      ...context,
      cause,
    })
  }
  if (MISSING.includes(code)) {
    return new ConfigError(`${said} lacks what was asked for: ${firstLine(failure.message)}`, {
      hint: 'Apply supabase/migrations/*_firehose_replay.sql to it, and check that it is the right project.',
      ...context,
      cause,
    })
  }
  return new DatabaseError(`${said} refused: ${firstLine(failure.message)} (${code || `HTTP ${status}`})`, {
    ...context,
    code: code || `HTTP${status}`,
    cause,
  })
}

/** supabase-js says "fetch failed", and where and why only in its details. */
function causeOf({ message, details = '' }: PostgrestFailure): string {
  return /Caused by: (?:\w*Error: )?(.+)/.exec(details)?.[1] ?? firstLine(message)
}

function firstLine(message: string): string {
  return message.split('\n')[0] ?? ''
}
