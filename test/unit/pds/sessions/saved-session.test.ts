import { expect, test } from 'vitest'
import { clientIdOf, savedSessionOf, usableUntilMs } from '../../../../src/pds/sessions/saved-session.ts'

function sessionWith(tokens: { access_token?: string; expires_at?: string } = {}) {
  const session = savedSessionOf({
    dpopJwk: { kty: 'EC' },
    authMethod: { method: 'private_key_jwt', kid: 'key-1' },
    tokenSet: {
      iss: 'https://pds.example',
      sub: 'did:plc:abc',
      aud: 'https://pds.example',
      scope: 'atproto',
      access_token: 'opaque',
      token_type: 'DPoP',
      ...tokens,
    },
  })
  if (session === undefined) throw new Error('it is a session')
  return session
}

function jwtOf(claims: unknown): string {
  const part = (value: unknown) => Buffer.from(JSON.stringify(value)).toString('base64url')
  return `${part({ typ: 'at+jwt' })}.${part(claims)}.signature`
}

test('what is no saved session is none', () => {
  for (const value of [null, 'text', {}, { tokenSet: {} }]) expect(savedSessionOf(value)).toBeUndefined()
  expect(sessionWith()).toMatchObject({ authMethod: { kid: 'key-1' } })
})

test('the client is known where the token says so', () => {
  const access_token = jwtOf({ client_id: 'https://app.example/client.json' })
  expect(clientIdOf(sessionWith({ access_token }))).toBe('https://app.example/client.json')
  for (const text of ['opaque', 'a.b.c', jwtOf({}), jwtOf('text'), jwtOf({ client_id: 7 })])
    expect(clientIdOf(sessionWith({ access_token: text }))).toBeUndefined()
})

test('a token is used for as long as the library would not renew it', () => {
  const expires_at = '2026-09-01T12:00:00.000Z'
  expect(usableUntilMs(sessionWith({ expires_at }))).toBe(Date.parse('2026-09-01T11:59:20Z'))
  expect(usableUntilMs(sessionWith())).toBe(Number.POSITIVE_INFINITY)
})
