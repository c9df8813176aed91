import { expect, test } from 'vitest'
import { keepSessions } from '../../../src/inngest/kept-sessions.ts'
import type { Session } from '../../../src/pds/session.ts'

test('a session is used again until it is dropped, old, or of another host', async () => {
  let nowMs = 0
  let logins = 0
  const kept = keepSessions(
    async (did): Promise<Session> => {
      logins++
      return {
        did,
        verify: () => Promise.resolve(),
        applyWrites: () => Promise.reject(new Error('not asked for')),
      }
    },
    () => nowMs,
  )
  const first = await kept.open('did:plc:a', 'https://one.test')
  expect(await kept.open('did:plc:a', 'https://one.test')).toBe(first)
  expect(await kept.open('did:plc:b', 'https://one.test')).not.toBe(first)
  expect(logins).toBe(2)
  kept.drop('did:plc:a')
  await kept.open('did:plc:a', 'https://one.test')
  expect(logins).toBe(3)
  nowMs = 31 * 60_000
  await kept.open('did:plc:a', 'https://one.test')
  expect(logins).toBe(4)
  await kept.open('did:plc:a', 'https://two.test')
  expect(logins).toBe(5)
})
