import { openSession, type Session, type WriteOp } from '../../src/pds/session.ts'
import type { Account } from '../../src/stack/index.ts'

/** The account's own requests to its PDS: past our session, as another client of the account sends them. */
export function fetchAs(account: Account, path: string, init: RequestInit = {}): Promise<Response> {
  const headers = new Headers(init.headers)
  headers.set('authorization', `Bearer ${account.accessJwt}`)
  return fetch(new URL(path, account.pdsUrl), { ...init, headers })
}

/** A session of the account's own, from what the PDS gave when it was made: a login takes the PDS 350 ms. */
export function sessionAs(account: Account): Promise<Session> {
  return openSession(account.did, async () => (path, init) => fetchAs(account, path, init))
}

/** One commit with these operations, whatever the repo holds. */
export async function applyWrites(account: Account, writes: readonly WriteOp[]): Promise<void> {
  const response = await fetchAs(account, '/xrpc/com.atproto.repo.applyWrites', {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify({ repo: account.did, validate: false, writes }),
  })
  if (!response.ok) throw new Error(`applyWrites: ${response.status} ${await response.text()}`)
}
