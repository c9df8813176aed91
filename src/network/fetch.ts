import { safeDispatchFetchWrap } from '@atproto-labs/fetch-node'
import { messageOf, ReplayError, UnavailableError } from '../errors.ts'
import { checkLoopbackUrl, checkPublicUrl, isLoopback, publicLookup } from './url-policy.ts'

export type Fetch = (url: string | URL, init?: RequestInit) => Promise<Response>

export interface FetchOptions {
  /**
   * Lets URLs of this machine (localhost, 127.0.0.1, [::1]) through, over http too: for development and tests.
   * @defaultValue false
   */
  allowLocalhost?: boolean
  /** From the call to the answer's headers; redirects count. @defaultValue 30000 */
  headersTimeoutMs?: number
}

const DEFAULT_HEADERS_TIMEOUT_MS = 30_000

/**
 * A fetch for URLs that came from outside, as those of DID documents: https only, and no address that is not
 * public, whether written, resolved or redirected to.
 *
 * @returns a fetch that throws {@link VerificationError} for a URL it may not follow and {@link UnavailableError}
 *   when the host does not answer; what the caller's own signal aborts is thrown as it is
 */
export function createFetch(options: FetchOptions = {}): Fetch {
  const { allowLocalhost = false, headersTimeoutMs = DEFAULT_HEADERS_TIMEOUT_MS } = options
  const publicFetch = safeDispatchFetchWrap({ checkUrl: checkPublicUrl, lookup: publicLookup })
  const loopbackFetch = safeDispatchFetchWrap({ checkUrl: checkLoopbackUrl })
  return async (input, init) => {
    const url = new URL(input)
    const isLocal = allowLocalhost && isLoopback(url)
    if (!isLocal) checkPublicUrl(url)
    const fetchUrl = isLocal ? loopbackFetch : publicFetch
    return withHeadersTimeout(url, init, headersTimeoutMs, (init) => fetchUrl.call(null, url, init))
  }
}

/** The timer ends with the headers, so that it does not cut off a long body; see bodyChunks for that. */
async function withHeadersTimeout(
  url: URL,
  init: RequestInit | undefined,
  timeoutMs: number,
  call: (init: RequestInit) => Promise<Response>,
): Promise<Response> {
  const timeout = new AbortController()
  const timer = setTimeout(() => timeout.abort(), timeoutMs)
  const callerSignal = init?.signal
  const signal = callerSignal ? AbortSignal.any([callerSignal, timeout.signal]) : timeout.signal
  try {
    return await call({ ...init, signal })
  } catch (error) {
    if (callerSignal?.aborted) throw error
    if (timeout.signal.aborted) throw unreachable(url.host, `no answer within ${timeoutMs} ms`, error)
    throw ownErrorIn(error) ?? unreachable(url.host, causeOf(error), error)
  } finally {
    clearTimeout(timer)
  }
}

/** Names the host only: paths and queries may carry what does not belong in a log. */
export function unreachable(host: string, problem: string, cause?: unknown): UnavailableError {
  return new UnavailableError(`${host} could not be reached: ${problem}`, {
    hint: `Try again later; if it stays so, check from this machine that ${host} answers.`,
    cause,
  })
}

/** The policy's refusals come back wrapped in the "fetch failed" of undici. */
function ownErrorIn(error: unknown): ReplayError | undefined {
  for (let at = error; at instanceof Error; at = at.cause) {
    if (at instanceof ReplayError) return at
  }
  return undefined
}

function causeOf(error: unknown): string {
  return error instanceof Error && error.cause instanceof Error ? messageOf(error.cause) : messageOf(error)
}
