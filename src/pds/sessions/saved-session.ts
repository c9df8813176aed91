import type { NodeSavedSession } from '@atproto/oauth-client-node'
import { z } from 'zod'

/** What @atproto/oauth-client-node keeps of a session. Holds its tokens and its DPoP key: never to be printed. */
export const savedSessionShape = z.looseObject({
  dpopJwk: z.looseObject({ kty: z.string() }),
  /** `legacy` in entries of older versions of the library. */
  authMethod: z.union([z.looseObject({ method: z.string() }), z.literal('legacy')]).optional(),
  tokenSet: z.looseObject({
    iss: z.string(),
    sub: z.string(),
    aud: z.string(),
    scope: z.string(),
    access_token: z.string(),
    token_type: z.string(),
    refresh_token: z.string().optional(),
    /** ISO 8601. */
    expires_at: z.string().optional(),
  }),
})

/** Undefined when it is none, whatever it is. */
export function savedSessionOf(value: unknown): NodeSavedSession | undefined {
  const parsed = savedSessionShape.safeParse(value)
  return parsed.success ? (parsed.data as unknown as NodeSavedSession) : undefined
}

/** The client that the access token was issued to, if it says so: as a JWT it does (RFC 9068), with every PDS known. */
export function clientIdOf({ tokenSet }: NodeSavedSession): string | undefined {
  const payload = tokenSet.access_token.split('.')[1]
  if (payload === undefined) return undefined
  try {
    const claims: unknown = JSON.parse(Buffer.from(payload, 'base64url').toString('utf8'))
    const parsed = z.object({ client_id: z.string() }).safeParse(claims)
    return parsed.success ? parsed.data.client_id : undefined
  } catch (error) {
    if (error instanceof SyntaxError) return undefined
    throw error
  }
}

/** The library refreshes tokens that end within 10 to 40 seconds. */
const LIBRARY_MARGIN_MS = 40_000

/** When the access token can no longer be used as it is, in milliseconds since 1970. */
export function usableUntilMs({ tokenSet }: NodeSavedSession): number {
  if (tokenSet.expires_at === undefined) return Number.POSITIVE_INFINITY
  return Date.parse(tokenSet.expires_at) - LIBRARY_MARGIN_MS
}
