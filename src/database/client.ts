import { createClient, type SupabaseClient } from '@supabase/supabase-js'
import { ConfigError, type ErrorContext } from '../errors.ts'
import { databaseErrorOf } from './failure.ts'

export interface DatabaseOptions {
  /** Base URL of the project's API, as `https://REF.supabase.co`. */
  url: string
  /** The service role's key: `sb_secret_...` or a JWT whose role is service_role. */
  serviceKey: string
  /** What messages call it: `production` or `backup`. */
  label: string
  /**
   * How long a call may take, body and all, in milliseconds; then it counts as unavailable. Longer than the statement
   * time-outs in front of it, which say more. @defaultValue 60000
   */
  timeoutMs?: number
}

const DEFAULT_TIMEOUT_MS = 60_000
/** The same client's way to files, where a video of 100 MB takes longer than any statement. */
const STORAGE = '/storage/v1/'
const BLOB_PATIENCE = 10

/** One Supabase project (or anything that speaks PostgREST), with the service role. */
export interface Database {
  readonly label: string
  /** Host of the API with its port: how a person recognises the project. */
  readonly name: string
  readonly url: string
  /** The client itself, for reads and small writes. Its results are values: pass each through `check`. */
  readonly client: SupabaseClient
  /** Calls one of our SQL functions with its one text argument, or none. */
  call(name: string, batch?: unknown): Promise<unknown>
  /** The value of a supabase-js answer, or its error thrown as one of ours. */
  check<T>(answer: Answer<T>, context?: ErrorContext): T
}

/** What every supabase-js call resolves to. */
export interface Answer<T> {
  data: T
  error: { message: string; code?: string; details?: string; hint?: string } | null
  status: number
  count?: number | null
}

/**
 * @throws ConfigError when the URL is no URL or the key is known not to be the service role's: with another one
 * row-level security would make every table look empty.
 */
export function openDatabase(options: DatabaseOptions): Database {
  const { label } = options
  const url = parseUrl(options)
  refuseForeignRole(options)
  const client = createClient(url.href, options.serviceKey, {
    auth: { persistSession: false, autoRefreshToken: false, detectSessionInUrl: false },
    global: { fetch: fetchWithin(options.timeoutMs ?? DEFAULT_TIMEOUT_MS) },
  })
  const check = <T>(answer: Answer<T>, context: ErrorContext = {}): T => {
    if (answer.error !== null) throw databaseErrorOf(answer.error, answer.status, label, context)
    return answer.data
  }
  return {
    label,
    name: url.host,
    url: url.origin + url.pathname.replace(/\/$/, ''),
    client,
    check,
    async call(name, batch) {
      const args = batch === undefined ? {} : { batch: JSON.stringify(batch) }
      return check<unknown>(await client.rpc(name, args))
    },
  }
}

/** The client has a time limit of its own, but it ends with the headers: a body that stops halfway is waited for. */
function fetchWithin(timeoutMs: number): typeof fetch {
  return async (input, init) => {
    const ms = `${input}`.includes(STORAGE) ? timeoutMs * BLOB_PATIENCE : timeoutMs
    const late = new AbortController()
    // By this name the client knows not to try again by itself, which would take four times as long.
    const reason = new DOMException(`no answer within ${ms} ms`, 'AbortError')
    const timer = setTimeout(() => late.abort(reason), ms)
    const signal = init?.signal ? AbortSignal.any([init.signal, late.signal]) : late.signal
    try {
      return await wholeOf(await fetch(input, { ...init, signal }))
    } finally {
      // A timer that is left running holds the request, with all that it sent.
      clearTimeout(timer)
    }
  }
}

async function wholeOf(response: Response): Promise<Response> {
  const { status, statusText, headers } = response
  const body = await response.arrayBuffer()
  // A 204 may not be given a body, not even an empty one.
  return new Response(body.byteLength === 0 ? null : body, { status, statusText, headers })
}

function parseUrl({ url, label }: DatabaseOptions): URL {
  if (!URL.canParse(url) || !/^https?:$/.test(new URL(url).protocol)) {
    throw new ConfigError(`The ${label} database's URL is not an http(s) URL: ${url}`, {
      hint: "Give the project's API URL, as https://REF.supabase.co.",
    })
  }
  return new URL(url)
}

function refuseForeignRole({ serviceKey, label }: DatabaseOptions): void {
  const role = roleOf(serviceKey)
  if (role === undefined || role === 'service_role') return
  throw new ConfigError(`The key given for the ${label} database is the ${role} key, which sees no rows.`, {
    hint: 'Give the service role key (sb_secret_..., or the service_role JWT) of that project.',
  })
}

/** The role that a key stands for, where its form tells. */
function roleOf(key: string): string | undefined {
  if (key.startsWith('sb_publishable_')) return 'anon'
  if (key.startsWith('sb_secret_')) return 'service_role'
  const payload = key.split('.')[1]
  if (payload === undefined) return undefined
  try {
    const claims: unknown = JSON.parse(Buffer.from(payload, 'base64url').toString('utf8'))
    return claims !== null &&
      typeof claims === 'object' &&
      'role' in claims &&
      typeof claims.role === 'string'
      ? claims.role
      : undefined
  } catch (error) {
    if (error instanceof SyntaxError) return undefined
    throw error
  }
}
