import { expect, test } from 'vitest'
import { createMask, excerpts } from '../../../src/report/mask.ts'
import { appview, draft } from './small-world.ts'

const TOKEN = '11111111-1111-4111-8111-111111111111'
const OTHER = '22222222-2222-4222-8222-222222222222'

test('hashes sensitive columns, equal ones alike, and in no two reports the same', () => {
  const mask = createMask(appview)
  expect(mask.value('drafts', 'title', 'One')).toBe('One')
  const hashed = mask.value('drafts', 'token', TOKEN)
  expect(hashed).toMatch(/^hmac:[0-9a-f]{16}$/)
  expect(mask.value('drafts', 'token', TOKEN)).toBe(hashed)
  expect(mask.value('drafts', 'token', OTHER)).not.toBe(hashed)
  expect(mask.value('drafts', 'token', null)).toBeNull()
  expect(createMask(appview).value('drafts', 'token', TOKEN)).not.toBe(hashed)
  expect(mask.rowId('drafts', draft(), ['token'])).toBe(JSON.stringify([hashed]))
})

test.each([
  `tokens {"id": "${TOKEN}"}`,
  `held by {"token": "${OTHER}"}`,
  `refused: invalid value ${TOKEN}`,
  `reconcile said blocked: tokens {"id": "${TOKEN}"}`,
  `held by {"token": "${OTHER}`,
])('keeps them out of reasons: %s', (reason) => {
  const masked = createMask(appview).reason('drafts', draft(), reason)
  expect(masked).not.toContain(TOKEN)
  expect(masked).not.toContain(OTHER)
})

test('keeps a key that is a number out of reasons', () => {
  const mask = createMask({ sensitiveColumns: ['rooms.pin'] })
  const masked = mask.reason('guests', {}, 'held by rooms {"pin": 4711, "floor": 3}')
  expect(masked).not.toContain('4711')
  expect(masked).toContain('"floor":3')
})

test('long values are cut to where they differ', () => {
  const [a, b] = excerpts(
    `${'x'.repeat(5000)}A${'y'.repeat(5000)}`,
    `${'x'.repeat(5000)}B${'y'.repeat(5000)}`,
  )
  expect(a).toContain('xA')
  expect(b).toContain('xB')
  expect(a?.length).toBeLessThan(500)
  expect(excerpts('a', null)).toEqual(['a', null])
  expect(excerpts('a'.repeat(1000), null)[1]).toBeNull()
})
