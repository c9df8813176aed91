import { once } from 'node:events'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { describe, expect, test } from 'vitest'
import { openDatabase } from '../../../src/database/client.ts'
import { UnavailableError } from '../../../src/errors.ts'

const open = (serviceKey: string, url = 'https://ref.supabase.co') =>
  openDatabase({ url, serviceKey, label: 'backup' })
const jwt = (claims: unknown) =>
  `eyJhbGciOiJIUzI1NiJ9.${Buffer.from(JSON.stringify(claims)).toString('base64url')}.c2ln`

describe('keys', () => {
  test.each([
    ['a publishable key', 'sb_publishable_abc', 'anon'],
    ['the anon JWT', jwt({ role: 'anon' }), 'anon'],
    ["a user's JWT", jwt({ role: 'authenticated', sub: '1' }), 'authenticated'],
  ])('%s sees no rows and is refused, without being shown', (_, key, role) => {
    expect(() => open(key)).toThrow(expect.objectContaining({ name: 'ConfigError', exitCode: 2 }))
    expect(() => open(key)).toThrow(`${role} key`)
    expect(() => open(key)).not.toThrow(key)
  })

  test.each([
    ['a secret key', 'sb_secret_abc'],
    ['the service role JWT', jwt({ role: 'service_role' })],
    ['a JWT that names no role', jwt({ sub: '1' })],
    ['claims that are no object', jwt(null)],
    ['claims that are no JSON', 'a.!!!.b'],
    ['anything else', 'something'],
  ])('%s is tried', (_, key) => {
    expect(open(key).label).toBe('backup')
  })
})

describe('URLs', () => {
  test.each(['', 'ref.supabase.co', 'postgres://localhost/db', 'file:///etc/passwd', 'https://'])(
    'that are none of an API are refused: %s',
    (url) => {
      expect(() => open('sb_secret_abc', url)).toThrow(expect.objectContaining({ name: 'ConfigError' }))
    },
  )

  test('are known by host and port', () => {
    expect(open('sb_secret_abc', 'http://localhost:54321/').name).toBe('localhost:54321')
    expect(open('sb_secret_abc', 'https://proxy.example/api/').url).toBe('https://proxy.example/api')
  })
})

describe('a database that does not answer', () => {
  test.each([
    ['at all', false],
    ['to the end', true],
  ])('%s is unavailable after a while, and not tried again behind our back', async (_, hasBegun) => {
    let requests = 0
    const server = createServer((_request, response) => {
      requests++
      if (hasBegun) response.writeHead(200, { 'content-type': 'application/json' }).write('[{"a":')
    })
    server.listen(0, '127.0.0.1')
    await once(server, 'listening')
    const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`
    const database = openDatabase({ url, serviceKey: 'sb_secret_abc', label: 'production', timeoutMs: 100 })
    try {
      const reading = async () => database.check(await database.client.from('notes').select('*'))
      for (const call of [reading, () => database.call('firehose_replay_apply', [])]) {
        const failure = await call().catch((error: unknown) => error)
        expect(failure).toBeInstanceOf(UnavailableError)
        expect(failure).toMatchObject({ message: expect.stringContaining('no answer within 100 ms') })
      }
      expect(requests).toBe(2)
    } finally {
      server.closeAllConnections()
      server.close()
    }
  })
})
