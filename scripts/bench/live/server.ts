/**
 * A relay and a PLC directory in a process of their own: sends prepared frames to whoever subscribes, as fast as they
 * are taken, and stays connected. Runs until its parent lets go of it.
 */

import { once } from 'node:events'
import { createServer, type IncomingMessage } from 'node:http'
import { type Frame, XrpcStreamServer } from '@atproto/xrpc-server'
import { firehoseInput } from './frames.ts'
import type { FirehoseReady, FirehoseRequest } from './server-process.ts'

async function serve({ accounts, commitsEach }: FirehoseRequest): Promise<FirehoseReady> {
  const { messages, didDocuments } = await firehoseInput(accounts, commitsEach)
  const http = createServer((request, response) => {
    const document = didDocuments[decodeURIComponent(request.url?.slice(1) ?? '')]
    response.writeHead(document === undefined ? 404 : 200, { 'content-type': 'application/json' })
    response.end(JSON.stringify(document ?? {}))
  })
  new XrpcStreamServer({
    server: http,
    async *handler(_request: IncomingMessage, signal: AbortSignal) {
      // The server only asks a frame for its bytes.
      for (const bytes of messages) yield { toBytes: () => bytes } as unknown as Frame
      await once(signal, 'abort')
    },
  })
  http.listen(0, '127.0.0.1')
  await once(http, 'listening')
  const address = http.address()
  if (address === null || typeof address === 'string') throw new Error('A TCP server has no port.')
  const bytes = messages.reduce((sum, message) => sum + message.length, 0)
  return { port: address.port, frames: messages.length, bytes }
}

process.on('message', async (request: FirehoseRequest) => {
  process.send?.(await serve(request))
})
process.on('disconnect', () => process.exit(0))
