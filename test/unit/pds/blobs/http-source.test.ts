import { inspect } from 'node:util'
import { expect, test } from 'vitest'
import { messageOf, ReplayError, UnavailableError } from '../../../../src/errors.ts'
import type { Fetch } from '../../../../src/network/fetch.ts'
import { createHostQueues } from '../../../../src/network/host-queues.ts'
import { BlobFinder } from '../../../../src/pds/blobs/finder.ts'
import { urlSource } from '../../../../src/pds/blobs/http-source.ts'
import { blobsOfWrite, planBlobs } from '../../../../src/pds/blobs/plan.ts'
import { applyMissingBlobs } from '../../../../src/pds/blobs/policy.ts'
import { DID, testBlob } from './blobs.ts'

const TEMPLATE = 'https://u%40x:pw%3A1@cdn.example/a/{did}/{cid}?token=SECRET'
const SECRETS = /SECRET|pw|u%40x|u@x|Basic/
const blob = testBlob('a')
const networkOf = (fetch: Fetch) => ({ fetch, queues: createHostQueues() })
const answering = (status: number, body = '') => networkOf(async () => new Response(body, { status }))

test('a user and password go as a header, the query as it is', async () => {
  const asked: [string, string | null][] = []
  const network = networkOf(async (url, init) => {
    asked.push([String(url), new Headers(init?.headers).get('authorization')])
    return new Response(Buffer.from(blob.bytes))
  })
  expect(await urlSource(TEMPLATE, network).fetch(blob.cid, DID)).toEqual(Buffer.from(blob.bytes))
  await urlSource('https://cdn.example/{cid}', network).fetch(blob.cid, DID)
  expect(asked).toEqual([
    [
      `https://cdn.example/a/${DID}/${blob.cid}?token=SECRET`,
      `Basic ${Buffer.from('u@x:pw:1').toString('base64')}`,
    ],
    [`https://cdn.example/${blob.cid}`, null],
  ])
})

test('its name says where, without what lets one in', () => {
  expect(urlSource(TEMPLATE, answering(404)).name).toBe('https://cdn.example/a/{did}/{cid}')
  expect(urlSource('https://{cid}.example/?did={did}', answering(404)).name).toBe('https://{cid}.example/')
})

test.each<[string, Parameters<typeof urlSource>[1]]>([
  ['is away', networkOf(async () => Promise.reject(new UnavailableError('cdn.example is away')))],
  ['is overloaded', answering(503)],
  ['refuses', answering(403)],
  ['has other bytes', answering(200, 'other')],
  ['sends too much', { ...answering(200, 'other'), maxBytes: 1 }],
])('no secret is in what is said of a host that %s', async (_, network) => {
  const finder = new BlobFinder(DID, [urlSource(TEMPLATE, network)])
  const uri = `at://${DID}/com.example.note/a`
  const record = { $type: 'com.example.note', picture: blob.ref }
  const plan = await planBlobs([{ uri, record }], { isServed: async () => new Set(), finder })
  expect(plan.blobs).toMatchObject([{ status: 'missing', reason: expect.stringContaining('cdn.example') }])
  const lost = {
    uri,
    collection: 'com.example.note',
    rkey: 'a',
    cid: blob.cid,
    bytes: 1,
    record,
    originalCid: undefined,
    proof: 'self-consistent' as const,
  }
  const policies = (['refuse-record', 'fail'] as const).map((policy) => {
    try {
      return applyMissingBlobs([lost], plan, { policy, appview: NO_APPVIEW })
    } catch (error) {
      return error
    }
  })
  expect(inspect([plan, blobsOfWrite(plan), policies], { depth: 20 })).not.toMatch(SECRETS)
})

test('nor in the error of a host that is away, nor in what is behind it', async () => {
  const request = new Request('https://cdn.example/?token=SECRET')
  const away = networkOf(async () => {
    const cause = Object.assign(new Error('fetch failed'), { request })
    throw new UnavailableError('cdn.example could not be reached', {
      hint: 'Try later.',
      retryAtMs: 7,
      cause,
    })
  })
  const error = await urlSource(TEMPLATE, away)
    .fetch(blob.cid, DID)
    .catch((thrown: unknown) => thrown)
  expect(error).toMatchObject({ name: 'UnavailableError', hint: 'Try later.', retryAtMs: 7 })
  expect(inspect(error, { depth: 20, showHidden: true })).not.toMatch(SECRETS)
})

test.each([
  'https://u:pw@cdn.example/?token=SECRET',
  'u:pw@cdn.example/{cid}?token=SECRET',
  '//u:pw@cdn.example/{cid}?token=SECRET',
  'ftp://u:pw@cdn.example/{cid}?token=SECRET',
  'https://u:pw%zz@cdn.example/{cid}?token=SECRET',
])('nor in the refusal of a template: %s', (template) => {
  const refused = () => urlSource(template, answering(404))
  expect(refused).toThrow(expect.objectContaining({ name: 'ConfigError', hint: expect.any(String) }))
  try {
    refused()
  } catch (error) {
    const hint = error instanceof ReplayError ? error.hint : undefined
    expect(`${messageOf(error)} ${hint}`).not.toMatch(SECRETS)
  }
})

const NO_APPVIEW = {
  name: 'none',
  handlers: [],
  roots: [],
  sections: {},
  sensitiveColumns: [],
  untouchableTables: [],
  guardTables: [],
}
