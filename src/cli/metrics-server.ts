import { once } from 'node:events'
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http'
import { ConfigError, messageOf } from '../errors.ts'
import type { Metrics } from './metrics.ts'

export interface MetricsServerOptions {
  host: string
  /** 0: any that is free. */
  port: number
  metrics: Metrics
  /** What `/healthz` answers, with 200 or 503. */
  health: () => { ok: boolean } & Record<string, unknown>
}

export interface MetricsServer {
  url: string
  close(): Promise<void>
}

/**
 * `/metrics` for Prometheus and `/healthz` for whoever restarts processes; nothing else, and nobody is asked who he
 * is: hence this machine only, unless told otherwise.
 *
 * @throws ConfigError when the address cannot be had
 */
export async function serveMetrics(options: MetricsServerOptions): Promise<MetricsServer> {
  const { host, port } = options
  const server = createServer((request, response) => {
    answer(request, response, options).catch((error: unknown) => {
      response.writeHead(500, { 'content-type': 'text/plain' }).end(messageOf(error))
    })
  })
  server.listen(port, host)
  try {
    await once(server, 'listening')
  } catch (cause) {
    throw new ConfigError(`Metrics cannot be served on ${host}:${port}: ${messageOf(cause)}`, {
      hint: 'Give another --metrics-port or --metrics-host.',
      cause,
    })
  }
  const address = server.address()
  const listening = address !== null && typeof address === 'object' ? address.port : port
  return {
    url: `http://${host.includes(':') ? `[${host}]` : host}:${listening}`,
    async close() {
      server.closeAllConnections()
      const closed = once(server, 'close')
      server.close()
      await closed
    },
  }
}

async function answer(
  { method, url = '/' }: IncomingMessage,
  response: ServerResponse,
  options: MetricsServerOptions,
): Promise<void> {
  const { metrics, health } = options
  // Scrapers may be told to add parameters, which mean nothing here.
  const path = url.split('?', 1)[0]
  if (path !== '/metrics' && path !== '/healthz') {
    response.writeHead(404).end()
  } else if (method !== 'GET' && method !== 'HEAD') {
    response.writeHead(405, { allow: 'GET, HEAD' }).end()
  } else if (path === '/metrics') {
    const text = await metrics.render()
    response.writeHead(200, { 'content-type': metrics.contentType }).end(text)
  } else {
    const { ok, ...details } = health()
    response.writeHead(ok ? 200 : 503, { 'content-type': 'application/json' })
    response.end(`${JSON.stringify({ ok, ...details })}\n`)
  }
}
