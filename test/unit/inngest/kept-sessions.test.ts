import { expect, test } from 'vitest'
import { keepSessions } from '../../../src/inngest/kept-sessions.ts'

test('a session is used again until it is dropped or old', async () => {
  let nowMs = 0
  let logins = 0
  const kept = keepSessions(
    async () => {
      logins++
      return () => Promise.reject(new Error('not asked for'))
    },
    () => nowMs,
  )
  const first = await kept.open('did:plc:a')
  expect(await kept.open('did:plc:a')).toBe(first)
  expect(await kept.open('did:plc:b')).not.toBe(first)
  expect(logins).toBe(2)
  kept.drop('did:plc:a')
  await kept.open('did:plc:a')
  expect(logins).toBe(3)
  nowMs = 31 * 60_000
  await kept.open('did:plc:a')
  expect(logins).toBe(4)
})
