import { openSession, type Session, type SessionProvider } from '../pds/session.ts'

/**
 * Far below the two hours that a PDS gives an access token. A login for each step would soon meet the limit of a
 * PDS, which is 30 logins in five minutes and 300 a day for one account.
 */
const MAX_AGE_MS = 30 * 60 * 1000

/** Sessions in this process's memory, and nowhere else: a step's result is stored by Inngest and holds none. */
export interface KeptSessions {
  open(did: string): Promise<Session>
  /** The next open logs in again. */
  drop(did: string): void
}

export function keepSessions(provider: SessionProvider, now: () => number = Date.now): KeptSessions {
  const kept = new Map<string, { session: Session; openedAtMs: number }>()
  return {
    async open(did) {
      for (const [key, { openedAtMs }] of kept) if (now() - openedAtMs > MAX_AGE_MS) kept.delete(key)
      const found = kept.get(did)
      if (found !== undefined) return found.session
      const session = await openSession(did, provider)
      kept.set(did, { session, openedAtMs: now() })
      return session
    },
    drop: (did) => {
      kept.delete(did)
    },
  }
}
