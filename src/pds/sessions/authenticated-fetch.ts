/**
 * A fetch that acts as one account at its PDS: path and query in (`/xrpc/com.atproto...`), the answer out. The
 * `fetchHandler` of @atproto's OAuthSession, bound to its session, is one:
 * `async (did) => { const session = await restore(did); return session.fetchHandler.bind(session) }`.
 */
export interface AuthenticatedFetch {
  (path: string, init?: RequestInit): Promise<Response>
  /**
   * What an OAuth session was granted, as its token set says it: lets `verify` find a missing scope before anything
   * is written. Undefined: not known, or all (an app password); a missing scope then shows with the first write.
   */
  readonly scope?: string
  /** What to do when this session turns out to be dead: one sentence. */
  readonly renewHint?: string
}

/**
 * Gives sessions: our own, or an operator's from wherever theirs are kept. Called anew when a session has died or is
 * no longer young, so that it should read afresh what it keeps.
 */
export type SessionProvider = (did: string) => Promise<AuthenticatedFetch>
