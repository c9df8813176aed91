import { describe, expect, test } from 'vitest'
import { followRuns } from '../../../src/inngest/follow.ts'
import { summaryOfRuns } from '../../../src/inngest/run-output.ts'
import { summaryOf, tallyOf } from '../../../src/inngest/summary.ts'

const DID = 'did:plc:aaaaaaaaaaaaaaaaaaaaaaaa'
const SUMMARY = summaryOf([tallyOf([{ collection: 'a.b.c', rkey: 'r', outcome: 'created' }])], 1)

/** A server that gives these answers, the last one for ever. A number is a status, null a broken connection. */
function apiWith(...answers: (unknown[] | number | null)[]) {
  let calls = 0
  const fetch: typeof globalThis.fetch = async () => {
    const answer = answers[Math.min(calls++, answers.length - 1)]
    if (answer === null || answer === undefined) throw new TypeError('fetch failed')
    if (typeof answer === 'number') return new Response('', { status: answer })
    return Response.json({ data: answer })
  }
  return { baseUrl: 'http://inngest.test', fetch, calls: () => calls }
}

function run(status: string, output: unknown = null) {
  return { run_id: '01', status, output }
}

describe('followRuns', () => {
  test('waits until all have ended, past what passes', async () => {
    const ended = [run('Completed', SUMMARY), run('Failed')]
    const api = apiWith(404, [], [run('Running'), run('Failed')], 500, null, ended)
    expect(await followRuns('e', api, { pollMs: 0 })).toEqual(ended)
    expect(api.calls()).toBe(6)
  })

  test.each([
    [apiWith(500), 'UnavailableError', 'could not be asked'],
    [apiWith([]), 'UnavailableError', 'no function started'],
    [apiWith([run('Running')]), 'UnavailableError', 'had not ended'],
    [apiWith(401), 'ConfigError', 'signing key'],
  ])('gives up with a reason: %#', async (api, name, message) => {
    const options = { pollMs: 1, timeoutMs: 50, startTimeoutMs: 20 }
    await expect(followRuns('e', api, options)).rejects.toMatchObject({
      name,
      message: expect.stringContaining(message),
    })
  })
})

describe('summaryOfRuns', () => {
  test('adds up what is ours, also where the output comes as text', () => {
    const runs = [run('Completed', JSON.stringify(SUMMARY)), run('Completed', { sent: 1 })]
    expect(summaryOfRuns(runs, DID)).toEqual(SUMMARY)
  })

  test.each([
    [{ name: 'SessionError', message: 'dead' }, 'SessionError', 'dead'],
    [{ error: { name: 'PdsError', message: 'refused' } }, 'RestoreError', 'refused'],
    ['it broke', 'RestoreError', 'it broke'],
    [null, 'RestoreError', 'without a message'],
  ])('a failed run is an error with its message: %#', (output, name, message) => {
    expect(() => summaryOfRuns([run('Failed', output)], DID)).toThrow(
      expect.objectContaining({ name, message: expect.stringContaining(message) }),
    )
  })

  test('an output of another kind is an error', () => {
    expect(() => summaryOfRuns([run('Completed', { sent: 1 })], DID)).toThrow('not a summary')
  })
})
