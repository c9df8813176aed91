import { describe, expect, test } from 'vitest'
import type { Reply } from '../../../../src/stack/inngest/protocol.ts'
import { finishedSteps, readReply } from '../../../../src/stack/inngest/transition.ts'

const NOW_MS = Date.parse('2026-11-23T12:00:00Z')

function read(reply: Partial<Reply>) {
  return readReply({ status: 206, noRetry: undefined, retryAfter: undefined, body: null, ...reply }, NOW_MS)
}

describe('readReply', () => {
  test('200 is the end, with the return value', () => {
    expect(read({ status: 200, body: { n: 1 } })).toEqual({ kind: 'completed', output: { n: 1 } })
  })

  test('RunComplete is the end, with its data', () => {
    expect(read({ body: [{ op: 'RunComplete', id: 'c', data: [1] }] })).toEqual({
      kind: 'completed',
      output: [1],
    })
  })

  test('steps that ran, failed, were planned or sleep make progress', () => {
    const body = [
      { op: 'StepRun', id: 'a', displayName: 'A', data: { x: 1 } },
      { op: 'StepFailed', id: 'b', name: 'B', error: { message: 'no' } },
      { op: 'StepPlanned', id: 'c' },
      { op: 'Sleep', id: 'd', name: '1m30s' },
    ]
    expect(read({ body })).toEqual({
      kind: 'progress',
      finished: [
        { id: 'a', name: 'A', result: { type: 'data', data: { x: 1 } } },
        { id: 'b', name: 'B', result: { type: 'error', error: { message: 'no' } } },
      ],
      pending: [
        { kind: 'step', id: 'c' },
        { kind: 'sleep', id: 'd', name: '1m30s', untilMs: NOW_MS + 90_000 },
      ],
    })
  })

  test('a step without data hands on null', () => {
    expect(read({ body: [{ op: 'StepRun', id: 'a' }] })).toMatchObject({
      finished: [{ result: { type: 'data', data: null } }],
    })
  })

  test.each([
    ['3', 3_000],
    ['0', 1_000],
    ['1e9', 86_400_000],
    ['2026-11-23T12:01:00Z', 60_000],
    ['2026-11-23T11:00:00Z', 1_000],
    ['soon', undefined],
    [undefined, undefined],
  ])('Retry-After %s means a pause of %s ms', (retryAfter, retryAfterMs) => {
    const body = [{ op: 'StepError', id: 'a', name: 'A', error: { message: 'busy' } }]
    expect(read({ body, noRetry: false, retryAfter })).toEqual({
      kind: 'retry',
      error: { message: 'busy' },
      retryAfterMs,
      step: { id: 'a', name: 'A' },
    })
  })

  test('500 is tried again, whether the SDK or something before it answered', () => {
    expect(read({ status: 500, noRetry: false, body: 'x' })).toMatchObject({ kind: 'retry', step: undefined })
    expect(read({ status: 502, body: 'x' })).toMatchObject({ kind: 'retry', step: undefined })
  })

  test('400 with no-retry is the end', () => {
    const body = { message: 'for good' }
    expect(read({ status: 400, noRetry: true, body })).toEqual({ kind: 'failed', error: body })
  })

  test.each([
    {
      body: [{ op: 'WaitForEvent', id: 'w', displayName: 'wait' }],
      message: /cannot do WaitForEvent \(step wait\)/,
    },
    { body: [], message: /without any step/ },
    { body: 'nonsense', message: /without any step/ },
  ])('what it cannot do fails the run instead of hanging it', ({ body, message }) => {
    expect(read({ body })).toEqual({
      kind: 'failed',
      error: expect.objectContaining({ message: expect.stringMatching(message) }),
    })
  })
})

test('finishedSteps takes from a checkpoint only what is over', () => {
  const ops = [
    { op: 'StepRun', id: 'a', data: 1 },
    { op: 'StepError', id: 'b' },
    { op: 'StepPlanned', id: 'c' },
  ]
  expect(finishedSteps(ops).map((step) => step.id)).toEqual(['a'])
})
