import { afterEach, beforeEach, expect, test } from 'vitest'
import { createMetrics } from '../../../src/cli/metrics.ts'
import { type MetricsServer, serveMetrics } from '../../../src/cli/metrics-server.ts'
import { newLiveStatus } from '../../../src/firehose/live.ts'

let server: MetricsServer
beforeEach(async () => {
  server = await serveMetrics({
    host: '127.0.0.1',
    port: 0,
    metrics: createMetrics({
      status: newLiveStatus(),
      outcomes: () => undefined,
      waiting: async () => ({ parked: 1, deadLetters: 2 }),
    }),
    health: () => ({ ok: true }),
  })
})
afterEach(() => server.close())

test.each(['/metrics', '/metrics?x=1', '/healthz', '/healthz?'])('%s is answered', async (path) => {
  const answer = await fetch(server.url + path)
  expect([answer.status, (await answer.text()).length > 0]).toEqual([200, true])
})

test('HEAD is answered without a body, other methods not at all', async () => {
  const head = await fetch(`${server.url}/metrics`, { method: 'HEAD' })
  expect([head.status, await head.text()]).toEqual([200, ''])
  expect(head.headers.get('content-type')).toContain('text/plain')
  const post = await fetch(`${server.url}/metrics`, { method: 'POST' })
  expect([post.status, post.headers.get('allow')]).toEqual([405, 'GET, HEAD'])
  expect((await fetch(`${server.url}/metricsx`)).status).toBe(404)
})
