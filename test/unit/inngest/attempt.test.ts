import { expect, test } from 'vitest'
import { eventIdOf, idSeedOf, newAttempt } from '../../../src/inngest/attempt.ts'

const request = {
  did: 'did:plc:a',
  run: 'r',
  records: [{ collection: 'a.b.c', rkey: 'r', record: { text: 'a' } }],
}

test('the same send has the same id, also from what was kept as JSON', () => {
  const attempt = newAttempt(1_800_000_000_000)
  const kept = JSON.parse(JSON.stringify(attempt))
  const id = eventIdOf(attempt, 1, request)
  expect(eventIdOf(kept, 1, structuredClone(request))).toBe(id)
  expect(idSeedOf(kept, id)).toBe(idSeedOf(attempt, id))
})

test('another attempt, part, run or record is another event', () => {
  const attempt = newAttempt()
  const [record] = request.records
  const ids = [
    eventIdOf(attempt, 1, request),
    eventIdOf(attempt, 2, request),
    eventIdOf(newAttempt(), 1, request),
    eventIdOf(attempt, 1, { ...request, run: 's' }),
    eventIdOf(attempt, 1, { ...request, records: record ? [{ ...record, record: { text: 'b' } }] : [] }),
    eventIdOf(attempt, 1, { ...request, onConflict: 'keep' as const }),
  ]
  expect(new Set(ids).size).toBe(ids.length)
})

test('the seed is what the server reads: milliseconds and ten bytes', () => {
  const [ms, entropy = ''] = idSeedOf({ id: 'a', startedAtMs: 1_800_000_000_000 }, 'event').split(',')
  expect(ms).toBe('1800000000000')
  expect(Buffer.from(entropy, 'base64')).toHaveLength(10)
})
